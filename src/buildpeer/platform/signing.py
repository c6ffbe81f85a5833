"""Signatures that others can check: Ed25519 (RFC 8032) as compact JWS (RFC 7515, RFC 9864)."""

import base64
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

ALGORITHM = "Ed25519"
# PKCS #8 around the 32 bytes of a private key (RFC 8410 §7), which is how the library takes it without its public half.
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


class SignatureError(ValueError):
    """The text is not what the holder of this key signed."""


class Signer:
    """Signs with one private key, given as 32 bytes in base64. Raises ValueError for anything else."""

    def __init__(self, key: str) -> None:
        raw = base64.b64decode(key, validate=True)
        if len(raw) != 32:
            raise ValueError("a signing key has 32 bytes, in base64")
        body = base64.b64encode(_PKCS8 + raw).decode()
        self._key = OKPKey.import_key(f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
        self.public: dict[str, Any] = {
            **self._key.as_dict(private=False),
            "use": "sig",
            "alg": ALGORITHM,
            "kid": self._key.thumbprint(),
        }

    def sign(self, payload: bytes) -> str:
        """A compact JWS over `payload`; its header names the key by its thumbprint (RFC 7638)."""
        header = {"alg": ALGORITHM, "kid": self._key.thumbprint()}
        return jws.serialize_compact(header, payload, self._key, algorithms=[ALGORITHM])


def read_signed(token: str, public: dict[str, Any]) -> bytes:
    """The payload of a compact JWS. Raises SignatureError unless the holder of this public key signed it."""
    try:
        key = OKPKey.import_key({name: public[name] for name in ("kty", "crv", "x")})
        return jws.deserialize_compact(token, key, algorithms=[ALGORITHM]).payload
    except (JoseError, KeyError, TypeError, ValueError) as exc:
        raise SignatureError("the signature is not of this key") from exc


def public_keys(document: bytes) -> list[dict[str, Any]]:
    """The public keys of a JWK or a JWK set (RFC 7517). Raises SignatureError for what is neither."""
    try:
        found = msgspec.json.decode(document, type=dict[str, Any])
        keys = found.get("keys", [found])
        return [key for key in keys if key["kty"] == "OKP"]
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError) as exc:
        raise SignatureError("this is no public key (JWK or JWK set)") from exc
