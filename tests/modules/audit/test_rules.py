"""The hashes, against the vectors of RFC 6962's reference implementation and against the database's own."""

import hashlib
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildpeer.modules.audit import rules
from buildpeer.modules.audit.rules import Entry, Header, Tree

# github.com/google/certificate-transparency, merkletree/merkle_tree_test.cc
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
VECTOR = Entry(
    tenant_id=UUID("11111111-1111-4111-8111-111111111111"),
    occurred_at=datetime(2026, 3, 4, 10, 20, 30, 400, UTC),
    entry_id=42,
    person_id=None,
    database_role="buildpeer_app",
    request_id='r "1"\n',
    action="update",
    object_type="projects",
    object_id="22222222-2222-4222-8222-222222222222",
    project_id=UUID("22222222-2222-4222-8222-222222222222"),
    changes='{"name": ["Torre", "Torre Ñuñoa – 3ª"], "size": [1.50, 2]}',
)
CANONICAL = (
    '{"v":1,"tenant_id":"11111111-1111-4111-8111-111111111111","entry_id":42,'
    '"occurred_at":"2026-03-04T10:20:30.000400Z","person_id":null,"database_role":"buildpeer_app",'
    '"request_id":"r \\"1\\"\\n","action":"update","object_type":"projects",'
    '"object_id":"22222222-2222-4222-8222-222222222222","project_id":"22222222-2222-4222-8222-222222222222",'
    '"changes":{"name": ["Torre", "Torre Ñuñoa – 3ª"], "size": [1.50, 2]}}'
)


@pytest.mark.parametrize(("size", "root"), ROOTS.items())
def test_roots_are_those_of_rfc_6962(size: int, root: str) -> None:
    leaves = [rules.leaf_hash(bytes.fromhex(text)) for text in INPUTS[:size]]
    assert Tree(leaves).root().hex() == root


@given(size=st.integers(1, 70), data=st.data())
def test_every_leaf_is_proved_and_nothing_else_is(size: int, data: st.DataObject) -> None:
    leaves = [hashlib.sha256(bytes([n])).digest() for n in range(size)]
    root, index = Tree(leaves).root(), data.draw(st.integers(0, size - 1))
    path = rules.proof(rules.levels(leaves), index)
    assert rules.root_by_proof(leaves[index], index, size, path) == root
    assert rules.root_by_proof(hashlib.sha256(b"none of them").digest(), index, size, path) != root
    assert rules.root_by_proof(leaves[index], size, size, path) is None
    assert rules.root_by_proof(leaves[index], index, size, [*path, root]) is None
    if path:
        assert rules.root_by_proof(leaves[index], index, size, path[:-1]) is None
        other = data.draw(st.integers(0, size - 1).filter(lambda n: n != index))
        assert rules.root_by_proof(leaves[index], other, size, path) != root


def test_the_bytes_of_an_entry_are_those_of_the_guide() -> None:
    assert rules.canonical(VECTOR).decode() == CANONICAL
    assert rules.leaf_hash(rules.canonical(VECTOR)).hex() == (
        "bae4f4f140d6b65babe783d9d0234d6be911b898ccd4b18f1205876d4921b584"
    )


def test_what_a_machine_did_is_version_2_and_names_its_key() -> None:
    key = UUID("33333333-3333-4333-8333-333333333333")
    machine = msgspec.structs.replace(VECTOR, person_id=UUID("44444444-4444-4444-8444-444444444444"), key_id=key)
    person = '"person_id":"44444444-4444-4444-8444-444444444444"'
    bytes_ = CANONICAL.replace('"v":1', '"v":2').replace('"person_id":null', f'{person},"key_id":"{key}"')
    assert rules.canonical(machine).decode() == bytes_
    assert (
        rules.leaf_hash(rules.canonical(machine)).hex()
        == "45eeaf0bd564596e1ac074b1fa46fadb75a03ccf5b7ff20ca3e8c45558d14a90"
    )


def test_the_hash_of_a_batch_is_that_of_the_guide() -> None:
    header = Header(
        tenant_id=VECTOR.tenant_id,
        number=1,
        entries=1,
        root=rules.leaf_hash(rules.canonical(VECTOR)),
        previous=rules.GENESIS,
        sealed_at=datetime(2026, 3, 4, 10, 20, 50, 0, UTC),
        hash=b"",
    )
    assert rules.header_hash(header).hex() == "91cb4bb4eb96f9239a8b7ca189b319d193c84bd1f3b6928adeb687f1222f2de6"


TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


async def test_the_database_and_the_verifier_make_the_same_bytes(admin: asyncpg.Connection) -> None:
    statement = await admin.prepare(
        """select (x).*, (x).changes::text as text, audit.canonical(x) as canonical from (
          select row($1::uuid, $2::timestamptz, 7, $3::uuid, $4::text, $5::text, $6::text, $7::text, $8::text,
            $9::jsonb, $10::uuid, $11::uuid)::audit.entries as x) y"""
    )
    examples: list[tuple[object, ...]] = []

    @settings(max_examples=60, database=None)
    @given(
        st.tuples(
            st.uuids(),
            st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
            st.none() | st.uuids(),
            TEXT,
            st.none() | TEXT,
            TEXT,
            TEXT,
            TEXT,
            st.dictionaries(TEXT, JSON, max_size=4),
            st.none() | st.uuids(),
            st.none() | st.uuids(),
        )
    )
    def collect(example: tuple[object, ...]) -> None:
        examples.append(example)

    collect()
    for example in examples:
        changes = msgspec.json.encode(example[8]).decode()
        row = await statement.fetchrow(*example[:8], changes, *example[9:])
        assert row is not None
        entry = Entry(**{name: row[name] for name in Entry.__struct_fields__ if name != "changes"}, changes=row["text"])
        assert rules.canonical(entry).decode() == row["canonical"]


async def test_the_database_makes_the_same_roots(admin: asyncpg.Connection) -> None:
    for size in (1, 2, 3, 7, 8, 100, 1024):
        leaves = [hashlib.sha256(str(n).encode()).digest() for n in range(size)]
        assert await admin.fetchval("select audit.merkle_root($1)", leaves) == Tree(leaves).root()


@pytest.mark.parametrize("cell", ["=1+1", "+A1", "-2", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1", "|cmd", "%0"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert rules.harmless(cell) == f"'{cell}"


def test_a_plain_cell_stays_as_it_is() -> None:
    assert [rules.harmless(cell) for cell in ("", "Torre = 3", "3ª fase", "{}")] == ["", "Torre = 3", "3ª fase", "{}"]


def test_all_proofs_of_a_batch_together_cost_one_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[bytes] = []

    def node_hash(left: bytes, right: bytes) -> bytes:
        hashed.append(left)
        return hashlib.sha256(b"\x01" + left + right).digest()

    monkeypatch.setattr(rules, "node_hash", node_hash)
    levels = rules.levels([hashlib.sha256(str(n).encode()).digest() for n in range(1024)])
    assert {len(rules.proof(levels, index)) for index in range(1024)} == {10}
    assert len(hashed) == 1023
