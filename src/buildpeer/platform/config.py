"""Settings of a process, read once from its environment and passed on; nothing reads them at import."""

import os
from collections.abc import Mapping
from typing import Any, Literal, Self

import msgspec

PREFIX = "BUILDPEER_"


class ConfigError(ValueError):
    """A setting is missing or can't be read; the text names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is the variable `BUILDPEER_<FIELD>`; an empty field is one this process doesn't need.

    AWS credentials and region come the SDK's usual way (AWS_ACCESS_KEY_ID and so on).
    """

    database_url: str = ""  # the api's role, or the worker's
    people_database_url: str = ""  # the api's role again, in which the worker does what people have ordered
    admin_database_url: str = ""  # the migrations' role
    valkey_url: str = ""
    token_key: str = ""  # signs access tokens; at least 32 bytes, base64
    totp_key: str = ""  # encrypts the secrets of TOTP: 32 bytes, base64
    webhook_key: str = ""  # encrypts the secrets of webhooks: 32 bytes, base64
    webhooks_to_loopback: bool = False  # and over plain http: on a developer's machine only
    aws_endpoint_url: str | None = None  # the local stack; None on AWS
    aws_region: str = "us-east-1"
    public_s3_url: str | None = None  # where phones reach S3, if not where we do
    s3_accelerated_url: str | None = None  # a faster door to S3; {bucket} in it: the bucket's own host
    uploads_bucket: str = "buildpeer-uploads"
    chunks_bucket: str = "buildpeer-chunks"
    derived_bucket: str = "buildpeer-derived"
    audit_bucket: str = "buildpeer-audit"  # the second place of seals; on AWS with Object Lock
    operator_keys: str = (
        ""  # name:hash,…: who may call /v1/ops, and the SHA-256 (hex) of each one's key of 32 random bytes
    )
    audit_key: str = ""  # signs exports of the audit trail and of bitácoras: an Ed25519 private key, 32 bytes, base64
    verdicts: Literal["scan", "guardduty"] = "scan"
    clamd: str = ""  # host:port or a socket's path; empty: the embedded scanner
    smtp_url: str = ""  # smtp://user:password@host:port; empty: mails wait
    mail_from: str = "BuildPeer <no-reply@buildpeer.test>"
    web_url: str = "http://127.0.0.1:8000"  # where the links in mails and QR codes lead
    caller_requests: int = 6000  # a minute, of one person or machine; 0: no limit
    tenant_requests: int = 60000  # a minute, of everybody in one tenant
    address_requests: int = 6000  # a minute, from one address without a good token
    proxies: int = 0  # of our own in front of the api, each adding to X-Forwarded-For
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_json: bool = True

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the settings of this process.

        Raises ConfigError, naming the variable, for a value that doesn't fit.
        """
        source = os.environ if env is None else env
        known = set(cls.__struct_fields__)
        raw: dict[str, Any] = {name: source[PREFIX + name.upper()] for name in known if PREFIX + name.upper() in source}
        try:
            return msgspec.convert(raw, cls, strict=False)
        except msgspec.ValidationError as exc:
            raise ConfigError(f"Setting {PREFIX}*: {exc}") from exc

    def require(self, *names: str) -> Self:
        """Check that the named settings are there.

        Raises ConfigError that names the first missing one.
        """
        for name in names:
            if not getattr(self, name):
                raise ConfigError(f"{PREFIX}{name.upper()} is not set")
        return self
