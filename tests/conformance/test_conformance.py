"""The conformance runner holds clients to the protocol: those that keep it pass, and each sin is caught by name.

What takes minutes is marked `long`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.journeys.site import BUILDPEER, MANAGER, Site

from buildpeer.conformance.rules import MOST_CONNECTIONS, RULES, Seen
from buildpeer.conformance.runner import Client, Verdict, play
from buildpeer.conformance.scenarios import SCENARIOS
from buildpeer.conformance.traffic import Exchange, Traffic, overlap

pytestmark = pytest.mark.xdist_group("conformance")

LITTLE = [sys.executable, str(Path(__file__).with_name("little_client.py"))]
PUSH = [*BUILDPEER, "push", "{files}", "--project", "{project}", "--lang", "en"]
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
QUICK = ("answer-lost", "expired")
# the sin, the scenario that must catch it, and what it must say was not kept
CAUGHT = [
    ("chatty", "clean", "authorization"),
    ("strips", "clean", "headers"),
    ("forgets", "killed", "one-upload"),
    ("forgets", "killed", "waste"),
    ("resends", "killed", "killed"),
    ("impatient", "busy-s3", "busy-s3"),
    ("impatient", "busy-api", "busy-api"),
    ("stubborn", "expired", "expired"),
    ("trusting", "portal", "arrival"),
    ("wanders", "portal", "given-urls"),
    ("hasty", "errors", "errors"),
    ("hasty", "api-away", "exit"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("conformance") / "data")
    try:
        site.start()
        yield site
    finally:
        site.stop()


def signed_in(site: Site) -> dict[str, str]:
    return os.environ | {"BUILDPEER_EMAIL": MANAGER, "BUILDPEER_PASSWORD": site.password}


async def judged(site: Site, command: list[str], scenario: str) -> Verdict:
    client = Client(command, signed_in(site), timeout_s=60)
    return await play(BY_NAME[scenario](), client, url=site.api, project=None)


@pytest.mark.parametrize("scenario", QUICK)
async def test_push_keeps_the_protocol_where_answers_and_urls_are_lost(site: Site, scenario: str) -> None:
    verdict = await judged(site, PUSH, scenario)
    assert not verdict.broken, verdict.broken
    assert verdict.met
    assert verdict.faults


def test_the_command_tells_each_verdict_and_fails_if_one_rule_is_not_kept(site: Site) -> None:
    only = ["--only", "clean", "--only", "busy-api", "--json", "--project", "PSJ"]
    command = [site.api, *only, "--", *LITTLE, "--sin", "impatient", "{files}", "{state}"]
    process = site.command(MANAGER, "conformance", *command)
    output, _ = process.communicate(timeout=60)
    clean, busy = [json.loads(line) for line in output.splitlines()]
    assert clean["broken"] == []
    assert clean["wasted_bytes"] == 0
    assert [broken["rule"] for broken in busy["broken"]] == ["busy-api"]
    assert process.returncode == 1


def test_a_wrong_password_is_told_before_anything_is_played(site: Site) -> None:
    command = [*BUILDPEER, "conformance", site.api, "--", "true"]
    env = signed_in(site) | {"BUILDPEER_PASSWORD": "wrong"}
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "BUILDPEER_PASSWORD" in answer.stderr


@pytest.mark.long
@pytest.mark.parametrize("scenario", BY_NAME)
async def test_push_keeps_the_protocol(site: Site, scenario: str) -> None:
    verdict = await judged(site, PUSH, scenario)
    assert not verdict.broken, verdict.broken


@pytest.mark.long
@pytest.mark.parametrize("scenario", BY_NAME)
async def test_the_little_client_keeps_the_protocol(site: Site, scenario: str) -> None:
    verdict = await judged(site, [*LITTLE, "{files}", "{state}"], scenario)
    assert not verdict.broken, verdict.broken


@pytest.mark.long
@pytest.mark.parametrize(("sin", "scenario", "rule"), CAUGHT)
async def test_each_sin_is_caught_by_name(site: Site, sin: str, scenario: str, rule: str) -> None:
    verdict = await judged(site, [*LITTLE, "--sin", sin, "{files}", "{state}"], scenario)
    assert rule in {broken.rule for broken in verdict.broken}, verdict


def exchange(**known: object) -> Exchange:
    return Exchange(**{"door": "s3", "method": "PUT", "target": "/b/k", "headers": {}, "began": 0.0} | known)


def broken_rules(traffic: Traffic) -> set[str]:
    seen = Seen(traffic, [], [], {}, 0)
    return {rule.name for rule in RULES if list(rule.broken_by(seen))}


def test_a_crowd_of_connections_and_a_url_that_nobody_gave_are_seen() -> None:
    traffic = Traffic()
    for _ in range(MOST_CONNECTIONS):
        traffic.begin(exchange())
    assert broken_rules(traffic) == {"given-urls"}
    traffic.begin(exchange())
    assert broken_rules(traffic) == {"given-urls", "connections"}


pieces = st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(1, 20))


@given(st.lists(pieces, max_size=6), pieces)
def test_bytes_sent_again_are_counted_once_each(sent: list[tuple[str, int, int]], again: tuple[str, int, int]) -> None:
    held = {(name, n) for name, offset, length in sent for n in range(offset, offset + length)}
    name, offset, length = again
    assert overlap(sent, again) == sum((name, n) in held for n in range(offset, offset + length))
