"""`buildpeer up` with stand-ins for our processes: `fake_up.py up <config.json>` or `fake_up.py <process>`."""

import asyncio
import http.server
import json
import os
import signal
import sys
from pathlib import Path

import msgspec


def up(path: str) -> None:
    from buildpeer.local.processes import StackError
    from buildpeer.local.stack import Stack, StackConfig

    config = msgspec.json.decode(Path(path).read_bytes(), type=StackConfig, dec_hook=lambda kind, value: kind(value))
    stack = Stack(config, command=lambda name: [sys.executable, __file__, name])
    try:
        stack.run()
    except StackError as exc:
        sys.exit(f"error: {exc}")


def migrate() -> None:
    import asyncpg

    async def make_roles() -> None:
        connection = await asyncpg.connect(os.environ["BUILDPEER_ADMIN_DATABASE_URL"])
        for role in ("buildpeer_app", "buildpeer_worker"):
            if not await connection.fetchval("select 1 from pg_roles where rolname = $1", role):
                await connection.execute(f"create role {role} login")
        await connection.execute("create table if not exists starts (at timestamptz default now())")
        await connection.execute("insert into starts default values")
        await connection.close()

    asyncio.run(make_roles())


def seed() -> None:
    password = os.environ["BUILDPEER_DEMO_PASSWORD"]
    print("not json")
    print(json.dumps({"email": "ana@[example].test", "password": password}))


def api() -> None:
    if "BUILDPEER_BROKEN" in os.environ:
        sys.exit("the api has a reason to end")

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    http.server.HTTPServer(("127.0.0.1", int(os.environ["BUILDPEER_API_PORT"])), Health).serve_forever()


def wait_for_end() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        signal.pause()


if __name__ == "__main__":
    what = sys.argv[1]
    if what == "up":
        up(sys.argv[2])
    else:
        {"migrate": migrate, "seed": seed, "api": api}.get(what, wait_for_end)()
