"""SQL of a tenant's life, as the operator's role: one function, one statement, one tenant at a time but for the list.

The tables are asked of the catalog, which writes the statements that depend on them.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from buildpeer.modules.tenants.rules import Summary, Tenant
from buildpeer.platform.db import Transaction, record, records

FIND = """
select t.tenant_id, t.name, t.data_region, t.created_at, t.suspended_at, t.storage_limit_bytes, t.uploads_per_day,
  coalesce(s.bytes, 0) as used_bytes,
  case when s.opened_on = (now() at time zone 'UTC')::date then s.opened else 0 end as opened_today
from tenants t left join storage_totals s on s.tenant_id = t.tenant_id where t.tenant_id = $1
"""
LIST = """
select tenant_id, name, state, people, files, used_bytes, storage_limit_bytes, last_activity from app.list_tenants()
"""
FOUND = """
insert into tenants (tenant_id, name, data_region, storage_limit_bytes, uploads_per_day) values ($1, $2, $3, $4, $5)
on conflict do nothing returning tenant_id
"""
SUSPEND = "update tenants set suspended_at = $2 where tenant_id = $1 and suspended_at is null"
RESUME = "update tenants set suspended_at = null where tenant_id = $1 and suspended_at is not null"
LIMIT_STORAGE = "update tenants set storage_limit_bytes = $2 where tenant_id = $1"
LIMIT_UPLOADS = "update tenants set uploads_per_day = $2 where tenant_id = $1"

# A tenant's tables: whatever has its id, but for the record of its erasure. Secret is what the audit trail keeps no
# values of. `fetch` writes a row as a line of JSON; `erase` deletes up to $2 rows.
TABLES = """
with owned as (
  select c.oid, n.nspname || '.' || c.relname as name, array(
      select distinct unnest(string_to_array((string_to_array(encode(t.tgargs, 'escape'), '\\000'))[3], ','))
      from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgname = 'audit_insert') as secrets,
    coalesce((select string_agg(format('t.%I', a.attname), ', ' order by k.place)
      from pg_catalog.pg_index i cross join unnest(i.indkey) with ordinality as k (attnum, place)
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
      where i.indrelid = c.oid and i.indisprimary), 't.ctid') as ordering
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and not c.relispartition and n.nspname in ('public', 'app', 'audit')
    and exists (select from pg_catalog.pg_attribute a
      where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
    and c.oid <> 'public.tenant_erasures'::regclass
)
select o.name, o.secrets,
  format('select (to_jsonb(t) - %L::text[])::text from %s t where t.tenant_id = $1 order by %s',
    o.secrets::text, o.name, o.ordering) as fetch,
  format('delete from %1$s where ctid = any (array(select t.ctid from %1$s t where t.tenant_id = $1 limit $2))',
    o.name) as erase
from owned o order by o.name
"""
REFERENCES = """
select c.conrelid::regclass::text as referring, c.confrelid::regclass::text as referred
from pg_catalog.pg_constraint c where c.contype = 'f'
"""
MOMENT = "select now() as at, current_setting('transaction_isolation') as isolation"
PEOPLE_ROWS = (
    "select to_jsonb(p)::text from (select person_id, email, name, locale, created_at from people) p order by 1"
)
PEOPLE = "select person_id from people"
DOCUMENT_FILES = """
select d.document_id, d.project_id, d.name, d.content_type, d.bucket, d.key, d.version_id, d.size_bytes,
  encode(d.sha256, 'hex') as sha256
from documents d where d.tenant_id = $1 order by d.document_id
"""
RECORD = "select audit.record($1, 'tenants', $2, $3)"

ERASURE = """
select tenant_id, name, data_region, began_at, writable_until, removed, ended_at, certificate
from tenant_erasures where tenant_id = $1
"""
BEGIN = """
insert into tenant_erasures (tenant_id, name, data_region, began_at, writable_until, people)
select t.tenant_id, t.name, t.data_region, $2, case when exists (
    select from uploads u where u.tenant_id = t.tenant_id
      and (u.check_at is not null or u.updated_at > b.blocked_at - $3::interval))
  then b.blocked_at + $3::interval else $2 end, array(select p.person_id from people p)
from tenants t cross join lateral (select coalesce(t.suspended_at, $2) as blocked_at) b where t.tenant_id = $1
"""
SHUT = "select app.shut_tenant()"
COUNT = """
update tenant_erasures set removed = removed || (
  select jsonb_object_agg(n.key, coalesce((removed ->> n.key)::bigint, 0) + n.value::bigint) from jsonb_each_text($2) n)
where tenant_id = $1
"""
ELSEWHERE = """
with held as (
  select d.bucket, d.key, d.version_id, d.thumbnail, d.preview from documents d where d.tenant_id = $1
  union select e.bucket, e.key, e.version_id, e.thumbnail, e.preview from erasures e where e.tenant_id = $1
)
select f.bucket, f.key, f.version_id from held h cross join lateral (values (h.bucket, h.key, h.version_id),
    (h.thumbnail ->> 'bucket', h.thumbnail ->> 'key', ''), (h.preview ->> 'bucket', h.preview ->> 'key', ''))
  as f (bucket, key, version_id)
where split_part(f.key, '/', 2) <> $1::text group by 1, 2, 3
"""
ERASE_LETTERS = "select app.erase_dead_letters()"
ERASE_PEOPLE = "select gone, kept from app.erase_people()"
SEAL = "select audit.seal($1)"
PENDING = "select exists (select from audit.pending where tenant_id = $1)"
ERASE_AUDIT = "select audit.erase($1)"
HEAD = "select number, hash from audit.heads where tenant_id = $1"
END = "update tenant_erasures set ended_at = $2, certificate = $3 where tenant_id = $1"


class Table(msgspec.Struct, frozen=True):
    """A table of a tenant's, and the statements that read and empty it; `secrets` are columns that stay here."""

    name: str
    secrets: list[str]
    fetch: str
    erase: str


class DocumentFile(msgspec.Struct, frozen=True):
    """A document's original: where it lies, its size in bytes, its SHA-256 in hex."""

    document_id: UUID
    project_id: UUID
    name: str
    content_type: str
    bucket: str
    key: str
    version_id: str
    size_bytes: int
    sha256: str


class Erasure(msgspec.Struct, frozen=True):
    """How far the erasing of a tenant is; `removed` says how many, by what."""

    tenant_id: UUID
    name: str
    data_region: str
    began_at: datetime
    writable_until: datetime
    removed: dict[str, int]
    ended_at: datetime | None
    certificate: str | None


class Version(msgspec.Struct, frozen=True):
    """One version of an object."""

    bucket: str
    key: str
    version_id: str


async def find(tx: Transaction) -> Tenant | None:
    """The tenant of this transaction."""
    row = await tx.one(FIND, tx.tenant_id)
    return None if row is None else record(row, Tenant)


async def summaries(tx: Transaction) -> list[Summary]:
    """Every tenant, by name."""
    return records(await tx.all(LIST), Summary)


async def found(
    tx: Transaction, *, name: str, region: str, storage_limit_bytes: int | None, uploads_per_day: int | None
) -> bool:
    """Make a tenant; False if it is there, and stays as it is."""
    return await tx.value(FOUND, tx.tenant_id, name, region, storage_limit_bytes, uploads_per_day) is not None


async def suspend(tx: Transaction, now: datetime) -> None:
    """Suspend; a tenant that is suspended already has been since then."""
    await tx.run(SUSPEND, tx.tenant_id, now)


async def resume(tx: Transaction) -> None:
    """Let it work again."""
    await tx.run(RESUME, tx.tenant_id)


async def limit_storage(tx: Transaction, most_bytes: int | None) -> None:
    """Set what its files may weigh; None: anything."""
    await tx.run(LIMIT_STORAGE, tx.tenant_id, most_bytes)


async def limit_uploads(tx: Transaction, per_day: int | None) -> None:
    """Set how many uploads it may open a day; None: any."""
    await tx.run(LIMIT_UPLOADS, tx.tenant_id, per_day)


async def moment(tx: Transaction) -> datetime:
    """When this transaction began: what it sees is of then. Raises RuntimeError for one that sees what came later."""
    row = await tx.one(MOMENT)
    if row is None or row["isolation"] != "repeatable read":
        raise RuntimeError("this takes a transaction with a snapshot")
    return row["at"]


async def tables(tx: Transaction) -> list[Table]:
    """Every table that holds rows of a tenant, by name."""
    return records(await tx.all(TABLES), Table)


async def references(tx: Transaction) -> list[tuple[str, str]]:
    """Which table refers to which, by foreign keys."""
    rows = await tx.all(REFERENCES)
    return [(_whole(row["referring"]), _whole(row["referred"])) for row in rows]


async def lines(tx: Transaction, table: Table) -> AsyncIterator[str]:
    """A table's rows of the tenant, each as JSON without what is secret, in the order of their key."""
    async for row in tx.stream(table.fetch, tx.tenant_id):
        yield row[0]


async def people_lines(tx: Transaction) -> AsyncIterator[str]:
    """Whoever belongs to the tenant, or ever has, each as JSON."""
    async for row in tx.stream(PEOPLE_ROWS):
        yield row[0]


async def document_files(tx: Transaction) -> AsyncIterator[DocumentFile]:
    """The originals of the tenant's documents."""
    async for row in tx.stream(DOCUMENT_FILES, tx.tenant_id):
        yield record(row, DocumentFile)


async def note(tx: Transaction, action: str, details: Mapping[str, Any]) -> None:
    """Put what an operator did into the tenant's trail."""
    await tx.run(RECORD, action, str(tx.tenant_id), dict(details))


async def erasure(tx: Transaction) -> Erasure | None:
    """The erasing of the tenant, if it has begun."""
    row = await tx.one(ERASURE, tx.tenant_id)
    return None if row is None else record(row, Erasure)


async def begin(tx: Transaction, *, now: datetime, url_life: Any) -> None:
    """Begin the erasing, and remember who has ever belonged to the tenant. `url_life`: how long a write URL lives."""
    await tx.run(BEGIN, tx.tenant_id, now, url_life)


async def shut(tx: Transaction) -> None:
    """Let nobody belong to the tenant any more."""
    await tx.run(SHUT)


async def count(tx: Transaction, removed: Mapping[str, int]) -> None:
    """Add to what has been removed."""
    await tx.run(COUNT, tx.tenant_id, dict(removed))


async def elsewhere(tx: Transaction) -> list[Version]:
    """Bytes of the tenant's that don't lie under its own keys, because they were adopted where they were."""
    return records(await tx.all(ELSEWHERE, tx.tenant_id), Version)


async def erase_rows(tx: Transaction, table: Table, limit: int) -> int:
    """Delete up to `limit` of the tenant's rows; returns how many."""
    return int((await tx.execute(table.erase, tx.tenant_id, limit)).split()[-1])


async def erase_letters(tx: Transaction) -> int:
    """Delete messages about the tenant's files that died in a queue; returns how many."""
    return await tx.value(ERASE_LETTERS)


async def erase_people(tx: Transaction) -> tuple[int, int]:
    """Delete people whom nothing else holds; returns how many went and how many stay."""
    row = await tx.one(ERASE_PEOPLE)
    return (row["gone"], row["kept"]) if row else (0, 0)


async def seal(tx: Transaction) -> int:
    """Close one batch of the tenant's trail; returns how many entries are in it."""
    return await tx.value(SEAL, tx.tenant_id)


async def is_pending(tx: Transaction) -> bool:
    """Whether entries of the tenant's trail are in no batch yet."""
    return await tx.value(PENDING, tx.tenant_id)


async def erase_audit(tx: Transaction, limit: int) -> int:
    """Delete up to `limit` entries of the tenant's trail; returns how many."""
    return await tx.value(ERASE_AUDIT, limit)


async def head(tx: Transaction) -> tuple[int, bytes] | None:
    """Number and hash of the newest seal."""
    row = await tx.one(HEAD, tx.tenant_id)
    return None if row is None else (row["number"], row["hash"])


async def end(tx: Transaction, *, now: datetime, certificate: str) -> None:
    """End the erasing, with what certifies it."""
    await tx.run(END, tx.tenant_id, now, certificate)


def _whole(name: str) -> str:
    return name if "." in name else f"public.{name}"
