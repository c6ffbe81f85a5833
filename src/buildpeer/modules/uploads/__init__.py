"""The life of a file, from the wish to send it to ready.

Tables: uploads, erasures, releases. Announces: upload.opened, upload.changed, upload.progressed (to people), upload
ready and upload linked (to documents, in the same transaction). Asks assemble, by the outbox, to join parts of their
chunks. Who may open: everybody but investors, in projects they belong to; only the uploader gets write URLs. Phones
send bytes to S3; this module only signs, and believes what S3 and the functions say, never a client.
"""
