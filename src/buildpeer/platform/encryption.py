"""Secrets at rest that must be read again: AES-256-GCM, each bound to whom it belongs."""

import base64
import os
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12  # NIST SP 800-38D §5.2.1.1


class Cipher:
    """Encrypts with one key, given as 32 bytes in base64. Raises ValueError for anything else."""

    def __init__(self, key: str) -> None:
        raw = base64.b64decode(key, validate=True)
        if len(raw) != 32:
            raise ValueError("an encryption key has 32 bytes, in base64")
        self._aead = AESGCM(raw)

    def encrypt(self, plain: bytes, owner: UUID) -> bytes:
        """What only this key opens, and only as `owner`'s; another text each time."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, owner.bytes)

    def decrypt(self, encrypted: bytes, owner: UUID) -> bytes:
        """What was encrypted for `owner`. Raises cryptography's InvalidTag for anything else."""
        return self._aead.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], owner.bytes)
