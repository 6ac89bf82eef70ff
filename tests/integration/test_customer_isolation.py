"""What a customer's key learns of others: nothing. What is another's answers as what does not exist."""

import asyncio
import base64
import io
import json
import re
import zipfile
from html import unescape
from urllib.parse import quote

import pytest
from aiohttp import web

from flexportd.core.resources.documents import CUSTOMER_TYPES
from flexportd.core.resources.registry import REGISTRY
from flexportd.expose.app import routes
from flexportd.expose.dashboard.pages import add_routes
from flexportd.expose.openapi.document import openapi_document as description
from flexportd.expose.security.authorization import OpaqueCodec
from flexportd.flexport.models.documents import TYPES
from flexportd.settings import Settings
from tests.crawling import crawl
from tests.events import container, event, leg, shipment
from tests.integration.test_middleware import ask, new_key
from tests.stored import put, record
from tests.under_test import start


def party(name):
    return [{"_object": "/company_entity", "id": 70 + len(name), "name": name, "ref": name}]


ACME, OTHER = {"consignees": party("Acme")}, {"consignees": party("Other Ltd")}
PERSONAL = {"date", "x-request-id", "ratelimit"}


@pytest.fixture
async def world(tmp_path, clock):
    """Shipment 1 is Acme's, 2 is another's; each has one of everything."""
    settings = Settings.for_tests(tmp_path, **{"api.require_key": True})
    async with start(settings, clock) as daemon:
        await daemon.receive(event(shipment(1, **ACME)), event(shipment(2, **OTHER)))
        await daemon.receive(event(leg(11, 1)), event(leg(12, 2)), event(container(21, 1)), event(container(22, 2)))
        await daemon.settled()
        owned = [
            record(resource, key.format(number) if isinstance(key, str) else key + number, shipment_id=number, **fields)
            for number in (1, 2)
            for resource, key, fields in (
                ("container_legs", 30, {"container_id": 20 + number, "leg_id": 10 + number}),
                ("commercial_invoices", "ci{}", {}),
                ("customs_entries", 40, {}),
                ("bookings", 50, {"name": "a booking"}),
                ("documents", "packing{}", {"document_type": "packing_list", "file_name": f"list {number}.pdf"}),
                ("documents", "nra{}", {"document_type": "nra", "file_name": f"rates {number}.pdf", "memo": "rates"}),
                ("invoices", "inv{}", {"name": "F-1"}),
            )
        ]
        await daemon.daemon.db.write(put(*owned))
        daemon.acme = await new_key(daemon, name="acme", consignees=["Acme"], rate_limit="off")
        daemon.admin = await new_key(daemon, name="admin", scope="admin", rate_limit="off")
        await current(daemon)
        daemon.daemon.consumers.hub._heartbeat_pause = 0.03  # a sign of life each half second
        yield daemon


async def current(daemon):
    """Wait until the index and the exceptions have what is written."""
    db, following = daemon.daemon.db, daemon.daemon.consumers
    last = await db.read(lambda tx: tx.journal.last())
    async with asyncio.timeout(20):
        while True:
            following.wake()
            state = following.indexer._state
            if (
                state is not None
                and state.is_whole
                and state.journal >= last
                and following.examiner.has_processed(last)
            ):
                return
            await asyncio.sleep(0.01)


async def json_of(daemon, path, key, status=200):
    found, _, body = await ask(daemon, f"/api/v1{path}", key=key)
    assert found == status, (path, found, body)
    return json.loads(body)


def comparable(answer, text):
    """An answer without what is of the request alone, and with the id that it names replaced."""
    status, headers, body = answer
    if body and "json" in headers["Content-Type"]:
        document = json.loads(body)
        if isinstance(document, dict):
            document.pop("request_id", None)
        body = json.dumps(document)
    is_html = body and "html" in headers["Content-Type"]
    if is_html:  # the frame around the content holds numbers that are no ids
        body = body.partition(b"<main ")[2].partition(b">")[2]
    told = sorted((name.lower(), value) for name, value in headers.items() if name.lower() not in PERSONAL)
    plain = body.decode("latin-1") if isinstance(body, bytes) else body
    return (
        status,
        [(name, value) for name, value in told if name != "content-length" and not (is_html and name == "etag")],
        re.sub(rf"(?<![\w.]){re.escape(text)}(?!\w|\.\d)", "{id}", plain),
    )


FOREIGN = {  # of the other customer, and one of the same kind that nobody has
    "shipments": ("2", "9"), "legs": ("12", "19"), "containers": ("22", "29"), "container-legs": ("32", "39"),
    "commercial-invoices": ("ci2", "ci9"), "customs-entries": ("42", "49"), "bookings": ("52", "59"),
    "documents": ("packing2", "packing9"), "invoices": ("inv2", "inv9"),
}  # fmt: skip
QUERIES = (
    "", "?as_of=2100-01-01", "?as_of=never", "?as_of=2001-01-01", "?as_of=", "?as_of=2026-03-05&as_of=2026-03-06",
    "?fields=id", "?fields=nonsense", "?include=why", "?include=raw", "?include=nonsense", "?include=raw&as_of=never",
    "?cursor=abc", "?limit=0", "?sort=nonsense", "?format=csv", "?format=nonsense", "?unknown=1", "?sha=0", "?%FF",
)  # fmt: skip


async def same(daemon, method, path, text, missing, key, **headers):
    found = [
        comparable(await ask(daemon, path.replace("{id}", quote(one, safe="")), method, key=key, **headers), one)
        for one in (text, missing)
    ]
    if path.startswith("/api/v1/search"):  # the answer repeats what was looked for
        found = [(status, [one for one in told if one[0] != "etag"], body) for status, told, body in found]
    assert found[0] == found[1], (method, path)
    return found[0][0]


async def test_on_every_route_what_is_anothers_answers_as_what_does_not_exist(world):
    paths = description(routes(REGISTRY, "/webhooks/flexport"))["paths"]
    asked = 0
    for path, methods in paths.items():
        if "{id}" not in path:
            continue
        parts = path.removeprefix("/api/v1/").split("/")
        kind = parts[1] if parts[0] == "why" else parts[0]
        if path.startswith("/api/v1/why/{route}"):
            kinds = [(path.replace("{route}", name), pair) for name, pair in FOREIGN.items()]
        else:
            kinds = [(path, FOREIGN[kind])] if kind in FOREIGN else []
        for route, (text, missing) in kinds:
            for query in QUERIES:
                await same(world, "GET", route + query, text, missing, world.acme)
            for method in {"HEAD", "OPTIONS", "PUT", *(name.upper() for name in methods)} - {"GET"}:
                await same(world, method, route, text, missing, world.acme)
            for name, value in (("If_None_Match", "*"), ("If_None_Match", '"x"'), ("Range", "bytes=0-1")):
                await same(world, "GET", route, text, missing, world.acme, **{name: value})
            asked += 1
    assert asked > 30


async def test_papers_and_exceptions_that_are_not_theirs_are_not_there_either(world):
    for path in ("", "/history", "/file", "/files", "?include=why", "?as_of=2100-01-01", "?as_of=never"):
        assert await same(world, "GET", f"/api/v1/documents/{{id}}{path}", "nra1", "nra9", world.acme) in (400, 404)
    everything = await json_of(world, "/exceptions?state=all", world.admin)
    for one in everything["data"]:
        assert await same(world, "GET", "/api/v1/exceptions/{id}", one["id"], "987654", world.acme) == 404


async def test_no_filter_tells_of_others(world):
    paths = description(routes(REGISTRY, "/webhooks/flexport"))["paths"]
    pairs = {
        "shipment": ("2", "9"), "leg": ("12", "19"), "container": ("22", "29"), "booking": ("52", "59"),
        "commercial_invoice": ("ci2", "ci9"), "exception": ("late_departure", "silent"),
        "po": ("4472", "4479"), "bill": ("EXB1", "EXB9"),
        "q": ("PO 2", "PO 9"), "type": ("nra", "bank_slip"), "status": ("seller_location", "origin_stop_off"),
    }  # fmt: skip
    await world.receive(
        event(
            shipment(1, **ACME, name="mine", status="elsewhere", updated_at="2026-03-05T00:00:00.000Z"),
            created_at="2026-03-05T00:00:00.000Z",
        ),
        moved(5, 2, **OTHER, name="PO 2", status="zz_theirs"),  # a word that nobody published
    )
    await world.settled()
    await current(world)
    asked = 0
    for path, methods in paths.items():
        if "get" not in methods or "{" in path or not path.startswith("/api/v1/") or path.endswith("/stream"):
            continue
        for parameter in methods["get"].get("parameters", ()):
            pair = pairs.get(parameter.get("name"))
            if pair is None or (path == "/api/v1/shipments" and parameter["name"] == "exception"):
                continue
            query = f"?{parameter['name']}={{id}}"
            await same(world, "GET", path + query, *pair, world.acme)
            asked += 1
    assert asked > 10
    assert await same(world, "GET", "/api/v1/shipments?status={id}", "zz_theirs", "zz_nobody", world.acme) == 400


async def test_a_reference_of_theirs_is_found_also_where_it_is_the_id_of_anothers(world):
    await world.receive(*(event(shipment(number, **ACME, name=f"{text}")) for number, text in ((3, 2), (4, 9))))
    await world.settled()
    await current(world)
    for text, number in (("2", 3), ("9", 4)):
        assert (await json_of(world, f"/shipments/{text}", world.acme))["id"] == number
        assert "<h1" in await page(world, f"/shipments/{text}", world.acme)


async def test_only_papers_without_the_clients_prices_are_theirs(world):
    types = [*TYPES, "rate_sheet", None]
    papers = [
        record("documents", f"paper-{kind}", shipment_id=1, document_type=kind, file_name=f"specimen {kind}.pdf")
        for kind in types
    ]
    await world.daemon.db.write(put(*papers))
    await current(world)
    wanted = {f"paper-{kind}" for kind in CUSTOMER_TYPES} | {"packing1"}
    for path in ("/documents", "/shipments/1/documents"):
        found = await json_of(world, f"{path}?limit=500", world.acme)
        assert {one["id"] for one in found["data"]} == wanted, path
    assert (await json_of(world, "/documents?type=nra,unknown", world.acme))["data"] == []
    for kind in types:
        status = (await ask(world, f"/api/v1/documents/paper-{kind}", key=world.acme))[0]
        assert status == (200 if kind in CUSTOMER_TYPES else 404), kind
    groups = (await json_of(world, "/search?q=specimen&limit=50", world.acme))["data"]
    assert {hit["id"] for group in groups for hit in group["hits"]} == wanted - {"packing1"}
    assert (await json_of(world, "/shipments?q=rates%201", world.acme))["data"] == []
    _, _, body = await ask(world, "/api/v1/shipments/1/documents.zip", key=world.acme)
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        index = json.loads(packed.read("index.json"))
    assert {one["document_id"] for one in index["documents"]} == wanted
    told = await streamed(world, world.acme, "0", "document.*")
    assert {one["resource_id"] for _, one in told} == wanted
    assert len((await json_of(world, "/documents?limit=500", world.admin))["data"]) == len(types) + 4


async def test_flexports_own_json_is_not_for_a_customer(world):
    for path in ("/shipments", "/shipments/1", "/legs", "/legs/11", "/shipments/1/legs", "/bookings/51"):
        assert (await ask(world, f"/api/v1{path}?include=raw", key=world.acme))[0] == 403, path
        assert (await ask(world, f"/api/v1{path}?include=raw", key=world.admin))[0] == 200, path


# --- since when it is theirs ---


async def streamed(daemon, key, last=None, topics="*", until=None):
    """What is told from an id on, up to now; `until` is called once the stream has begun."""
    headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": last} if last else {})
    found, fields, blocks = [], {}, 0
    url = f"{daemon.url}/api/v1/stream?topics={topics}"
    async with daemon.http.get(url, headers=headers) as answer, asyncio.timeout(40):
        assert answer.status == 200
        async for line in answer.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
                continue
            if "data" in fields:
                found.append((fields["id"], json.loads(fields["data"])))
            elif blocks and "id" in fields:
                return found  # a sign of life: all was told
            blocks += 1
            fields = {}
    return found


def moved(second, number=1, **fields):
    at = f"2026-03-06T00:00:{second:02}.000Z"
    return event(shipment(number, updated_at=at, **fields), type="/shipment#updated_route", created_at=at)


@pytest.fixture
async def handed_over(world, clock):
    """Shipment 3 was the other's, became Acme's, and moved on."""
    stamps = {}
    for step, batch in {
        "others": [event(shipment(3, **OTHER, name="secret plan")), event(leg(13, 3, carrier_name="Secret Line"))],
        "others_still": [
            moved(1, 3, **OTHER, name="secret name"),
            event(leg(13, 3, carrier_name="Public Line"), created_at="2026-03-06T00:00:01.000Z"),
        ],
        "handed_over": [moved(2, 3, **ACME, name="handed over")],
        "theirs": [moved(3, 3, **ACME, name="theirs")],
    }.items():
        clock.turn(hours=1)
        await world.receive(*batch)
        await world.settled()
        stamps[step] = clock.stamp()
    await current(world)
    return world, stamps


async def test_history_and_causes_begin_when_the_shipment_became_theirs(handed_over):
    world, stamps = handed_over
    for path in ("/shipments/3/history", "/legs/13/history", "/shipments/3?include=why"):
        _, _, body = await ask(world, f"/api/v1{path}", key=world.acme)
        assert b"ecret" not in body, path
        assert b"Other Ltd" not in body, path
    rows = (await json_of(world, "/shipments/3/history", world.acme))["data"]
    assert [(one["field"], one["old"], one["new"]) for one in rows] == [("name", "handed over", "theirs")]
    assert len((await json_of(world, "/shipments/3/history", world.admin))["data"]) > 4
    why = (await json_of(world, "/shipments/3?include=why", world.acme))["why"]
    assert why["name"]["before"] == "handed over"
    assert why["consignees"] is None
    assert (await json_of(world, f"/shipments/3?as_of={stamps['handed_over']}", world.acme))["name"] == "handed over"
    for path in ("/shipments/3", "/legs/13"):
        found = await json_of(world, f"{path}?as_of={stamps['others_still']}", world.acme, 404)
        assert stamps["others_still"] not in found["detail"]
        assert await json_of(world, f"{path}?as_of={stamps['others_still']}", world.admin)
    assert await json_of(world, f"/shipments/1?as_of={stamps['others']}", world.acme)


async def test_the_stream_tells_nothing_of_the_time_before(handed_over):
    world, _ = handed_over
    told = [
        (one["topic"], one["changes"]) for _, one in await streamed(world, world.acme, "0") if one["shipment_id"] == 3
    ]
    assert "ecret" not in json.dumps(told)
    assert told[0] == ("shipment.updated", [])
    assert ("shipment.updated", [{"field": "name", "old": "handed over", "new": "theirs"}]) in told
    assert not any(topic.startswith("leg.") for topic, _ in told)


async def test_what_is_no_longer_theirs_is_gone_at_once_and_comes_back_without_its_past(handed_over, clock):
    world, _ = handed_over
    clock.turn(hours=1)
    await world.receive(moved(4, 3, **OTHER, name="secret again"))
    await world.settled()
    assert await same(world, "GET", "/api/v1/shipments/{id}", "3", "9", world.acme) == 404
    assert not [one for _, one in await streamed(world, world.acme, "0") if one["shipment_id"] == 3]
    clock.turn(hours=1)
    await world.receive(moved(5, 3, **ACME, name="back"))
    await world.settled()
    assert (await json_of(world, "/shipments/3/history", world.acme))["data"] == []
    told = [
        (one["topic"], one["changes"]) for _, one in await streamed(world, world.acme, "0") if one["shipment_id"] == 3
    ]
    assert told == [("shipment.updated", [])]


async def test_a_leg_that_comes_from_anothers_shipment_comes_without_its_past(world, clock):
    clock.turn(hours=1)
    await world.receive(
        event(leg(12, 2, carrier_name="Secret Line"), created_at="2026-03-05T00:00:00.000Z"),
    )
    await world.settled()
    clock.turn(hours=1)
    await world.receive(event(leg(12, 1, carrier_name="New Line"), created_at="2026-03-06T00:00:00.000Z"))
    await world.settled()
    assert (await json_of(world, "/legs/12", world.acme))["carrier"] == "New Line"
    assert (await json_of(world, "/legs/12/history", world.acme))["data"] == []
    told = [one for _, one in await streamed(world, world.acme, "0") if one["resource_id"] == "12"]
    assert "ecret" not in json.dumps(told)
    assert [one["changes"] for one in told] == [[]]


async def test_a_closed_exception_of_anothers_time_is_not_theirs(world, clock):
    await world.receive(event(shipment(3, **OTHER)))
    await world.settled()
    await current(world)
    late = (await json_of(world, "/exceptions?shipment=3", world.admin))["data"]
    assert late
    clock.turn(hours=1)
    await world.receive(moved(1, 3, **OTHER, actual_departure_date="2026-03-05T12:00:00.000+08:00"))
    await world.settled()
    await current(world)
    clock.turn(hours=1)
    await world.receive(moved(2, 3, **ACME, actual_departure_date="2026-03-05T12:00:00.000+08:00"))
    await world.settled()
    await current(world)
    closed = (await json_of(world, "/exceptions?shipment=3&state=closed&kind=late_departure", world.admin))["data"]
    assert closed
    query = "?shipment=3&state=closed&kind=late_departure"
    assert (await json_of(world, f"/exceptions{query}", world.acme))["data"] == []
    number = await world.daemon.db.read(lambda tx: tx.raw.execute("SELECT max(id) FROM exceptions").fetchone()[0])
    codec = OpaqueCodec(world.daemon.security.authenticator.signer, world.acme.split("_")[1])
    assert codec.encode_number(int(closed[0]["id"])) != number
    status, _, _ = await ask(world, f"/api/v1/exceptions/{codec.encode_number(int(closed[0]['id']))}", key=world.acme)
    assert status == 404


# --- others' activity ---


async def test_others_activity_changes_no_answer(world, clock):
    await world.receive(*(event(shipment(number, **ACME)) for number in range(100, 104)))
    await world.receive(*(event(leg(number, 100)) for number in range(200, 204)))
    await world.settled()
    await current(world)
    lists = [
        "/shipments", "/shipments?limit=1", "/shipments?limit=1&sort=eta", "/legs?limit=1&sort=updated_at",
        "/shipments/1/legs", "/shipments/100/legs", "/documents?limit=1", "/exceptions?state=all&limit=1",
        "/search?q=PO", "/shipments/1/history?limit=1", "/shipments/1", "/shipments?q=po&limit=1",
    ]  # fmt: skip
    paths = [f"/api/v1{path}" for path in lists] + ["/calendar.ics"]

    async def answers():
        found = {}
        for path in paths:
            status, headers, body = await ask(world, path, key=world.acme)
            assert status == 200, (path, body)
            found[path] = headers["ETag"], headers.get("Link"), body if path != "/calendar.ics" else None
        return found

    before, first = await answers(), await streamed(world, world.acme, "0")
    clock.turn(seconds=5)
    for round_ in range(3):
        await world.receive(
            *(moved(10 + round_, number, **OTHER, name=f"busy {round_}") for number in range(2, 9)),
            *(event(leg(300 + round_ * 10 + number, 2)) for number in range(9)),
        )
        await world.settled()
    await current(world)
    assert await answers() == before
    assert await streamed(world, world.acme, "0") == first


async def test_a_list_is_walked_by_a_customer_as_it_lay(world):
    await world.receive(*(event(shipment(number, **ACME)) for number in range(100, 110)))
    await world.settled()
    found, cursor, step = [], "", 0
    while True:
        page = await json_of(world, f"/shipments?limit=2{cursor}", world.acme)
        found += [one["id"] for one in page["data"]]
        if page["next"] is None:
            break
        cursor, step = f"&cursor={page['next']}", step + 1
        await world.receive(moved(step, 100 + step, **ACME, name="moved"), moved(step, 2, **OTHER, name=f"{step}"))
        await world.settled()
    assert sorted(found) == [1, *range(100, 110)]
    assert len(found) == len(set(found))


async def reset_of(world, key, last):
    """Why the stream begins with a reset for a client that comes back with this id."""
    headers = {"Authorization": f"Bearer {key}", "Last-Event-ID": last}
    async with world.http.get(f"{world.url}/api/v1/stream", headers=headers) as answer, asyncio.timeout(20):
        assert answer.status == 200
        begun = await answer.content.readuntil(b"}\n\n")
    fields = dict(line.partition(": ")[::2] for line in begun.decode().splitlines() if line)
    data = json.loads(fields["data"])
    assert (fields["event"], len(data["oldest"])) == ("reset", len(fields["id"]))
    return data["detail"]


async def test_ids_of_the_stream_say_nothing_and_are_taken_back_from_their_key_alone(world):
    told = await streamed(world, world.acme, "0")
    ids = [number for number, _ in told]
    assert len(ids) == len(set(ids)) > 3
    assert [one["id"] for _, one in told] == ids
    assert {len(number) for number in ids} == {len(ids[0])}
    assert await streamed(world, world.acme, ids[1]) == told[2:]
    sister = await new_key(world, name="sister", consignees=["Acme"], rate_limit="off")
    plain = await streamed(world, world.admin, "0")
    altered = ("A" if ids[0][0] != "A" else "B") + ids[0][1:]
    resets = set()
    for last, key in [
        (ids[0], sister), (altered, world.acme), (plain[0][0], world.acme), ("1", world.acme), ("999999", world.acme),
    ]:  # fmt: skip
        resets.add(await reset_of(world, key, last))
    assert resets == {
        "Last-Event-ID is of another database, or of this one before it was restored: read the lists again."
    }
    assert (await ask(world, "/api/v1/stream", key=world.acme, Last_Event_ID="x"))[0] == 400
    shown = json.dumps([one for _, one in told])
    assert '"run_id": "' not in shown


async def test_signs_of_life_are_the_same_whether_others_are_active(world):
    """An id alone each time, another each time: it does not show whether the place has moved."""
    headers, ids, blocks = {"Authorization": f"Bearer {world.acme}"}, [], []
    async with world.http.get(f"{world.url}/api/v1/stream", headers=headers) as answer, asyncio.timeout(40):
        async for line in answer.content:
            blocks.append(line.decode().partition(":")[0].strip())
            if line.startswith(b"id: "):
                ids.append(line)
            if len(ids) == 2:
                await world.receive(moved(20, 2, **OTHER, name="busy"))
            if len(ids) == 4:
                break
    assert len(set(ids)) == 4
    assert blocks == ["retry", "id", "", "id", "", "id", "", "id"]


# --- pages ---

PAGE_QUERIES = ("", "?limit=1", "?cursor=abc", "?unknown=1", "?q=PO", "?%FF", "?as_of=2100-01-01")


def page_paths(daemon):
    """The path of every page of the dashboard, as the router has it."""
    router = web.UrlDispatcher()
    add_routes(router, REGISTRY)
    return sorted({route.resource.canonical for route in router.routes() if route.method == "GET"})


async def page(daemon, path, key, status=200):
    found, headers, body = await ask(daemon, path, key=key, Accept="text/html")
    assert found == status, (path, found, body)
    assert headers["Content-Type"].startswith("text/html")
    return body.decode()


async def test_on_every_page_what_is_anothers_is_as_what_does_not_exist(world):
    asked = 0
    for path in page_paths(world):
        kind = path.split("/")[1]
        for text, missing in [FOREIGN[kind]] if "{id}" in path and kind in FOREIGN else []:
            for query in PAGE_QUERIES:
                found = await same(world, "GET", path + query, text, missing, world.acme, Accept="text/html")
                assert found == 404, (path, query)
            for method in ("HEAD", "POST", "OPTIONS"):
                await same(world, method, path, text, missing, world.acme, Accept="text/html")
            await same(world, "GET", path, text, missing, world.acme, Accept="text/html", If_None_Match="*")
            asked += 1
    assert asked >= 18
    everything = await json_of(world, "/exceptions?state=all", world.admin)
    for one in everything["data"]:  # numbers are those of a key: these are not its own
        assert await same(world, "GET", "/exceptions/{id}", one["id"], "987654", world.acme, Accept="text/html") == 404


async def test_no_filter_of_a_page_tells_of_others(world):
    of_others = {"shipments": "PO 2", "documents": "list 2"}
    for path, text in of_others.items():
        await same(world, "GET", f"/{path}?q={{id}}", text, text.replace("2", "9"), world.acme, Accept="text/html")
    assert await same(world, "GET", "/documents?type={id}", "nra", "bank_slip", world.acme, Accept="text/html") == 200
    for path in ("/legs", "/containers", "/bookings", "/documents", "/customs-entries", "/commercial-invoices"):
        assert await same(world, "GET", f"{path}?shipment={{id}}", "2", "9", world.acme, Accept="text/html") == 200
    for path in (
        "/invoices",
        "/products",
        "/purchase-orders",
        "/companies",
        "/events/evt",
        "/sync/pending-removals/legs",
    ):
        await page(world, path, world.acme, 404)


async def test_pages_that_are_not_for_a_customer_do_not_exist_for_one(world):
    for path in ("/queue", "/sync", "/gaps", "/system"):
        await page(world, path, world.admin)
        unknown = await page(world, f"{path}x", world.acme, 404)
        assert await page(world, path, world.acme, 404) == unknown.replace(f"{path}x", path)
    for path in ("/queue", "/nothing", "/shipments/2", "/static/nothing"):
        found = await page(world, path, world.acme, 404)
        assert 'href="/shipments"' in found
        assert not {"/queue", "/sync", "/gaps", "/system"}.intersection(re.findall(r'href="([^"]*)"', found))
        stranger = (await ask(world, path, Accept="text/html"))[2].decode()
        assert "<nav" not in stranger


async def test_a_customer_begins_with_its_shipments_and_every_link_opens(world):
    password = base64.b64encode(f"anybody:{world.acme}".encode()).decode()
    headers = {"Accept": "text/html", "Authorization": f"Basic {password}"}
    async with world.http.get(f"{world.url}/", allow_redirects=False, headers=headers) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/shipments")

    async def fetch(address):
        status, headers, body = await ask(world, address, key=world.acme, Accept="text/html")
        return status, headers["Content-Type"].partition(";")[0], body.decode("latin-1")

    found = await crawl(fetch)
    for here, text in found.items():
        for hidden in ("FLEX-2", "Other Ltd", "PO 2", "<form method", "rates 1", "nra", "F-1", "inv1"):
            assert hidden.lower() not in text.lower(), (here, hidden)
    assert {"/", "/shipments", "/shipments/1", "/exceptions", "/legs/11", "/containers/21"} <= found.keys()
    assert {"/documents/packing1", "/bookings/51", "/customs-entries/41", "/legs/11/history"} <= found.keys()


async def test_exceptions_about_the_clients_costs_are_on_no_page_of_a_customer(world):
    due = {"due_date": "2026-01-01", "status": "outstanding", "total_amount": "5", "outstanding_amount": "5"}
    await world.daemon.db.write(put(record("invoices", "late1", shipment_id=1, name="F-9", **due)))
    await current(world)
    everything = (await json_of(world, "/exceptions", world.admin))["data"]
    (number,) = [one["id"] for one in everything if one["kind"] == "invoice_overdue"]
    for path in ("/shipments/1", "/exceptions"):
        assert "Invoice overdue" in await page(world, path, world.admin)
        assert "Invoice overdue" not in await page(world, path, world.acme)
    codec = OpaqueCodec(world.daemon.security.authenticator.signer, world.acme.split("_")[1])
    await page(world, f"/exceptions/{number}", world.admin)
    await page(world, f"/exceptions/{codec.encode_number(int(number))}", world.acme, 404)


async def test_what_others_do_changes_no_page(world, clock):
    async def answers():
        paths = ("/shipments", "/shipments?q=po", "/shipments?status=seller_location", "/shipments/1", "/exceptions")
        found = {path: await ask(world, path, key=world.acme) for path in paths}
        return {path: (status, headers["ETag"], body) for path, (status, headers, body) in found.items()}

    before = await answers()
    await world.receive(*(moved(10, number, **OTHER, name="PO busy") for number in range(2, 9)))
    await world.settled()
    await current(world)
    assert await answers() == before
    assert "PO busy" in await page(world, "/shipments", world.admin)


async def test_a_page_tells_nothing_of_the_time_before_the_shipment_was_theirs(handed_over):
    world, _ = handed_over
    found = await page(world, "/shipments/3", world.acme)
    assert "theirs" in found
    assert "ecret" not in found
    assert "Other Ltd" not in found
    assert "ecret" in await page(world, "/shipments/3", world.admin)


async def test_a_customer_turns_the_pages_of_its_list_with_cursors_of_its_key(world):
    await world.receive(*(event(shipment(number, **ACME)) for number in range(100, 104)))
    await world.settled()
    path, found = "/shipments?limit=2", []
    while path:
        html = await page(world, path, world.acme)
        found += re.findall(r'<a href="/shipments/(\d+)">', html)
        path = next((unescape(link) for link in re.findall(r'rel="next" href="([^"]+)"', html)), None)
        if path:
            await page(world, path, world.admin, 400)
    assert sorted(found, key=int) == ["1", "100", "101", "102", "103"]
