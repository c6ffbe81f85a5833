"""Photos: the timeline, the map, albums, before and after."""

from datetime import UTC, datetime, timedelta
from typing import Any

from buildpeer.facts import Media
from buildpeer.platform.ids import new_id

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


async def photo(who: Any, name: str, **changes: Any) -> str:
    return await who.file(name, kind="photo", icon="photo", **changes)


async def album(who: Any, name: str, status: int = 201, **other: Any) -> Any:
    body = {"album_id": str(new_id()), "name": name} | other
    return await who.ask("POST", f"/projects/{who.company.tower}/albums", status, json=body)


async def test_the_timeline_goes_by_when_photos_were_taken_or_else_sent(desk) -> None:
    ana = await desk()
    path = f"/projects/{ana.company.tower}/photos"
    for hours, name in ((2, "c"), (0, "a"), (1, "b")):
        await photo(ana, name, said_captured_at=NOON + timedelta(hours=hours), created_at=NOON + timedelta(days=1))
    await photo(ana, "sent", created_at=NOON + timedelta(minutes=30))
    await ana.file("plan", created_at=NOON)
    first = await ana.ask("GET", path, params={"limit": 2})
    rest = await ana.names(path, cursor=first["next_cursor"])
    assert [each["name"] for each in first["items"]] + rest == ["c", "b", "sent", "a"]
    span = {"since": NOON.isoformat(), "until": (NOON + timedelta(hours=1)).isoformat()}
    assert await ana.names(path, **span) == ["sent", "a"]
    await ana.ask("GET", path, 422, params={"since": "2026-11-23T12:00:00"})


async def test_photos_are_listed_by_album_place_trade_star_and_sender(desk, admin: Any) -> None:
    ana, beto = await desk(), await desk()
    path, place, trade = f"/projects/{ana.company.tower}/photos", new_id(), new_id()
    await admin.execute(
        "insert into locations (tenant_id, project_id, location_id, name) values ($1, $2, $3, 'Piso 1')",
        *(ana.company.tenant_id, ana.company.tower, place),
    )
    await admin.execute(
        "insert into trades (tenant_id, trade_id, name) values ($1, $2, 'Albañilería')", ana.company.tenant_id, trade
    )
    ids = [await photo(ana, f"{n}", created_at=NOON + timedelta(hours=n)) for n in range(4)]
    ids.append(await photo(beto, "4", created_at=NOON + timedelta(hours=4)))
    shown = (await album(ana, "Fachada"))["album_id"]
    await ana.change(ids[:2], album_id=shown, location_id=str(place))
    await ana.change(ids[1:3], trade_id=str(trade), starred=True)
    for params, names in (
        ({"album_id": shown}, ["1", "0"]),
        ({"location_id": str(place)}, ["1", "0"]),
        ({"trade_id": str(trade)}, ["2", "1"]),
        ({"starred": True}, ["2", "1"]),
        ({"created_by": str(beto.caller.person_id)}, ["4"]),
        ({"location_id": [str(place), str(new_id())], "trade_id": str(trade)}, ["1"]),
    ):
        assert await beto.names(path, **params) == names, params
    await ana.change(ids[:1], 422, location_id=str(new_id()))


async def test_the_map_puts_together_what_lies_close_and_shows_no_more_than_is_seen(desk) -> None:
    ana, beto = await desk(), await desk()
    lima = {"said_latitude": -12.05, "said_longitude": -77.05}
    near = [await photo(ana, str(n), **lima) for n in range(3)]
    far = await photo(ana, "lejos", said_latitude=-12.06, said_longitude=-77.03)
    await photo(ana, "camera", media=Media(latitude=19.43, longitude=-99.13))
    await ana.change(near[:1], private=True)
    path = f"/projects/{ana.company.tower}/photo-map"
    box = {"west": -77.1, "south": -12.1, "east": -77.0, "north": -12.0}
    for who, counts in ((ana, [1, 3]), (beto, [1, 2])):
        clusters = (await who.ask("GET", path, params=box))["clusters"]
        assert sorted(cluster["photos"] for cluster in clusters) == counts
        [alone] = [cluster for cluster in clusters if cluster["photos"] == 1]
        assert alone["document_id"] == far and abs(alone["latitude"] + 12.06) < 1e-9
    whole = (await ana.ask("GET", path))["clusters"]
    assert sum(cluster["photos"] for cluster in whole) == 5
    await ana.ask("GET", path, 422, params=box | {"east": -78})


async def test_a_private_album_is_seen_by_who_made_it_and_the_managers_and_so_are_its_photos(desk) -> None:
    ana, beto, jefa = await desk(), await desk(), await desk("manager")
    path = f"/projects/{ana.company.tower}"
    secret = await album(ana, "Accidentes", private=True)
    ids = [await photo(beto, "de beto"), await photo(ana, "de ana")]
    await ana.change(ids, album_id=secret["album_id"])
    assert await ana.names(f"{path}/albums") == await jefa.names(f"{path}/albums") == ["Accidentes"]
    assert await beto.names(f"{path}/albums") == []
    assert await beto.names(f"{path}/photos") == ["de beto"]
    await beto.ask("GET", f"/documents/{ids[1]}", 404)
    refused = await beto.change(ids[:1], 422, album_id=secret["album_id"])
    assert refused["code"] == "reference_unknown"
    await beto.ask("PATCH", f"/albums/{secret['album_id']}", 404, json={"private": False})
    await ana.ask("PATCH", f"/albums/{secret['album_id']}", match='"1"', json={"private": False, "cover_id": ids[1]})
    assert set(await beto.names(f"{path}/photos")) == {"de beto", "de ana"}
    await ana.ask("PATCH", f"/albums/{secret['album_id']}", 412, match='"1"', json={"name": "Otra"})
    await ana.ask("PATCH", f"/albums/{secret['album_id']}", json={"private": True})
    await beto.ask("DELETE", f"/albums/{secret['album_id']}", 404)
    await ana.ask("DELETE", f"/albums/{secret['album_id']}", 204)
    assert await beto.names(f"{path}/photos") == ["de beto"]  # what was private stays it


async def test_albums_stand_in_the_order_that_people_gave_them(desk) -> None:
    ana, beto = await desk(), await desk()
    made = [await album(ana, name, position=place) for name, place in (("B", 2), ("A", 1), ("C", 3))]
    path = f"/projects/{ana.company.tower}/albums"
    first = await ana.ask("GET", path, params={"limit": 1})
    assert [first["items"][0]["name"], *await ana.names(path, cursor=first["next_cursor"])] == ["A", "B", "C"]
    await ana.ask("PATCH", f"/albums/{made[2]['album_id']}", json={"position": 1.5})
    assert await ana.names(path) == ["A", "C", "B"]
    assert (await album(ana, "á", 409))["code"] == "name_taken"
    assert await album(ana, "B", album_id=made[0]["album_id"]) == made[0] | {"position": 2}
    assert (await album(ana, "Otro", 409, album_id=made[0]["album_id"]))["code"] == "id_taken"
    await beto.ask("PATCH", f"/albums/{made[0]['album_id']}", 403, json={"name": "X"})
    report = await ana.file("r.pdf")
    refused = await ana.ask("PATCH", f"/albums/{made[0]['album_id']}", 422, json={"cover_id": report})
    assert refused["field"] == "cover_id"


async def test_before_and_after_stand_beside_each_other_as_long_as_both_are_there(desk) -> None:
    ana, beto = await desk(), await desk()
    before, after = await photo(ana, "antes"), await photo(ana, "después")
    path = f"/projects/{ana.company.tower}/photo-pairs"
    body = {"pair_id": str(new_id()), "before_id": before, "after_id": after, "title": "Muro norte"}
    made = await ana.ask("POST", path, 201, json=body)
    assert await ana.ask("POST", path, 201, json=body) == made
    other = body | {"pair_id": str(new_id())}
    assert (await ana.ask("POST", path, 409, json=other))["code"] == "id_taken"
    assert (await ana.ask("POST", path, 422, json=other | {"after_id": before}))["code"] == "invalid"
    missing = await ana.ask("POST", path, 422, json=other | {"after_id": str(new_id())})
    assert missing["field"] == "after_id"
    assert len((await beto.ask("GET", path))["items"]) == 1
    await ana.change([after], private=True)
    assert (await beto.ask("GET", path))["items"] == []
    await beto.ask("DELETE", f"/photo-pairs/{made['pair_id']}", 404)
    await ana.ask("DELETE", f"/documents/{after}", 204)
    assert (await ana.ask("GET", path))["items"] == []
