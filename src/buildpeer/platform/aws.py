"""The one place where AWS clients are made."""

from typing import Any

from boto3.session import Session
from botocore.config import Config

from buildpeer.platform.config import Settings


def client(service: str, settings: Settings, *, pool: int = 10, key: tuple[str, str] | None = None) -> Any:
    """A boto3 client of `service` with our time-outs and retries; thread-safe, with `pool` connections.

    It signs with this process's own credentials, found the SDK's usual way, unless `key` gives an id and a secret.
    Against the local stack buckets are addressed by path, on AWS by host name in their own region.
    """
    config = Config(
        region_name=settings.aws_region,
        signature_version="s3v4" if service == "s3" else None,
        s3={"addressing_style": "path" if settings.aws_endpoint_url else "virtual"},
        retries={"mode": "standard", "total_max_attempts": 4},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=pool,
        parameter_validation=False,
    )
    access_key, secret = key or (None, None)
    return Session(access_key, secret).client(service, endpoint_url=settings.aws_endpoint_url, config=config)
