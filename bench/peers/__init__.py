"""The others that the benches measure beside us, and the phone that all senders run on."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.site import say


def installed(peer: str, program: str) -> Path:
    """A Node.js program of a peer, beside the packages of its lock; kept between runs in the user's cache."""
    source = Path(__file__).parent / peer
    names = ("package.json", "package-lock.json", program)
    version = hashlib.sha256(b"".join((source / name).read_bytes() for name in names)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "buildpeer-bench" / f"{peer}-{version}"
    if not (home / "installed").exists():
        say(f"installing {peer}")
        home.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(source / name, home / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=home, check=True, stdout=sys.stderr)
        (home / "installed").touch()
    return home / program
