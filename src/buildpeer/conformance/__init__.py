"""A hostile network for any client of the upload protocol, and a judge of what the client did on it.

It knows the protocol (docs/guides/upload-protocol.md) and nothing of the rest of the house: a client is any command,
the API any address.
"""
