"""`make bench-kickoff`: a project's first day, 2,000 mixed files from the first request to the last `ready`.

Everything runs on this machine, the sender too. Then a plain script (see `plain`) does the same work on the same
cores, into an S3 as fresh as ours was, with BuildPeer stopped: `overhead` is our time over its time. `api_bytes` are
the bytes of files that passed the api on either side of it (see `relay`), counted on the wire.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.local.services import running_services

from bench import plain
from bench.relay import Relay
from bench.samples import make_files
from bench.site import Costs, Site, running_site, say, stop_politely
from buildpeer.local import aws, demo
from buildpeer.local.stack import Stack

_TIMES = """
select count(*) as ready, max(extract(epoch from updated_at))::float8 as last,
  string_agg(distinct scanner, ',') as scanner,
  percentile_disc(array[0.5, 0.95, 0.99]) within group (order by extract(epoch from updated_at - created_at))::float8[]
    as s
from uploads where state = 'ready'
"""
_ENDS = "select state, reason, count(*) as files from uploads where state <> 'ready' group by 1, 2"
_PICTURED = "select count(*) as files from documents where preview is not null"


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=4, help="files sent at a time, by us and by the plain script")
    parser.add_argument("--no-plain", action="store_true", help="leave the comparison out")
    asked = parser.parse_args()
    stop_politely()
    with tempfile.TemporaryDirectory(prefix="buildpeer-bench-") as place:
        files = Path(place, "files")
        began = time.monotonic()
        total = make_files(files, asked.files, seed=asked.seed)
        say(f"made {asked.files} files, {total / 1e9:.2f} GB, in {time.monotonic() - began:.0f} s")
        os.sync()  # what the disk still has to write down is not to our account
        result, seconds = ours(Path(place, "ours"), files, parallel=asked.parallel)
        result["gigabytes"] = round(total / 1e9, 2)
        os.sync()
        if not asked.no_plain:
            theirs = script(Path(place, "plain"), files, parallel=asked.parallel)
            result |= {"plain": theirs, "overhead": round(seconds / theirs["seconds"], 2)}
    print(json.dumps(result))


def ours(place: Path, files: Path, *, parallel: int) -> tuple[dict[str, Any], float]:
    """Push the files through a whole BuildPeer; what it took, and the seconds from the start to the last `ready`."""
    count = sum(1 for _ in files.iterdir())
    with (
        running_site(place / "data") as site,
        Relay(site.stack.config.ports.api) as front,
        Relay(site.stack.config.ports.s3) as back,
    ):
        # The api speaks to S3 through the wire-tap; phones, and so the URLs for them, go straight.
        tap = {"BUILDPEER_AWS_ENDPOINT_URL": back.url, "BUILDPEER_PUBLIC_S3_URL": site.stack.ministack.url}
        site.start("api", tap)
        site.start("worker")
        site.start("functions")
        say("pushing")
        with Costs(site.pids()) as costs:
            began = time.time()
            push_cpu_s = _push(site, front.url, place, files, parallel)
        times = site.query(_TIMES)[0]
        for end in site.query(_ENDS):
            say(f"not ready: {dict(end)}")
        seconds = (times["last"] or time.time()) - began
        p50, p95, p99 = (round(s, 2) for s in times["s"] or (0, 0, 0))
        return {
            "files": count,
            "seconds": round(seconds, 1),
            "files_per_hour": round(times["ready"] / seconds * 3600),
            "p50_s": p50,
            "p95_s": p95,
            "p99_s": p99,
            "cpu_s": costs.cpu_s | {"push": push_cpu_s},
            "peak_mb": costs.peak_mb,
            "scanner": times["scanner"],
            "api_bytes": front.files + back.files,
            "api_traffic_per_file": round((front.traffic + back.traffic) / count),
            "lost": count - times["ready"],
            "pictured": site.query(_PICTURED)[0]["files"],
        }, seconds


def _push(site: Site, api: str, place: Path, files: Path, parallel: int) -> float:
    """`buildpeer push` as people run it; its CPU seconds."""
    home = place / "home"
    env = os.environ | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "BUILDPEER_API": api,
        "BUILDPEER_EMAIL": demo.PEOPLE[4].email,
        "BUILDPEER_PASSWORD": site.stack.secrets.demo_password,
    }
    words = ["push", str(files), "--project", "TAL", "--parallel", str(parallel)]
    log = place / "push.log"
    before = os.times()
    with log.open("w") as output:
        pushing = subprocess.Popen(
            [sys.executable, "-m", "buildpeer.entrypoints.cli", *words], env=env, stdout=output, stderr=output
        )
        try:
            code = pushing.wait()
        finally:
            pushing.kill()
    after = os.times()
    if code:
        say(f"push ended with {code}:\n" + "\n".join(log.read_text().splitlines()[-10:]))
    return round(after.children_user + after.children_system - before.children_user - before.children_system, 2)


def script(place: Path, files: Path, *, parallel: int) -> dict[str, float]:
    """The plain script on the same files; its seconds, its CPU seconds and S3's."""
    with running_services(place) as stack:
        say("the plain script")
        env = os.environ | _user(stack)
        words = [str(files), "--endpoint", stack.ministack.url, "--parallel", str(parallel)]
        pids = {each["name"]: each["pid"] for each in json.loads((place / "processes.json").read_text())}
        with Costs({"ministack": pids["ministack"]}) as costs:
            working = subprocess.Popen(
                [sys.executable, "-m", "bench.plain", *words], env=env, stdout=subprocess.PIPE, start_new_session=True
            )
            try:
                told = json.loads(working.communicate()[0])
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(working.pid, signal.SIGKILL)  # with the processes of its pool
        return {name: round(value, 2) for name, value in told.items()} | {"ministack_cpu_s": costs.cpu_s["ministack"]}


def _user(stack: Stack) -> dict[str, str]:
    """Buckets for the script, and the key of somebody who may do anything in S3."""
    for bucket in (plain.ORIGINALS, plain.PICTURES):
        stack.ministack.client("s3").create_bucket(Bucket=bucket)
    iam = stack.ministack.client("iam")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.create_user(UserName="plain")
    iam.put_user_policy(UserName="plain", PolicyName="s3", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="plain")["AccessKey"]
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_DEFAULT_REGION": aws.REGION,
        "VIPS_CONCURRENCY": "1",  # as ours: the processes share the cores, not the rows of one picture
    }


if __name__ == "__main__":
    main()
