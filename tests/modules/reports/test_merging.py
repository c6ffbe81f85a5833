"""Phones that write offline, in any order, with repeats and lost answers: nothing that anybody wrote is lost."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildpeer.modules.reports.rules import daily_logs as rules
from buildpeer.modules.reports.rules.daily_logs import Change, Edit, Entry, Lost
from buildpeer.platform.errors import Problem

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
FIELDS = ("text", "is_issue", "location_id")
PEOPLE = [UUID(int=100 + n) for n in range(3)]
PHONES = [UUID(int=200 + n) for n in range(3)]


def made(**changes: Any) -> Entry:
    return Entry(
        **{
            "entry_id": UUID(int=1),
            "project_id": UUID(int=2),
            "log_date": NOW.date(),
            "kind": "note",
            "fields": {"text": "begun", "is_issue": False, "location_id": None},
            "attachments": [],
            "written": {},
            "version": 1,
            "digest": b"",
            "created_by": PEOPLE[0],
            "created_at": NOW,
            "updated_at": NOW,
            "noted_at": NOW,
            "clock_off_s": 0,
            "late": False,
            "copied_from": None,
            "deleted_at": None,
            "deleted_by": None,
        }
        | changes
    )


@dataclass
class Server:
    """What the service does with the rules: an edit once, by the phone's own count."""

    entry: Entry = field(default_factory=made)
    kept: dict[tuple[UUID, int], Edit] = field(default_factory=dict)
    made: dict[tuple[UUID, int], int] = field(default_factory=dict)  # which version each edit made
    lost: list[Lost] = field(default_factory=list)
    closed: bool = False

    def take(self, edit: Edit) -> Entry:
        if (edit.installation_id, edit.sequence) not in self.kept:
            later = [
                kept.change
                for (phone, sequence), kept in self.kept.items()
                if phone == edit.installation_id and sequence > edit.sequence
            ]
            self.kept[edit.installation_id, edit.sequence] = edit
            merged = rules.merge(self.entry, edit, own_later=later, closed=self.closed, now=NOW)
            self.entry, self.lost = merged.entry or self.entry, self.lost + merged.lost
            self.made[edit.installation_id, edit.sequence] = self.entry.version
        return self.entry


@dataclass
class Phone:
    """Writes while it is offline; sends what it has written, as often as it likes, until it has heard an answer."""

    number: int
    seen: Entry
    unsent: list[Edit] = field(default_factory=list)
    sequence: int = 0

    def write(self, change: Change) -> None:
        self.sequence += 1
        self.unsent.append(
            Edit(
                installation_id=PHONES[self.number],
                sequence=self.sequence,
                base_version=self.seen.version,
                person_id=PEOPLE[self.number],
                change=change,
            )
        )


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(
            ["write", "write", "attach", "delete", "send", "send unheard", "send out of order", "pull", "close"]
        ),
        st.sampled_from(FIELDS),
        st.integers(0, 3),
    ),
    max_size=40,
)


@settings(max_examples=1000, deadline=None)
@given(steps=STEPS)
def test_phones_come_to_the_same_and_no_value_is_lost(steps: list[tuple[int, str, str, int]]) -> None:
    server = Server()
    phones = [Phone(n, server.entry) for n in range(3)]
    for number, what, name, value in steps:
        phone = phones[number]
        if what == "write":
            phone.write(Change(set={name: f"{name} {value}"}))
        elif what == "attach":
            phone.write(Change(attach=[UUID(int=300 + value)]))
        elif what == "delete":
            phone.write(Change(delete=True))
        elif what == "pull" and not phone.unsent:
            phone.seen = server.entry
        elif what == "send unheard" and phone.unsent:
            server.take(phone.unsent[0])
        elif what == "send out of order" and phone.unsent:
            server.take(random.Random(value).choice(phone.unsent))
        elif what == "send" and phone.unsent:
            server.take(phone.unsent.pop(0))
        elif what == "close":
            server.closed = value == 0
    server.closed = False
    for phone in phones:  # everybody comes home
        while phone.unsent:
            server.take(phone.unsent[0])
            server.take(phone.unsent.pop(0))
    for phone in phones:
        phone.seen = server.entry
    assert all(phone.seen == server.entry for phone in phones)
    for edit in server.kept.values():
        for name, value in rules.values_of(edit.change).items():
            assert is_there(server, name, value) or was_displaced_knowingly(server, edit, name), (edit, name)


def is_there(server: Server, name: str, value: Any) -> bool:
    """It is in force, or waits for a person. A deletion that waits says that the entry should be there, or be gone."""
    kept = any(lost.field == name and lost.value == value for lost in server.lost)
    return kept or rules.value_of(server.entry, name) == value


def was_displaced_knowingly(server: Server, edit: Edit, name: str) -> bool:
    """By the same phone's own later edit, or by somebody who had seen a version that holds it."""
    version = server.made[edit.installation_id, edit.sequence]
    others = [other for other in server.kept.values() if name in rules.values_of(other.change)]
    return any(
        other.sequence > edit.sequence
        if other.installation_id == edit.installation_id
        else other.base_version >= version
        for other in others
    )


def edit_by(phone: int, sequence: int = 1, base: int = 1, **change: Any) -> Edit:
    return Edit(
        installation_id=PHONES[phone],
        sequence=sequence,
        base_version=base,
        person_id=PEOPLE[phone],
        change=Change(**change),
    )


def test_edits_of_two_fields_both_stand() -> None:
    server = Server()
    server.take(edit_by(0, set={"text": "a"}))
    server.take(edit_by(1, set={"is_issue": True}))
    assert (server.entry.fields["text"], server.entry.fields["is_issue"], server.lost) == ("a", True, [])


def test_of_two_edits_of_a_field_the_last_to_come_wins_and_the_other_is_kept() -> None:
    server = Server()
    server.take(edit_by(0, set={"text": "a"}))
    server.take(edit_by(1, set={"text": "b"}))
    assert server.entry.fields["text"] == "b"
    assert server.lost == [Lost("text", "a", PEOPLE[0], "concurrent")]


def test_who_has_seen_a_value_displaces_it_without_a_conflict() -> None:
    server = Server()
    seen = server.take(edit_by(0, set={"text": "a"})).version
    server.take(edit_by(1, base=seen, set={"text": "b"}))
    assert (server.entry.fields["text"], server.lost) == ("b", [])


def test_a_phone_is_in_no_conflict_with_itself_and_its_older_edit_never_displaces_its_newer_one() -> None:
    server = Server()
    server.take(edit_by(0, 2, set={"text": "second"}))
    server.take(edit_by(0, 3, set={"is_issue": True}))
    server.take(edit_by(0, 1, set={"text": "first"}))
    assert (server.entry.fields["text"], server.lost) == ("second", [])


def test_two_who_wrote_the_same_have_both_written_it() -> None:
    server = Server()
    server.take(edit_by(0, set={"text": "a"}))
    server.take(edit_by(1, set={"text": "a"}))
    server.take(edit_by(1, 2, set={"text": "b"}))
    assert server.lost == [Lost("text", "a", PEOPLE[0], "concurrent")]


def test_who_writes_what_stands_in_a_completed_day_has_written_it_as_well() -> None:
    server = Server()
    server.take(edit_by(0, set={"text": "a"}))
    server.closed = True
    server.take(edit_by(1, set={"text": "a"}))
    server.closed = False
    server.take(edit_by(0, 2, set={"text": "b"}))
    assert server.lost == [Lost("text", "a", PEOPLE[1], "concurrent")]


@pytest.mark.parametrize("first", ["delete", "edit"])
def test_an_edit_and_a_deletion_that_know_nothing_of_each_other_leave_it_to_a_person(first: str) -> None:
    server = Server()
    edits = [edit_by(0, delete=True), edit_by(1, set={"text": "b"})]
    for edit in edits if first == "delete" else reversed(edits):
        server.take(edit)
    assert server.entry.deleted_at is not None
    assert server.entry.fields["text"] == "b"  # kept, should it come back
    assert [(lost.field, lost.value, lost.written_by) for lost in server.lost] == [("deleted", None, PEOPLE[1])]


def test_what_was_completed_stands_and_photos_still_come() -> None:
    server, photo = Server(closed=True), uuid4()
    server.take(edit_by(0, set={"text": "later"}, attach=[photo]))
    assert (server.entry.fields["text"], server.entry.attachments) == ("begun", [photo])
    assert server.lost == [Lost("text", "later", PEOPLE[0], "closed")]


@pytest.mark.parametrize(
    ("ahead", "ago", "expected_ago", "told"),
    [
        (timedelta(), timedelta(hours=3), timedelta(hours=3), 0),
        (timedelta(seconds=90), timedelta(hours=3), timedelta(hours=3), 0),  # that may be the network
        (
            timedelta(days=-20_000),
            timedelta(hours=3),
            timedelta(hours=3),
            -20_000 * 86_400,
        ),  # it believes to be in 1972
        (timedelta(hours=5), timedelta(minutes=1), timedelta(minutes=1), 5 * 3600),
        (timedelta(hours=-5), timedelta(hours=-1), timedelta(), -5 * 3600),  # put back between writing and sending
    ],
)
def test_a_clock_that_is_off_is_put_right(ahead: Any, ago: Any, expected_ago: Any, told: int) -> None:
    sent = NOW + ahead
    assert rules.clock(sent - ago, sent, NOW) == (NOW - expected_ago, told)


def test_what_was_noted_in_1970_by_a_clock_that_has_been_put_right_is_of_now() -> None:
    noted_at, ahead = rules.clock(datetime(1970, 1, 1, tzinfo=UTC), NOW, NOW)
    assert noted_at == NOW
    assert ahead < -1e9


@pytest.mark.parametrize(("days", "good"), [(0, True), (-1, True), (-731, True), (1, False), (-732, False)])
def test_a_day_has_begun_at_the_site_and_is_not_years_ago(days: int, good: bool) -> None:
    at_the_site = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)  # still the 23rd in Lima, the 24th in Kiritimati
    try:
        rules.check_date((at_the_site + timedelta(days=days)).date(), zone="America/Lima", now=at_the_site)
    except Problem as problem:
        assert (problem.code, problem.facts["today"]) == ("log_date_invalid", "2026-11-23")
        assert not good
    else:
        assert good
