"""`make bench-field`: files from a phone on a bad link, sent by `buildpeer push` and by what others have.

Each cell is one client on one kind of link: many links side by side, one phone on each, file after file. `put` sends
the whole file to a signed URL and begins anew after a fault, `multipart` does so with parts of 5 MiB, `tus` goes on
where it was, through a server of tus.io's own packages. All have the same links, files, timeouts and patience, and 8
connections.

A file's time ends when its sender knows that every byte is in S3; a failed file's is infinite, told as null. It counts
as a success if S3 then holds those very bytes. `waste` is what crossed the uplink, headers and all, over the bytes that
arrived; `of_limit` is the p95 of time over the least that the link allows: size over rate, and the outages met. `busy`
is the share of all cores that worked meanwhile, on whatever: near 1, the machine was measured and not the link.

Cuts and silences are made by a TCP proxy, on links and clients whose clock runs `faster` (see `peers.clock`); times are
told as of the slow clock. Packet loss needs real packets, and so root (see `link_tun`); that runs in real time.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import link_tun
from bench.link_tcp import TcpLink
from bench.link_tun import Far, TunLink
from bench.peers import installed
from bench.peers.phone import NAMES
from bench.relay import Relay
from bench.samples import make_photo, vary
from bench.site import Costs, Site, running_site, say, stop_politely
from bench.weather import Weather
from buildpeer.local import aws, demo
from buildpeer.local.processes import Registry, start, wait_until

ROOT = Path(__file__).parents[1]
CLIENTS = ("buildpeer", "put", "multipart", "tus")
MB = 1_000_000
MBIT = 1e6
_RESAMPLES = 1000
_LIKE = """
select n || '-' || model.email as new_email, model.*, md5(model.person_id::text || n)::uuid as new_id
from people model, generate_series(0, $2::int - 1) as n where model.email = $1
"""
_HIRE = (
    f"""insert into people (person_id, email, name, locale, password_hash)
    select new_id, like_them.new_email, name, locale, password_hash from ({_LIKE}) like_them""",
    f"""insert into memberships (tenant_id, person_id, role)
    select tenant_id, new_id, role from ({_LIKE}) like_them join memberships using (person_id)""",
    f"""insert into project_members (tenant_id, project_id, person_id)
    select tenant_id, project_id, new_id from ({_LIKE}) like_them join project_members using (person_id)""",
)
_INFINITE = float("inf")


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of link and what is sent over it: `files` of `sizes` bytes in all, over `links` side by side.

    `outage_each_s` is how long the link goes down once during each file, at a random time of it. `alone`: so fast that
    only one client is measured at a time.
    """

    weather: Weather
    files: int
    sizes: tuple[float, float]
    links: int
    faster: float = 1
    packets: bool = False
    outage_each_s: float = 0
    alone: bool = False


PROFILES = {
    "obra-3g": Profile(
        weather=Weather(
            up_bps=1 * MBIT,
            down_bps=4 * MBIT,
            rtt_s=0.2,
            cut_bytes=4 * MB,
            outage_s=3,
            outage_every_s=60,
            refused=0.03,
        ),
        files=200,
        sizes=(2 * MB, 5 * MB),
        links=10,
        faster=5,
    ),
    "edge-of-coverage": Profile(
        weather=Weather(
            up_bps=0.256 * MBIT,
            down_bps=1 * MBIT,
            rtt_s=0.6,
            cut_bytes=0.7 * MB,
            outage_s=60,
            outage_every_s=600,
            refused=0.03,
        ),
        files=200,
        sizes=(0.2 * MB, 1.5 * MB),
        links=12,
        faster=5,
    ),
    "obra-3g-loss": Profile(
        weather=Weather(up_bps=1 * MBIT, down_bps=4 * MBIT, rtt_s=0.2, loss=0.03),
        files=40,
        sizes=(5 * MB, 5 * MB),
        links=40,
        packets=True,
    ),
    "lte-moving": Profile(
        weather=Weather(up_bps=3 * MBIT, down_bps=12 * MBIT, rtt_s=0.08, loss=0.01),
        files=40,
        sizes=(5 * MB, 5 * MB),
        links=20,
        packets=True,
        outage_each_s=5,
    ),
    "office": Profile(
        weather=Weather(up_bps=50 * MBIT, down_bps=50 * MBIT, rtt_s=0.02),
        files=40,
        sizes=(5 * MB, 5 * MB),
        links=1,
        packets=True,
        alone=True,
    ),
}
_SHORT = ("obra-3g", "lte-moving")


class Sent(msgspec.Struct, frozen=True):
    """One file's way; seconds of the phone's clock."""

    size: int
    seconds: float  # infinite: it has not arrived
    least_s: float  # what the link allows


class Door(msgspec.Struct, frozen=True):
    """The api of one client: where it listens behind its wire-tap, and its process."""

    front: Relay
    back: Relay
    pid: int


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, help="only these")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=CLIENTS, help="only these")
    parser.add_argument("--files", type=int, help="per cell, in place of each profile's own number")
    parser.add_argument("--links", type=int, help="side by side, at most")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="two small files per cell: shows that it works")
    asked = parser.parse_args()
    stop_politely()
    names = asked.profiles or (_SHORT if asked.short else list(PROFILES))
    profiles = {name: _as_asked(PROFILES[name], asked) for name in names}
    with tempfile.TemporaryDirectory(prefix="buildpeer-bench-") as place:
        print(json.dumps(measure(Path(place), profiles, asked.clients, seed=asked.seed)))


def _as_asked(profile: Profile, asked: argparse.Namespace) -> Profile:
    files = asked.files or (2 if asked.short else profile.files)
    low, high = profile.sizes
    return msgspec.structs.replace(
        profile,
        files=files,
        links=min(files, profile.links, asked.links or (2 if asked.short else files)),
        sizes=(low / 10, high / 10) if asked.short else profile.sizes,
        outage_each_s=profile.outage_each_s / 10 if asked.short else profile.outage_each_s,
    )


def measure(place: Path, profiles: Mapping[str, Profile], clients: Sequence[str], *, seed: int) -> dict[str, Any]:
    """Every cell, one after another; what the line says."""
    result: dict[str, Any] = {}
    busiest, skipped = 0.0, dict[str, str]()
    why_not = link_tun.why_not()
    with contextlib.ExitStack() as stack:
        site = stack.enter_context(running_site(place / "data"))
        doors, skipped = _doors(stack, site, place, clients)
        for number, (name, profile) in enumerate(profiles.items()):
            if profile.packets and why_not:
                skipped[name] = why_not
                continue
            files = _make_files(place / name, name, profile, seed=seed + number)
            phones = {
                client: _Phones(
                    profile,
                    client,
                    door,
                    site=site,
                    home=place / "home" / name / client,
                    files=files,
                    seed=seed + number,
                )
                for client, door in doors.items()
            }
            cells: dict[str, Any] = {}
            for group in _groups(profile, list(phones)):
                say(f"{name}: {', '.join(group)}")
                cells |= asyncio.run(_side_by_side({client: phones[client] for client in group}))
            for client, cell in cells.items():
                say(f"{name}: {client}: {json.dumps(cell)}")
            busiest = max(busiest, *(cell["busy"] for cell in cells.values()))
            result[name] = {"faster": profile.faster, "links": profile.links} | cells
            shutil.rmtree(place / name)
    return {
        "profiles": result,
        "machine_busy": round(busiest, 2),
        "cores": os.cpu_count(),
        "skipped": skipped,
    }


def _groups(profile: Profile, clients: Sequence[str]) -> list[list[str]]:
    """Who is measured at the same time: on slow links all others, which cost the machine little."""
    others = [client for client in clients if client != "buildpeer"]
    together = [others] if not profile.alone else [[client] for client in others]
    return [group for group in (["buildpeer"] if "buildpeer" in clients else [], *together) if group]


async def _side_by_side(cells: "Mapping[str, _Phones]") -> dict[str, Any]:
    """Measure these clients at the same time, each on links of its own."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    ) as progress:
        told = await asyncio.gather(*(phones.cell(progress) for phones in cells.values()))
    return dict(zip(cells, told, strict=True))


def _make_files(folder: Path, name: str, profile: Profile, *, seed: int) -> list[Path]:
    """Photos that are all different, quick to look at, and of the sizes asked."""
    dice = random.Random(seed)
    base = make_photo(dice, size=20_000, width=640, height=480)
    folder.mkdir()
    for number in range(profile.files):
        size = dice.uniform(*profile.sizes)
        (folder / f"{name}-{number:04d}.jpg").write_bytes(vary(base, dice, extra=int(size) - len(base)))
    return sorted(folder.iterdir())


# -- who answers the phones ---------------------------------------------------------------------------------------


def _doors(
    stack: contextlib.ExitStack, site: Site, place: Path, clients: Sequence[str]
) -> tuple[dict[str, Door], dict[str, str]]:
    """Start the apis that these clients need; and why some could not be started."""
    doors: dict[str, Door] = {}
    skipped: dict[str, str] = {}
    registry = Registry(place / "peers.json")
    keys = _user(site)

    def taps(port: int) -> tuple[Relay, Relay]:
        return stack.enter_context(Relay(port)), stack.enter_context(Relay(site.stack.config.ports.s3))

    def peer(name: str, command: Callable[[int, str, str], tuple[list[str], dict[str, str]]]) -> Door:
        port = _free_port()
        front, back = taps(port)
        argv, settings = command(port, back.url, _bucket(name))
        env = {"PATH": os.environ["PATH"], "HOME": str(place), "PYTHONPATH": str(ROOT)} | keys | settings
        child = start(name, argv, env=env, log=place / f"{name}.log", registry=registry)
        stack.callback(child.end, timeout_s=5)
        stack.callback(child.ask_to_stop)
        wait_until(lambda: _answers(port), what=name, timeout_s=30)
        return Door(front, back, child.pid)

    if "buildpeer" in clients:
        front, back = taps(site.stack.config.ports.api)
        site.start("api", {"BUILDPEER_AWS_ENDPOINT_URL": back.url, "BUILDPEER_PUBLIC_S3_URL": _public(site)})
        site.start("worker")
        site.start("functions")
        asyncio.run(_hire(site.admin_url, max(profile.links for profile in PROFILES.values())))
        doors["buildpeer"] = Door(front, back, site.pids()["api"])

    def signer(port: int, s3: str, bucket: str) -> tuple[list[str], dict[str, str]]:
        words = {"port": str(port), "public": _public(site), "endpoint": s3, "bucket": bucket}
        named = [word for name, value in words.items() for word in (f"--{name}", value)]
        return [sys.executable, "-m", "bench.peers.signer", *named], {}

    doors |= {client: peer(client, signer) for client in ("put", "multipart") if client in clients}
    if "tus" in clients:
        try:
            program = installed("tus", "server.mjs")
        except (OSError, subprocess.CalledProcessError) as error:
            skipped["tus"] = f"no tus server: {error}"
        else:
            doors["tus"] = peer(
                "tus",
                lambda port, s3, bucket: (
                    ["node", str(program)],
                    {"PORT": str(port), "BUCKET": bucket, "ENDPOINT": s3},
                ),
            )
    return doors, skipped


async def _hire(admin_url: str, people: int) -> None:
    """One person for each phone, with the rights and the password of a demo person: the api limits what one may do."""
    connection = await asyncpg.connect(admin_url)
    try:
        async with connection.transaction():
            await connection.execute("select set_config('app.tenant_id', tenant_id::text, true) from tenants")
            for statement in _HIRE:
                await connection.execute(statement, demo.PEOPLE[4].email, people)
    finally:
        await connection.close()


def _email(number: int) -> str:
    return f"{number}-{demo.PEOPLE[4].email}"


def _user(site: Site) -> dict[str, str]:
    """A bucket for each of the peers, and the key of somebody who may do anything in S3."""
    for client in CLIENTS:
        site.stack.ministack.client("s3").create_bucket(Bucket=_bucket(client))
    iam = site.stack.ministack.client("iam")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.create_user(UserName="field")
    iam.put_user_policy(UserName="field", PolicyName="s3", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="field")["AccessKey"]
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_DEFAULT_REGION": aws.REGION,
    }


def _bucket(client: str) -> str:
    return f"field-{client}"


def _public(site: Site) -> str:
    """S3 as phones call it: the far end of their link, whichever it is."""
    return f"http://{NAMES[1]}:{site.stack.config.ports.s3}"


def _answers(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return bool(httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code)
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


# -- one cell -----------------------------------------------------------------------------------------------------


class _Phones:
    """All phones of one cell."""

    def __init__(
        self,
        profile: Profile,
        client: str,
        door: Door,
        *,
        site: Site,
        home: Path,
        files: Sequence[Path],
        seed: int,
    ) -> None:
        self._profile = profile
        self._weather = profile.weather.faster(profile.faster)
        self._client = client
        self._door = door
        self._site = site
        self._home = home
        self._files = files
        self._sizes = {path: path.stat().st_size for path in files}
        self._seed = seed
        ports = site.stack.config.ports
        self._ports = {ports.api: int(door.front.url.rsplit(":", 1)[1]), ports.s3: ports.s3}
        self._s3 = site.stack.ministack.client("s3")
        self._ready: list[asyncio.Future[None]] = []
        self._go = asyncio.Event()

    async def cell(self, progress: Progress) -> dict[str, Any]:
        """What the line says of it."""
        task = progress.add_task(self._client, total=len(self._files))
        loop = asyncio.get_running_loop()
        self._ready = [loop.create_future() for _ in range(self._profile.links)]
        async with _links(self._profile, self._weather, self._ports, self._client, self._seed) as links:
            phones = [
                asyncio.create_task(self._phone(number, link, lambda: progress.advance(task)))
                for number, link in enumerate(links)
            ]
            try:
                await _first_error(phones, self._ready)
                crossed, tapped = sum(link.crossed for link in links), self._through_api()
                busy, began = psutil.cpu_times(), loop.time()
                with Costs({"api": self._door.pid}) as costs:
                    self._go.set()
                    sent = [each for one in await asyncio.gather(*phones) for each in one]
                busy_s = _busy_s(psutil.cpu_times()) - _busy_s(busy)
                share = busy_s / (loop.time() - began) / (os.cpu_count() or 1)
                crossed = sum(link.crossed for link in links) - crossed
            finally:
                for phone in phones:
                    phone.cancel()
                await asyncio.gather(*phones, return_exceptions=True)
        return tell(sent, crossed=crossed, seed=self._seed) | {
            "api_cpu_ms": round(costs.cpu_s["api"] / len(sent) * 1000, 1),
            "api_bytes": self._through_api() - tapped,
            "busy": round(share, 2),
        }

    def _through_api(self) -> int:
        return self._door.front.files + self._door.back.files

    async def _phone(self, number: int, link: "TcpLink | TunLink", on_file: Callable[[], object]) -> list[Sent]:
        files = {path.name: path for path in self._files[number :: self._profile.links]}
        dice = random.Random(self._seed * 1000 + number)
        process = await self._start(number, link, list(files.values()))
        stdin, stdout = process.stdin, process.stdout
        assert stdin and stdout
        sent: list[Sent] = []
        began = 0.0
        try:
            while line := await stdout.readline():
                told = json.loads(line)
                if "ready" in told:
                    self._ready[number].set_result(None)
                    await self._go.wait()
                    stdin.write(b"go\n")
                elif "begin" in told:
                    began = float(told["at"])
                    size = self._sizes[files[told["begin"]]]
                    if self._profile.outage_each_s:
                        after = dice.uniform(0, size / self._weather.up_rate)
                        link.outages.add(began + after, self._profile.outage_each_s / self._profile.faster)
                else:
                    sent.append(await self._seen(link, files[told["end"]], began, told))
                    on_file()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
        if len(sent) < len(files):
            raise RuntimeError(f"a phone ended with {process.returncode}:\n{self._log(number)[-3000:]}")
        return sent

    def _log(self, number: int) -> str:
        return (self._home / str(number) / "phone.log").read_text()

    async def _start(self, number: int, link: "TcpLink | TunLink", files: Sequence[Path]) -> asyncio.subprocess.Process:
        home = self._home / str(number)
        home.mkdir(parents=True)
        api = f"http://{NAMES[0]}:{self._site.stack.config.ports.api}"
        entry = link.namespace.entry if isinstance(link, TunLink) else []
        words = [self._client, *map(str, files), "--address", link.address, "--api", api]
        words += ["--faster", str(self._profile.faster)]
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "BUILDPEER_EMAIL": _email(number),
            "BUILDPEER_PASSWORD": self._site.stack.secrets.demo_password,
        }
        with (home / "phone.log").open("w") as log:
            return await asyncio.create_subprocess_exec(
                *(*entry, sys.executable, "-m", "bench.peers.phone", *words),
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    async def _seen(self, link: "TcpLink | TunLink", path: Path, began: float, told: dict[str, Any]) -> Sent:
        end = float(told.get("safe_at") or told["at"])
        size, faster = self._sizes[path], self._profile.faster
        down_s = link.outages.within(began, end)
        ok = bool(told["ok"])
        if ok and "key" in told:
            ok = await asyncio.to_thread(self._holds, told["key"], path)
        if not ok:
            say(
                f"{path.name} failed after {(end - began) * faster:.0f} s: {told.get('why', 'S3 holds something else')}"
            )
        return Sent(
            size=size,
            seconds=(end - began) * faster if ok else _INFINITE,
            least_s=(size / self._weather.up_rate + down_s) * faster,
        )

    def _holds(self, key: str, path: Path) -> bool:
        """Whether S3 holds these very bytes; what peers have sent is removed when it has been seen."""
        where = {"Bucket": _bucket(self._client), "Key": key}
        there = self._s3.get_object(**where)["Body"].read() == path.read_bytes()
        self._s3.delete_object(**where)
        return there


@contextlib.asynccontextmanager
async def _links(
    profile: Profile, weather: Weather, ports: Mapping[int, int], client: str, seed: int
) -> "AsyncGenerator[Sequence[TcpLink] | Sequence[TunLink]]":
    async with contextlib.AsyncExitStack() as stack:
        seeds = range(seed * 1000, seed * 1000 + profile.links)
        if profile.packets:
            far = await stack.enter_async_context(Far(ports))
            yield [await stack.enter_async_context(TunLink(weather, far, seed=each)) for each in seeds]
        else:
            addresses = _addresses(client)
            yield [
                await stack.enter_async_context(TcpLink(weather, address=next(addresses), ports=ports, seed=each))
                for each in seeds
            ]


def _addresses(client: str) -> Iterator[str]:
    """Loopback addresses that no other run is likely to use."""
    net, high = 64 + os.getpid() % 128, CLIENTS.index(client)
    return (f"127.{net}.{high}.{low}" for low in range(1, 255))


async def _first_error(phones: Sequence["asyncio.Task[list[Sent]]"], ready: Sequence[asyncio.Future[None]]) -> None:
    """Wait until all are ready; raises what ended one before that."""
    everybody = asyncio.gather(*ready)
    await asyncio.wait([everybody, *phones], return_when=asyncio.FIRST_COMPLETED)
    for phone in phones:
        if phone.done():
            everybody.cancel()
            phone.result()
    await everybody


def _busy_s(times: Any) -> float:
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


# -- what it comes to ---------------------------------------------------------------------------------------------


def tell(sent: Sequence[Sent], *, crossed: int, seed: int) -> dict[str, Any]:
    """What the line says of these files, with 95 % intervals: Wilson's for `success`, the bootstrap's for times."""
    arrived = [each for each in sent if math.isfinite(each.seconds)]
    times = [each.seconds for each in sent]
    told: dict[str, Any] = {
        "files": len(sent),
        "success": round(len(arrived) / len(sent), 4),
        "success_ci": [round(edge, 4) for edge in wilson(len(arrived), len(sent))],
    }
    for share, name in ((0.5, "p50"), (0.95, "p95")):
        told[f"{name}_s"] = _number(quantile(times, share))
        told[f"{name}_ci_s"] = [_number(edge) for edge in bootstrap(times, share, seed=seed)]
    needed = sum(each.size for each in arrived)
    return told | {
        "waste": _number(crossed / needed if needed else _INFINITE, 3),
        "of_limit": _number(quantile([each.seconds / each.least_s for each in sent], 0.95), 3),
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that so large a share does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def bootstrap(values: Sequence[float], share: float, *, seed: int) -> tuple[float, float]:
    """The 95 % interval of a quantile."""
    dice = random.Random(seed)
    found = sorted(quantile(dice.choices(values, k=len(values)), share) for _ in range(_RESAMPLES))
    return found[int(_RESAMPLES * 0.025)], found[int(_RESAMPLES * 0.975) - 1]


def wilson(good: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    z = 1.96
    share = good / count
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    below = 1 + z * z / count
    return max(0.0, (middle - half) / below), min(1.0, (middle + half) / below)


def _number(value: float, digits: int = 2) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


if __name__ == "__main__":
    main()
