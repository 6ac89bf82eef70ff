"""Events as they should never come, and a look at everything that a daemon makes of them."""

import asyncio
import copy
import json
import re
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from yarl import URL

from flexportd.core.resources.registry import Registry
from tests import events
from tests.under_test import UnderTest, look_again
from tests.wire_goods import commercial_invoice, customs_entry, invoice, product
from tests.wire_orders import ONE_OF_EACH

REGISTRY = Registry()
USUAL = [
    events.shipment(), events.leg(), events.container(), product(), invoice(), commercial_invoice(), customs_entry(),
    *ONE_OF_EACH.values(),
]  # fmt: skip

NUMBER = "\uf8ff#"  # texts that begin so are written as what follows, without quotation marks


def nested(depth: int) -> str:
    return f"{NUMBER}{'[' * depth}{']' * depth}"


def objects(depth: int) -> str:
    return NUMBER + '{"a":' * depth + "1" + "}" * depth


ODD = [
    None, True, False, 0, -1, 1, 0.5, -0.0, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**40, -(2**63) - 1, -(2**70),
    1e22, 1e300, 5e-324, f"{NUMBER}1e400", f"{NUMBER}-1e400", f"{NUMBER}1E-400", f"{NUMBER}NaN", f"{NUMBER}Infinity",
    f"{NUMBER}{'9' * 400}", f"{NUMBER}{'9' * 5000}", f"{NUMBER}0.{'1' * 400}", f"{NUMBER}1.0", f"{NUMBER}01",
    "", " ", "\0", "a\0b", "\ud83d", "x \udc00 y", "\u2028", "\u202e", "\ufeff", "\uffff", "\U0010ffff", "\x7f", "\x1b[31m",
    "0", "-0", "00", "1", "007", "9" * 18, "9" * 19, "9" * 30, "9" * 5000, "1e5", "0.1", "NaN", "Infinity", "-Infinity",
    "null", "true", "/", "..", ".", "../../etc", "a/b", "a?b", "a#b", "%00", "%", "'", '"', "\\", "<script>", "=1+1",
    "{{", "a,b", ",", "x" * 200, "x" * 201, "x" * 300, " " * 3000, "é" * 200, "\u0315\u0300" * 1000,
    "2026-03-04", "2026-03-04T02:41:09.377Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30",
    "1773-01-01T00:00:00Z", "2026-03-04T24:00:00Z", "2026-W10-3", "20260304T024109Z", "2026-03-04T02:41:09+23:59",
    "2026-03-04T02:41:09+24:00", "2026-03-04T02:41:09.999999999Z", "2026-03-04 02:41", "12:00", 1772600000, 1772600000000,
    [], {}, [[]], [{}], [None], [1], [""], {"": ""}, {"id": None}, {"id": []}, {"id": "\0"}, {"_object": 5}, {"value": {}},
    {"amount": "many"}, {"a\0b": 1}, {"\ud83d": 1}, {"x" * 300: 1}, ["a"] * 300, {str(n): n for n in range(300)},
    nested(60), nested(190), nested(300), nested(600), nested(900), nested(960), nested(990), nested(2000), nested(10_000),
    objects(100), objects(450), objects(900), objects(10_000),
]  # fmt: skip

NAMES = [
    "",
    "id",
    "_object",
    "\0",
    "\ud83d",
    "shipment",
    "metadata",
    "updated_at",
    "x" * 300,
    "a.b",
    "constructor",
    "version",
]

odd_values = st.one_of(
    st.sampled_from(ODD).map(copy.deepcopy),
    st.sampled_from(ODD).map(copy.deepcopy),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
        max_leaves=8,
    ),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each part of a value."""
    found = [at] if at else []
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        found += places(part, (*at, name))
    return found


def put(value: Any, at: tuple[Any, ...], new: Any) -> None:
    for name in at[:-1]:
        value = value[name]
    value[at[-1]] = new


def encoded(value: Any) -> bytes:
    """As JSON; half characters as escapes, `NUMBER` texts bare."""
    return _BARE.sub(lambda found: found[1].replace('\\"', '"'), json.dumps(value)).encode()


_BARE = re.compile('"' + re.escape(json.dumps(NUMBER)[1:-1]) + r'((?:[^"\\]|\\.)*+)"')


@st.composite
def odd_events(draw: st.DrawFn) -> dict[str, Any]:
    """An event about one object, with some parts of it, or of the event, replaced, left out, or added."""
    resource = copy.deepcopy(draw(st.sampled_from(USUAL)))
    given = {}
    if draw(st.integers(0, 3)) == 0:
        given["shipment"] = copy.deepcopy(events.shipment())
    if draw(st.integers(0, 3)) == 0:
        given["containers"] = [
            copy.deepcopy(events.container(n)) for n in range(555_001, 555_001 + draw(st.integers(1, 3)))
        ]
    made = events.event(resource, **given)
    number = made["id"]
    for _ in range(draw(st.integers(1, 3))):
        way, at = draw(st.integers(0, 5)), draw(st.sampled_from(places(made)))
        if way == 0:
            owner = made
            for name in at[:-1]:
                owner = owner[name]
            del owner[at[-1]]
        elif way == 1:
            inside = made
            for name in at:
                inside = inside[name]
            if isinstance(inside, dict):
                inside[draw(st.sampled_from(NAMES))] = draw(odd_values)
        else:
            put(made, at, draw(odd_values))
    if "id" in made and draw(st.integers(0, 9)):
        made["id"] = number
    return made


async def read(daemon: UnderTest, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    return await daemon.daemon.db.read(lambda tx: tx.raw.execute(sql, values).fetchall())


async def followed(daemon: UnderTest) -> None:
    """Wait until the search index and the exceptions have read everything, without any trouble."""
    inner = daemon.daemon
    following = inner.consumers
    [(last,)] = await read(daemon, "SELECT coalesce(max(id), 0) FROM journal")
    async with asyncio.timeout(60):
        for one in (following.indexer, following.examiner):
            while one._state is None or not one.is_complete or one._state.journal < last:
                following.wake()
                await look_again()
                assert one.error is None
    assert (following.indexer.skipped_reason, following.examiner.skipped_reason) == (None, None)
    assert following.hub.error is None


async def is_well(daemon: UnderTest) -> None:
    """Nothing that was delivered is left, and nothing has been harmed by it."""
    await daemon.settled()
    assert daemon.daemon.tasks.dead == {}
    assert daemon.daemon.queue.counters.errors == {}
    await followed(daemon)


SHOWN = (
    "/api/v1/events?limit=20", "/api/v1/status", "/api/v1/dead-letters?limit=20", "/api/v1/drift", "/api/v1/exceptions",
    "/api/v1/search?q=example", "/api/v1/queue/items", "/api/v1/gaps", "/", "/queue", "/shipments", "/sync", "/gaps",
    "/exceptions", "/system", "/metrics", "/calendar.ics", "/readyz",
)  # fmt: skip


async def look(daemon: UnderTest, since: int) -> None:
    """Everything that events behind a place in the order of arrival left is shown, on every page and in every form."""
    await is_well(daemon)
    rows = await read(daemon, "SELECT id, state, shipment_id FROM events WHERE seq > ? ORDER BY seq", since)
    sql = "SELECT DISTINCT resource, resource_id FROM changes WHERE event_id IN (SELECT id FROM events WHERE seq > ?)"
    written = await read(daemon, sql, since)
    paths = set(SHOWN)
    for event_id, state, _ in rows:
        assert state in ("applied", "coalesced", "ignored", "dead"), (event_id, state)
        paths |= {f"/api/v1/events/{quote(event_id)}", f"/api/v1/why/events/{quote(event_id)}"}
    for resource, key in written:
        route, name = REGISTRY[resource].route, quote(key, safe="").replace(".", "%2E")
        paths |= {f"/api/v1/{route}{asked}" for asked in ("?limit=100", "?format=csv", "?format=ndjson")}
        paths |= {f"/api/v1/{route}/{name}", f"/api/v1/{route}/{name}/history", f"/api/v1/why/{route}/{name}"}
        if route == "shipments":
            paths |= {f"/api/v1/shipments/{name}/timeline", f"/shipments/{name}", f"/api/v1/shipments/{name}/legs"}
    for path in sorted(paths):
        async with daemon.http.get(URL(daemon.url + path, encoded=True)) as answer:
            body = await answer.read()
            assert answer.status == 200, (path, answer.status, body[:600])
            if answer.content_type == "application/json":
                json.loads(body)
