"""Hashing what people know: argon2id in threads of its own."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import argon2

_hasher = argon2.PasswordHasher()
_threads = ThreadPoolExecutor(os.cpu_count(), "argon2")  # each takes 64 MiB, so a rush waits in line
_NOBODY = _hasher.hash("nobody has this password")  # so that an unknown address takes as long as a wrong password


def hash_password(password: str) -> str:
    """An argon2id hash with the library's current defaults; takes tens of milliseconds."""
    return _hasher.hash(password)


async def hashed(password: str) -> str:
    """The same, off the event loop."""
    return await asyncio.get_running_loop().run_in_executor(_threads, hash_password, password)


async def matches(password_hash: str | None, password: str) -> bool:
    """Whether it is the password of this hash; as slow, and False, where there is none."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _matches, password_hash, password)


def _matches(password_hash: str | None, password: str) -> bool:
    try:
        return _hasher.verify(password_hash or _NOBODY, password) and password_hash is not None
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
