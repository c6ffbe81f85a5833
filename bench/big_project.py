"""The first pages of one project that holds as much as a large site gathers in years: part of `make bench-api`.

`big_project_p99_ms` is the slowest page's 99th percentile, over HTTP, for an owner and for a field worker in turns, one
request after the other; `big_project` has each page's. A module that has lists adds its rows to `FILLS` and its pages
to `PAGES`; a page's address may name what `_NAMES` finds in the project.
"""

import asyncio
import json
import math
import random
import time
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import asyncpg

from bench.load import Connection
from bench.site import Site, say
from buildpeer.platform import clock
from buildpeer.platform.auth import Caller, Tokens

_PROJECT = """
with made as (insert into tenants (tenant_id, name) values (gen_random_uuid(), 'Big') returning tenant_id)
insert into projects (tenant_id, project_id, code, name, timezone)
select tenant_id, gen_random_uuid(), 'BIG', 'Obra grande', 'America/Lima' from made returning tenant_id, project_id
"""
_PERSON = """
with hired as (
  insert into people (person_id, email, name, password_hash)
  values ($2, $2::uuid::text || '@bench.test', 'Alguien', '-')
), joined as (insert into memberships (tenant_id, person_id, role) values ($1, $2, $3))
insert into project_members (tenant_id, project_id, person_id) values ($1, $4, $2)
"""
_INDEXES = """
select indexdef, indexrelid::regclass::text as name
from pg_index join pg_indexes on indexname = indexrelid::regclass::text
where indrelid = 'documents'::regclass and not indisprimary
  and not exists (select from pg_constraint where conindid = indexrelid)
"""
# $1 tenant, $2 project, $3 person, and how many; triggers rest, so what they would compute is given.
FILLS = {
    "folders": """
      insert into folders (tenant_id, folder_id, project_id, name, created_by, created_at)
      select $1::uuid, gen_random_uuid(), $2::uuid, 'Carpeta ' || n, $3, now() from generate_series(1, $4::int) n""",
    "albums": """
      insert into albums (tenant_id, album_id, project_id, name, private, created_by, created_at)
      select $1::uuid, gen_random_uuid(), $2::uuid, 'Álbum ' || n, n % 10 = 0, $3, now()
      from generate_series(1, $4::int) n""",
    "locations": """
      insert into locations (tenant_id, project_id, location_id, name)
      select $1::uuid, $2::uuid, gen_random_uuid(), 'Piso ' || n
      from generate_series(1, $4::int) n where $3::uuid is not null""",
    "trades": """
      insert into trades (tenant_id, trade_id, name)
      select $1::uuid, gen_random_uuid(), 'Oficio ' || n from generate_series(1, $4::int) n
      where $2::uuid is not null and $3::uuid is not null""",
    "photos": """
      insert into documents (tenant_id, document_id, project_id, created_by, kind, name, size_bytes, content_type,
        sha256, bucket, key, version_id, media, thumbnail, preview, created_at, icon, captured_at, latitude, longitude,
        folder_id, album_id, location_id, trade_id, tags, starred, private, found_by, words)
      select $1::uuid, gen_random_uuid(), $2::uuid, $3, 'photo', w.name, 3000000 + n, 'image/jpeg',
        sha256(n::text::bytea),
        'buildpeer-uploads', 'live/' || $1::uuid || '/' || n, md5(n::text), '{"width": 4000, "height": 3000}',
        '{"bucket": "buildpeer-derived", "key": "t.webp", "width": 400, "height": 300, "size": 9000}',
        '{"bucket": "buildpeer-derived", "key": "p.webp", "width": 1600, "height": 1200, "size": 90000}',
        now() - n * interval '1 minute', 'photo', now() - n * interval '1 minute' - random() * interval '1 day',
        -33.4 + random() * 0.01, -70.6 + random() * 0.01, f.ids[1 + n % 300], a.ids[1 + n % 400],
        l.ids[1 + n * 7 % 100], t.ids[1 + n * 3 % 20],
        case when n % 50 = 0 then '{Losa}'::text[] else '{}' end, n % 1000 = 0, n % 100 = 0,
        app.folded(w.name), setweight(app.words(w.name), 'A')
          || case when n % 50 = 0 then array_to_tsvector('{#losa}') else '' end
      from generate_series(1, $4::int) n,
        (select array_agg(folder_id) as ids from folders where tenant_id = $1) f,
        (select array_agg(album_id) as ids from albums where tenant_id = $1) a,
        (select array_agg(location_id) as ids from locations where tenant_id = $1) l,
        (select array_agg(trade_id) as ids from trades where tenant_id = $1) t,
        lateral (select case when n % 3 = 0 then 'Cimentación eje ' || n
          when n % 5000 = 1 then 'Impermeabilización azotea ' || n || '.jpg'
          else 'IMG_' || n || '.jpg' end as name) w""",
}
_NAMES = """
select $2::uuid::text as project, (select min(folder_id::text) from folders where tenant_id = $1) as folder,
  (select min(album_id::text) from albums where tenant_id = $1 and not private) as album,
  (select min(location_id::text) from locations where tenant_id = $1) as location,
  (select min(trade_id::text) from trades where tenant_id = $1) as trade
"""
_PHOTOS = "/v1/projects/{project}/photos"
_FOUND = "/v1/documents?project_id={project}"
PAGES = {
    "documents": _FOUND,
    "documents_of_kind": _FOUND + "&kind=plan",
    "documents_archived": _FOUND + "&archived=true",
    "folder": _FOUND + "&folder_id={folder}",
    "unfiled": "/v1/projects/{project}/unfiled-documents",
    "folders": "/v1/projects/{project}/folders?limit=200",
    "rare_word": _FOUND + "&q=impermeabilizaciones",
    "frequent_word": _FOUND + "&q=" + quote("cimentación"),
    "mistyped_word": _FOUND + "&q=impermeablizacion",
    "unknown_word": _FOUND + "&q=xyzzyw",
    "tag": _FOUND + "&tag=losa",
    "timeline": _PHOTOS,
    "album": _PHOTOS + "?album_id={album}",
    "location": _PHOTOS + "?location_id={location}",
    "trade": _PHOTOS + "?trade_id={trade}",
    "starred": _PHOTOS + "?starred=true",
    "map": "/v1/projects/{project}/photo-map?west=-70.6&south=-33.4&east=-70.59&north=-33.39",
    "albums": "/v1/projects/{project}/albums",
}
_SIZES = {"folders": 200, "albums": 100, "locations": 100, "trades": 20}
_WARM_UP = 10


async def big_project(site: Site, *, photos: int, requests: int) -> dict[str, Any]:
    """Fill the project and read its pages."""
    began = time.monotonic()
    admin = await asyncpg.connect(site.admin_url)
    await admin.execute("set session_replication_role = replica; set synchronous_commit = off")
    made = await admin.fetchrow(_PROJECT)
    assert made is not None
    tenant_id, project_id = made["tenant_id"], made["project_id"]
    readers: list[UUID] = [uuid4(), uuid4()]
    for person_id, role in zip(readers, ("owner", "empleado_obra"), strict=True):
        await admin.execute(_PERSON, tenant_id, person_id, role, project_id)
    indexes = await admin.fetch(_INDEXES)
    for index in indexes:
        await admin.execute(f"drop index {index['name']}")
    for name, sql in FILLS.items():
        await admin.execute(sql, tenant_id, project_id, readers[0], _SIZES.get(name, photos))
    for index in indexes:
        await admin.execute(index["indexdef"])
    await admin.execute("vacuum (analyze)")
    await admin.execute("checkpoint")
    names = await admin.fetchrow(_NAMES, tenant_id, project_id)
    await admin.close()
    say(f"{photos} photos in one project in {time.monotonic() - began:.0f} s")
    tokens = Tokens(site.stack.secrets.token_key)
    bearers = [
        f"Bearer {tokens.access(Caller(person_id, tenant_id, uuid4()), now=clock.now())}" for person_id in readers
    ]
    api = Connection(site.stack.config.ports.api)
    p99s = {
        page: await _p99_ms(api, path.format(**dict(names or {})), bearers, requests) for page, path in PAGES.items()
    }
    api.close()
    say(f"first pages: {json.dumps(p99s)}")
    return {"big_project_p99_ms": max(p99s.values()), "big_project": p99s}


async def _p99_ms(api: Connection, target: str, bearers: list[str], requests: int) -> float:
    times: list[float] = []
    for number in range(_WARM_UP + requests):
        await asyncio.sleep(random.uniform(0, 0.002))  # never in step with anything else
        began = time.perf_counter()
        status, answer = await api.ask("GET", target, {"Authorization": bearers[number % len(bearers)]}, b"")
        if status != 200:
            raise RuntimeError(f"{target}: {status}: {answer[:300]!r}")
        times.append((time.perf_counter() - began) * 1000)
    times = sorted(times[_WARM_UP:])
    return round(times[max(math.ceil(len(times) * 0.99) - 1, 0)], 1)
