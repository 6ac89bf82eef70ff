"""One object, or one event, that is no JSON fails alone: what is around it is read, and it is listed."""

import itertools
import json
from datetime import timedelta

import pytest

from flexportd.errors import MalformedError
from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.errors import MalformedResponseError
from flexportd.flexport.oauth.auth import ApiKeyAuth
from flexportd.ingest.event_poller import EventPoller
from tests.events import event, leg, shipment
from tests.flexport_double import HurriedClock
from tests.odd_flexport import OddFlexport, encoded, odd_mirror, page_of
from tests.wire_goods import invoice

# What stands in the place of a value, or of a member, and what no reader of JSON, or not every one, takes.
BAD = {
    "half a surrogate": rb'"Lamps \ud83d"',
    "the other half": rb'"\ude00 lamps"',
    "halves the wrong way round": rb'"\ude00\ud83d"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "no UTF-8": b'"Lamps \xff"',
    "overlong": b'"\xc0\xaf"',
    "Latin-1": '"Güter"'.encode("latin-1"),
    "a line break": b'"a\nb"',
    "a control character": b'"a\x01b"',
    "a NUL": b'"a\x00b"',
    "an unknown escape": rb'"\x41"',
    "a cut escape": rb'"\u12"',
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "beyond a double": b"1e999",
    "ten thousand digits": b"1" * 10_000,
    "a number with a nought before it": b"007",
    "one level too deep": b"[" * 201 + b"]" * 201,
    "thousands of levels": b"[" * 100_000 + b"]" * 100_000,
    "as many objects": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "a comma too many": b"[1,]",
    "a bare word": b"undefined",
    "nothing": b"",
    "half a surrogate in a name": rb'{"a \ud83d": 1}',
}


def with_bad(found, bad, name="memo"):
    """The object with a member of that name whose value are these bytes."""
    return encoded(found)[:-1] + b',"' + name.encode() + b'":' + bad + b"}"


GOOD = [shipment(number) for number in range(1, 9)]


@pytest.fixture
async def pair(tmp_path):
    async with odd_mirror(tmp_path) as found:
        yield found


async def unreadable(mirror):
    return await mirror.db.read(
        lambda tx: tx.raw.execute("SELECT resource, resource_id, count FROM unreadable ORDER BY resource_id").fetchall()
    )


@pytest.mark.parametrize(
    ("bad", "name"), list(zip(BAD, itertools.cycle(["memo", "name", "status", "metadata", "items", "updated_at"])))
)
async def test_a_row_that_is_no_json_fails_alone_and_is_listed_by_its_id(pair, bad, name):
    flexport, mirror = pair
    flexport.lists([*GOOD[:3], with_bad(shipment(77), BAD[bad], name), *GOOD[3:]], 2)
    for times in (1, 2):
        receipt = (await mirror.sync())["shipments"]
        assert (receipt.state, receipt.total, receipt.objects, receipt.failed) == ("complete", 9, 9, 1), receipt.reason
        assert sorted(map(int, await mirror.rows("shipments"))) == list(range(1, 9))
        assert await unreadable(mirror) == [("shipments", "77", times)]
        assert flexport.numbers == [1, 2, 3, 4, 5] * times  # nothing is asked for again
    assert (receipt.unchanged, receipt.changed, receipt.new) == (8, 0, 0)
    flexport.lists([*GOOD, shipment(77)], 2)
    assert (await mirror.sync())["shipments"].new == 1
    assert await unreadable(mirror) == []


@pytest.mark.parametrize("row", [b"nonsense", b"[1]", b"null", b'"x"', b'{"id":\xff}', b'{"id":[7]}', b"{'id':7}"])
async def test_a_row_whose_id_cannot_be_seen_is_listed_by_its_bytes_until_it_is_gone(pair, row):
    flexport, mirror = pair
    flexport.lists([*GOOD[:3], row, *GOOD[3:]], 2)
    receipt = (await mirror.sync())["shipments"]
    assert (receipt.state, receipt.objects, receipt.failed, receipt.new) == ("complete", 9, 1, 8)
    ((_, name, _),) = await unreadable(mirror)
    assert name.startswith("body-")
    mirror.clock.turn(minutes=1)
    flexport.lists(GOOD, 2)
    await mirror.sync()
    assert await unreadable(mirror) == []


async def test_what_is_known_of_an_object_stays_while_its_row_cannot_be_read(pair):
    flexport, mirror = pair
    flexport.lists(GOOD)
    await mirror.sync()
    before = await mirror.export()
    flexport.lists([*GOOD[1:], with_bad(GOOD[0], BAD["half a surrogate"])])
    for _ in range(3):
        receipt = (await mirror.sync())["shipments"]
        assert (receipt.missing, receipt.removed) == (0, 0)
    assert await mirror.export() == before
    flexport.lists(GOOD)
    assert (await mirror.sync())["shipments"].unchanged == 8
    assert await unreadable(mirror) == []


async def test_while_a_row_hides_its_id_nothing_is_removed_that_cannot_be_asked_for(tmp_path):
    async with odd_mirror(tmp_path, "ports", path="/ports") as (flexport, mirror):
        rows = [
            {"_object": "/place", "name": f"Port {number}", "address": {"unlocode": "CNYTN"}} for number in range(8)
        ]
        flexport.lists(rows)
        await mirror.sync()
        flexport.lists([*rows[1:], b"{nonsense}"])
        for _ in range(3):
            receipt = (await mirror.sync())["ports"]
            assert (receipt.state, receipt.missing, receipt.removed) == ("complete", 1, 0)
            assert "1 row without a readable ID" in receipt.reason
        flexport.lists(rows[1:])
        await mirror.sync()
        assert await mirror.one("SELECT count(*) FROM ports WHERE removed_at IS NULL") == 7


async def test_a_row_that_comes_twice_and_cannot_be_read_closes_the_books(pair):
    flexport, mirror = pair
    bad = with_bad(shipment(77), BAD["NaN"])
    flexport.lists([*GOOD, bad, bad, *GOOD[:1], bad], 4, 9)
    receipt = (await mirror.sync())["shipments"]
    assert (receipt.state, receipt.failed, receipt.skips) == ("complete", 1, '{"repeated":3}'), receipt.reason


@pytest.mark.parametrize(
    "member", [b'"junk":"\\ud83d",', b'"junk":"\xff",', b'"\\ud83d":1,', b'"junk":1e999,', b'"version":NaN,']
)
async def test_an_envelope_with_a_bad_member_is_read(pair, member):
    flexport, mirror = pair
    flexport.usual = lambda request: _told(page_of(GOOD if request.path == "/shipments" else [], total=8, extra=member))
    assert (await mirror.sync())["shipments"].new == 8


@pytest.mark.parametrize("link", [b'"https://x/?page=2&q=\\ud83d"', b'"\xff"', b"NaN"])
async def test_a_link_that_is_no_json_still_says_that_a_page_follows(pair, link):
    flexport, mirror = pair

    def answer(request):
        first = request.query["page"] == "1"
        return _told(page_of(GOOD[:4] if first else GOOD[4:], link if first else b"null", 8))

    flexport.usual = answer
    assert (await mirror.sync())["shipments"].new == 8


async def test_a_byte_order_mark_is_no_fault(pair):
    flexport, mirror = pair
    flexport.usual = lambda request: _told(b"\xef\xbb\xbf" + page_of(GOOD, total=8))
    assert (await mirror.sync())["shipments"].new == 8


def _told(body):
    from aiohttp import web

    return web.Response(body=body, content_type="application/json")


async def test_a_page_that_is_cut_is_asked_for_a_few_times_and_not_for_a_minute(pair):
    flexport, mirror = pair
    flexport.usual = lambda request: _told(page_of(GOOD, total=8)[:-10])
    receipt = (await mirror.sync())["shipments"]
    assert receipt.state == "failed"
    assert "not valid JSON" in receipt.reason
    assert len(flexport.asked) == 4
    assert sum(mirror.clock.slept) < 5


async def test_an_object_that_is_no_json_is_listed_and_its_state_stays(pair):
    flexport, mirror = pair
    flexport.lists(GOOD)
    await mirror.sync()
    body = b'{"_object":"/api/response","version":2,"error":null,"data":' + with_bad(GOOD[0], BAD["no UTF-8"]) + b"}"
    flexport.shown["/shipments/1"] = body
    asked = len(flexport.asked)
    with pytest.raises(MalformedError, match="shipment 1 cannot be read"):
        await mirror.refresher.refresh(mirror.registry["shipments"], 1)
    assert len(flexport.asked) == asked + 1
    assert await unreadable(mirror) == [("shipments", "1", 1)]
    assert "1" in await mirror.rows("shipments")


async def test_what_is_kept_every_reader_reads(tmp_path):
    async with odd_mirror(tmp_path, "invoices", path="/invoices") as (flexport, mirror):
        rows = [with_bad(invoice(id=f"i{place}"), bad) for place, bad in enumerate(BAD.values())]
        flexport.lists(
            [*rows, with_bad(invoice(id="nul"), rb'"a\u0000b"'), with_bad(invoice(id="twice"), b"1", "name")]
        )
        await mirror.sync()
        kept = await mirror.rows("invoices")
        assert set(kept) == {"nul", "twice"}
        for text in kept.values():
            json.loads(text)
            assert await mirror.db.read(
                lambda tx, text=text: tx.raw.execute("SELECT json_valid(?)", (text,)).fetchone()
            ) == (1,)


# --- events ---


def bad_event(bad, **fields):
    """An event that is well but for these bytes in its shipment."""
    text = encoded(event(leg(), shipment=shipment(), **fields))
    return text.replace(b'"incoterm": "FOB"', b'"incoterm": ' + bad)


async def test_a_webhook_with_a_bad_embedded_object_is_applied_without_it(daemon):
    for number, bad in enumerate(BAD.values(), 31):
        assert (await daemon.post(bad_event(bad, id=number))) == (200, {"status": "accepted", "id": str(number)})
    await daemon.receive(event(shipment(5), id=1000))
    await daemon.settled()
    for number, bad in enumerate(BAD, 31):
        found = await daemon.get(f"/events/{number}")
        assert found["state"] in ("applied", "coalesced"), bad
        assert "left out" in found["reason"], bad
    assert (await daemon.get("/events/1000"))["state"] == "applied"
    assert (await daemon.get("/legs/8800412"))["id"] == 8_800_412


async def test_a_webhook_about_an_object_that_is_no_json_is_a_dead_letter_with_its_id(daemon):
    for number, bad in enumerate(BAD.values(), 31):
        body = encoded(event(leg(carrier_name="@"), id=number)).replace(b'"@"', bad)
        assert (await daemon.post(body)) == (200, {"status": "accepted", "id": str(number)})
        assert (await daemon.post(body)) == (200, {"status": "duplicate", "id": str(number)})
    await daemon.receive(event(shipment(5), id=1000))
    await daemon.settled()
    for number, bad in enumerate(BAD, 31):
        found = await daemon.get(f"/events/{number}")
        assert (found["state"], "8800412" in found["reason"]) == ("dead", True), (bad, found["reason"])
    assert (await daemon.get("/events/1000"))["state"] == "applied"
    for letter in (await daemon.get("/dead-letters?limit=100"))["data"]:
        await daemon.call(f"/dead-letters/{letter['id']}/retry")
    await daemon.settled()
    assert len((await daemon.get("/dead-letters?limit=100"))["data"]) == len(BAD)


async def test_events_around_one_that_is_no_json_are_all_polled(daemon, clock):
    flexport = OddFlexport("/events")
    numbers = range(1, 2 * len(BAD) + 2)
    rows = [
        encoded(event(shipment(number), id=number, created_at=clock.stamp(), occurred_at=clock.stamp()))
        for number in numbers
    ]
    for place, bad in enumerate(BAD.values()):
        rows[2 * place + 1] = rows[2 * place + 1].replace(b'"name": ', b'"name": ' + bad + b',"was": ', 1)
    flexport.lists(rows, 10)
    async with (
        flexport.running(),
        Client(ClientRules(flexport.url, 10_000), ApiKeyAuth("key"), HurriedClock()) as client,
    ):
        poll = EventPoller(client, daemon.daemon.queue, timedelta(minutes=10))
        result = await poll.poll("wide")
        assert (result.outcome, result.read, result.new) == ("complete", len(rows), len(rows))
        await daemon.settled()
        states = {one["id"]: one["state"] for one in (await daemon.get("/events?limit=100"))["data"]}
        assert states == {str(number): "applied" if number % 2 else "dead" for number in numbers}
        assert (await poll.poll("wide")).new == 0
    assert flexport.numbers == list(range(1, -(-len(rows) // 10) + 1)) * 2


@pytest.mark.parametrize("cycle", [1, 2, 3, 7])
async def test_a_list_of_events_that_repeats_pages_for_ever_ends_soon_and_its_events_are_kept(daemon, clock, cycle):
    flexport = OddFlexport("/events")
    flexport.pages = lambda number: (
        [event(shipment(number % cycle), id=number % cycle + 1, created_at=clock.stamp(), occurred_at=clock.stamp())],
        True,
        None,
    )
    async with (
        flexport.running(),
        Client(ClientRules(flexport.url, 10_000), ApiKeyAuth("key"), HurriedClock()) as client,
    ):
        with pytest.raises(MalformedResponseError, match=f"they held {cycle} different rows"):
            await EventPoller(client, daemon.daemon.queue, timedelta(minutes=10)).poll("wide")
    assert len((await daemon.get("/events"))["data"]) == cycle
    assert len(flexport.numbers) == cycle + 3
