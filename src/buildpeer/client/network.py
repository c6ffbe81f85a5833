"""Which network this machine is on, so that what was learnt there serves again.

The fingerprint needs no privileges and is no secret of anybody: on Linux the default route's interface and gateway,
and the subnets behind that interface, as /proc/net/route has them; elsewhere, or without a default route, the first
24 bits of the local address from which the API is reached. Two sites with the same router model look alike then;
what was learnt at one is only where the other begins.
"""

import contextlib
import hashlib
import socket
from pathlib import Path
from urllib.parse import urlsplit

_ROUTES = Path("/proc/net/route")


def fingerprint(api: str, routes: Path = _ROUTES) -> str:
    """A short name for the present network; empty when there is none."""
    seen = _default_route(routes) or _local_address(api)
    return hashlib.sha256(seen.encode()).hexdigest()[:16] if seen else ""


def _default_route(routes: Path) -> str:
    try:
        rows = [line.split() for line in routes.read_text().splitlines()[1:]]
    except OSError:
        return ""
    rows = [row for row in rows if len(row) >= 8]
    defaults = [row for row in rows if row[1] == row[7] == "00000000"]
    if not defaults:
        return ""
    name, _, gateway, *_ = min(defaults, key=lambda row: int(row[6]))
    subnets = sorted(f"{row[1]}/{row[7]}" for row in rows if row[0] == name and row[1] != "00000000")
    return " ".join((name, gateway, *subnets))


def _local_address(api: str) -> str:
    parts = urlsplit(api)
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((parts.hostname or "", parts.port or 443))  # sends nothing
        return str(probe.getsockname()[0]).rpartition(".")[0]
    return ""
