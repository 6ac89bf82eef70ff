"""Lists followed page by page through the front door, while what they list moves."""

import asyncio
import base64
import json
import random
import re

import msgspec
import pytest

from flexportd.core.resources.registry import Registry
from flexportd.expose.app import routes
from tests.events import event, shipment
from tests.wire_goods import product

ORDERS = (
    "updated_at",
    "id",
    "last_seen",
    "created_at",
    "received_at",
    "detected_at",
    "started_at",
    "enqueued_at",
    "outage",
)
STATUS = ("departure_port", "arrival_port")


def _at(number):
    return f"2026-03-04T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"


def _one(number, count, rnd):
    arrival = None if rnd.random() < 0.3 else f"2026-05-{rnd.randint(1, 9):02}T0{rnd.randint(0, 9)}:00:00.000+08:00"
    return event(
        shipment(number, updated_at=_at(count), estimated_arrival_date=arrival, status=rnd.choice(STATUS)),
        created_at=_at(count),
    )


async def _filled(daemon, count, rnd):
    await daemon.receive(*(_one(number, number, rnd) for number in range(1, count + 1)))
    await daemon.settled()


async def _followed(daemon, path, before=None, limit=9):
    """Every row of every page, in order; `before` is done before each further page."""
    found, url = [], f"{path}{'&' if '?' in path else '?'}limit={limit}"
    while True:
        page = await daemon.get(url)
        found += page["data"]
        if page["next"] is None:
            return found
        if before is not None:
            await before()
        url = f"{path}{'&' if '?' in path else '?'}limit={limit}&cursor={page['next']}"


SORTS = ("-updated_at", "updated_at", "-eta", "eta", "-id", "id")


@pytest.mark.parametrize("sort", SORTS)
async def test_a_client_sees_every_row_once_while_updates_arrive(daemon, sort):
    rnd = random.Random(sort)
    await _filled(daemon, 60, rnd)
    count, done = 60, asyncio.Event()

    async def write():
        nonlocal count
        while not done.is_set():
            count += 1
            await daemon.receive(_one(rnd.randint(1, 70), count, rnd))

    writing = asyncio.get_running_loop().create_task(write())
    try:
        # At least one more event comes between two pages.
        seen = count

        async def before():
            nonlocal seen
            async with asyncio.timeout(20):
                while count <= seen:
                    await daemon.get("/queue")
            seen = count

        found = [row["id"] for row in await _followed(daemon, f"/shipments?sort={sort}", before)]
    finally:
        done.set()
        await writing
    assert len(found) == len(set(found))
    assert set(range(1, 61)) <= set(found)


async def test_rows_that_match_throughout_come_once_and_those_that_do_no_longer_do_not(daemon):
    rnd = random.Random(3)
    await _filled(daemon, 60, rnd)
    matching = {row["id"] for row in await _followed(daemon, "/shipments?status=arrival_port")}
    count = 100

    async def before():
        nonlocal count, matching
        for number in rnd.sample(range(1, 61), 8):
            count += 1
            await daemon.receive(_one(number, count, rnd))
        await daemon.settled()
        matching &= {row["id"] for row in await _followed(daemon, "/shipments?status=arrival_port")}

    found = await _followed(daemon, "/shipments?status=arrival_port&sort=eta", before)
    assert {row["status"] for row in found} == {"arrival_port"}
    ids = [row["id"] for row in found]
    assert len(ids) == len(set(ids))
    assert matching <= set(ids)


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_an_export_in_an_order_that_moves_has_every_row_once(daemon, form, monkeypatch):
    monkeypatch.setattr("flexportd.expose.api.list_endpoint.ROWS_AT_ONCE", 7)
    rnd = random.Random(4)
    await _filled(daemon, 60, rnd)
    count, done = 60, asyncio.Event()

    async def write():
        nonlocal count
        while not done.is_set():
            count += 1
            await daemon.receive(_one(rnd.randint(1, 60), count, rnd))

    writing = asyncio.get_running_loop().create_task(write())
    try:
        url = f"{daemon.url}/api/v1/shipments?format={form}&sort=-updated_at&fields=id"
        async with daemon.http.get(url) as answer:
            lines = (await answer.text()).split()
    finally:
        done.set()
        await writing
    found = [json.loads(line)["id"] if form == "ndjson" else int(line.strip('"')) for line in lines[form == "csv" :]]
    assert sorted(found) == list(range(1, 61))


async def test_what_is_new_since_the_first_page_does_not_come_twice(daemon):
    rnd = random.Random(5)
    await _filled(daemon, 20, rnd)
    first = await daemon.get("/shipments?sort=updated_at&limit=9")
    await daemon.receive(*(_one(number, 100 + number, rnd) for number in range(21, 30)))
    await daemon.settled()
    rest = await daemon.get(f"/shipments?sort=updated_at&cursor={first['next']}")
    assert [row["id"] for row in first["data"] + rest["data"]] == list(range(1, 21))


async def _cursor(daemon, path):
    return (await daemon.get(path))["next"]


UNFIT = [
    ("/shipments?limit=2&status=arrival_port&cursor=", "other filters"),
    ("/shipments?limit=2&removed=false&cursor=", "other filters"),
    ("/legs?limit=2&cursor=", "another list"),
    ("/events?limit=2&cursor=", "another sort order"),
    ("/shipments?limit=2&sort=updated_at&cursor=", "another sort order"),
    ("/shipments?limit=2&as_of=2099-01-01&cursor=", "other filters"),
]


async def test_a_cursor_is_for_its_list_and_filters_alone(daemon):
    await _filled(daemon, 6, random.Random(1))
    own = await _cursor(daemon, "/shipments?limit=2")
    for path, why in UNFIT:
        document = await daemon.get(path + own, status=400)
        assert (document["parameter"], why in document["detail"]) == ("cursor", True), (path, document)


async def test_a_cursor_of_what_belongs_to_one_object_is_not_for_another(daemon):
    rnd = random.Random(1)
    await _filled(daemon, 3, rnd)
    await daemon.receive(*(_one(number, 50 + number + more, rnd) for number in (1, 2) for more in (0, 10, 20)))
    await daemon.settled()
    cursor = await _cursor(daemon, "/shipments/1/history?limit=1")
    assert await daemon.get(f"/shipments/1/history?limit=1&cursor={cursor}")
    document = await daemon.get(f"/shipments/2/history?limit=1&cursor={cursor}", status=400)
    assert "other filters" in document["detail"]


LISTS = [
    route.path
    for route in routes(Registry(), "/webhooks")
    if any(one.name == "cursor" for one in route.query) and not route.path_names
]


PAGED = [*LISTS, "/api/v1/shipments/1/history", "/api/v1/why/shipments/1", "/shipments", "/queue", "/gaps"]


async def test_no_list_takes_the_cursor_of_another_or_one_that_nobody_gave_out(daemon):
    await _filled(daemon, 3, random.Random(1))
    own = (await daemon.get("/shipments?limit=1"))["next"]
    other = (await daemon.get("/events?limit=1"))["next"]
    parts = msgspec.json.decode(base64.urlsafe_b64decode(own + "=="))
    foreign = {_forged(own, 5, ""), _forged(own, 5, "0" * 24)}
    foreign |= {_forged(cursor, 0, word) for cursor in (own, other) for word in ORDERS}
    foreign |= {"x", "1", "!", base64.urlsafe_b64encode(msgspec.json.encode(parts[:3])).decode()}
    headers = {"Accept": "application/json"}
    for path in PAGED:
        for cursor in foreign - {{"/api/v1/shipments": own, "/api/v1/events": other}.get(path)}:
            async with daemon.http.get(f"{daemon.url}{path}", params={"cursor": cursor}, headers=headers) as answer:
                text = await answer.text()
                assert (answer.status, "cursor " in text) == (400, True), (path, cursor, text)


async def test_the_pages_for_people_take_their_own_cursors_with_their_own_filters(daemon):
    await _filled(daemon, 6, random.Random(1))
    async with daemon.http.get(f"{daemon.url}/shipments?limit=2&archived=all") as answer:
        path = re.search(r'rel="next" href="([^"]+)"', await answer.text())[1].replace("&amp;", "&")
    for url, status in ((path, 200), (path.replace("archived=all", "archived=true"), 400)):
        async with daemon.http.get(daemon.url + url) as answer:
            assert answer.status == status
            assert status == 200 or "other filters" in await answer.text()


async def test_a_person_who_leafs_through_the_shipments_sees_each_once_while_they_move(daemon):
    rnd, count = random.Random(2), 60
    await _filled(daemon, 40, rnd)
    path, seen = "/shipments?limit=7", []
    while path:
        async with daemon.http.get(daemon.url + path) as answer:
            text = await answer.text()
            assert answer.status == 200, text
        seen += [int(number) for number in re.findall(r'href="/shipments/(\d+)"', text)]
        following = re.search(r'rel="next" href="([^"]+)"', text)
        path = following and following[1].replace("&amp;", "&")
        for number in rnd.sample(range(1, 41), 8):
            count += 1
            await daemon.receive(_one(number, count, rnd))
        await daemon.settled()
    assert sorted(seen) == list(range(1, 41))


@pytest.mark.parametrize("form", ["json", "ndjson"])
@pytest.mark.parametrize("sort", ["-last_seen", "last_seen", "-count", "count", "-first_seen"])
async def test_what_drifts_comes_once_while_it_drifts_on(daemon, clock, sort, form, monkeypatch):
    monkeypatch.setattr("flexportd.expose.api.list_endpoint.ROWS_AT_ONCE", 3)
    rnd, count = random.Random(sort), 0

    async def drift(*words):
        nonlocal count
        for word in words:
            count += 1
            clock.turn(seconds=1)
            await daemon.receive(event(shipment(1, updated_at=_at(count), status=word), created_at=_at(count)))
        await daemon.settled()

    words = [f"w{number:02}" for number in range(20)]
    await drift(*words)

    async def before():
        await drift(*rnd.sample(words, 5), f"new{count}")

    path = f"/drift?sort={sort}&kind=value"
    if form == "json":
        names = [row["name"] for row in await _followed(daemon, path, before, limit=3)]
    else:
        async with daemon.http.get(f"{daemon.url}/api/v1{path}&format=ndjson") as answer:
            names = []
            async for line in answer.content:
                names.append(json.loads(line)["name"])
                if len(names) % 3 == 0:
                    await before()
    assert len(names) == len(set(names))
    assert {f'status = "{word}"' for word in words} <= set(names)


def _forged(cursor, place, value):
    parts = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=="))
    parts[place] = value
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


FORGERIES = [
    (2, 5), (2, -(2**70)), (2, 1.5), (2, []), (3, "x"), (3, 2**63), (3, None), (4, 10**9), (4, -1), (4, "1"), (4, None), (6, None), (6, ""), (6, "0" * 12),
    (4, 2**65), (5, None), (5, ""), (5, "0" * 24), (0, "nothing"), (1, 1),
]  # fmt: skip


async def test_a_forged_cursor_is_an_error_that_names_it(daemon):
    await _filled(daemon, 6, random.Random(1))
    own = await _cursor(daemon, "/shipments?limit=2")
    for place, value in FORGERIES:
        document = await daemon.get(f"/shipments?limit=2&cursor={_forged(own, place, value)}", status=400)
        assert document["parameter"] == "cursor", (place, value)


async def test_a_forged_place_does_no_harm(daemon):
    await _filled(daemon, 6, random.Random(1))
    cursor = await _cursor(daemon, "/shipments?limit=2")
    for place, value in ((2, ""), (2, None), (2, "\u0000"), (2, "'; DROP TABLE shipments"), (2, True), (3, -5)):
        assert "data" in await daemon.get(f"/shipments?limit=2&cursor={_forged(cursor, place, value)}")


async def test_a_cursor_outlives_a_restart_and_says_when_it_is_too_old(daemon, monkeypatch):
    rnd = random.Random(1)
    await _filled(daemon, 12, rnd)
    cursor = await _cursor(daemon, "/shipments?limit=5")
    await daemon.receive(*(_one(number, 100 + number, rnd) for number in range(1, 13)))
    await daemon.settled()
    url = f"/shipments?limit=50&cursor={cursor}"
    rest = await daemon.get(url)
    assert [row["id"] for row in rest["data"]] == list(range(7, 0, -1))
    monkeypatch.setattr("flexportd.expose.api.list_endpoint._snapshot_pages", {})  # as after a restart
    assert await daemon.get(url) == rest
    for number in (1, 2):
        await daemon.receive(_one(number, 200, rnd))
        await daemon.settled()
    await daemon.daemon.db.write(lambda tx: tx.retention.delete_journal("2099", 1000))
    await daemon.receive(_one(3, 200, rnd))  # what was kept of this answer is no longer good
    await daemon.settled()
    document = await daemon.get(url, status=410)
    assert (document["type"].rpartition(":")[2], document["parameter"]) == ("cursor-expired", "cursor")


async def test_a_quiet_list_has_the_same_etag_again(daemon):
    await _filled(daemon, 6, random.Random(1))
    etags = []
    for query in ("limit=2&sort=updated_at", "sort=updated_at&limit=2"):  # neither is kept for the other
        async with daemon.http.get(f"{daemon.url}/api/v1/shipments?{query}") as answer:
            etags.append(answer.headers["ETag"])
    assert etags[0] == etags[1]


async def test_a_very_long_value_does_not_make_a_cursor_that_is_refused(daemon):
    await daemon.receive(*(event(product(number, name="n" * 5000 + str(number))) for number in range(4)))
    await daemon.settled()
    before = iter(range(4))

    async def moves():
        await daemon.receive(event(product(next(before), name="moved"), created_at=_at(9)))
        await daemon.settled()

    found = await _followed(daemon, "/products?sort=name&fields=id", moves, limit=1)
    assert sorted(row["id"] for row in found) == [0, 1, 2, 3]
