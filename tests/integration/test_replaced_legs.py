"""Legs that another route has replaced: no event tells of it, and they are not fetched for ever."""

from datetime import timedelta

import pytest

from flexportd.clock import stamp
from flexportd.ingest.refetch import RefetchRequest, refetch_item, shipment_refetch
from flexportd.outcome import Applied, Ignored, Snooze
from tests.mirrored import mirrored

LEGS = "/shipment_leg"


@pytest.fixture
async def pair(tmp_path):
    async with mirrored(tmp_path, ("shipments", "legs")) as found:
        await found[1].sync()
        yield found


def _route(sandbox):
    """The legs of a shipment that has several."""
    by_shipment = {}
    for row in sandbox.world.rows(LEGS).values():
        by_shipment.setdefault(row["shipment"]["id"], []).append(row)
    return next(rows for rows in by_shipment.values() if len(rows) > 1)


def _replace(sandbox, *legs):
    for leg in legs:
        sandbox.override(LEGS, leg["id"], deleted_at=stamp(sandbox.world.now))


async def _told(mirror, leg, **ago):
    """As if an event that Flexport recorded that long ago had brought the leg last."""
    as_of = stamp(mirror.clock.now() - timedelta(**ago))
    sql = "UPDATE legs SET source = 'webhook', as_of = ? WHERE id = ?"
    await mirror.db.write(lambda tx: tx.raw.execute(sql, (as_of, leg["id"])))


async def _handled(mirror, item):
    await mirror.db.write(lambda tx: tx.items.add(mirror.clock.stamp(), [item]))
    (queued,) = await mirror.db.write(lambda tx: tx.items.claim("refresh", "9999", "9999", 5))
    return await mirror.refresher.handle(queued)


def _after_event(mirror, leg):
    at = mirror.clock.stamp()
    return refetch_item(RefetchRequest("legs", leg["id"], event_id="1", since=at), at, 2)


async def test_a_replaced_leg_of_which_an_old_event_told_ends_with_its_fetch(pair):
    sandbox, mirror = pair
    gone, *others = _route(sandbox)
    _replace(sandbox, gone)
    await _told(mirror, gone, hours=1)
    assert isinstance(await _handled(mirror, _after_event(mirror, gone)), Applied)
    rows = await mirror.rows("legs")
    assert str(gone["id"]) not in rows
    assert {str(leg["id"]) for leg in others} <= set(rows)


async def test_a_leg_that_flexport_has_just_told_of_is_waited_for(pair):
    sandbox, mirror = pair
    gone, *_ = _route(sandbox)
    _replace(sandbox, gone)
    await _told(mirror, gone, minutes=2)
    assert isinstance(await _handled(mirror, _after_event(mirror, gone)), Snooze)
    assert str(gone["id"]) in await mirror.rows("legs")


async def test_an_empty_list_ends_no_leg(pair):
    sandbox, mirror = pair
    legs = _route(sandbox)
    _replace(sandbox, *legs)
    await _told(mirror, legs[0], hours=1)
    assert isinstance(await _handled(mirror, _after_event(mirror, legs[0])), Ignored)
    assert {str(leg["id"]) for leg in legs} <= set(await mirror.rows("legs"))


@pytest.mark.parametrize(("ago", "stays"), [({"hours": 1}, False), ({"minutes": 2}, True), (None, False)])
async def test_a_leg_that_left_the_list_of_its_shipment_is_asked_for_and_ends(pair, ago, stays):
    sandbox, mirror = pair
    gone, *others = _route(sandbox)
    _replace(sandbox, gone)
    if ago is not None:
        await _told(mirror, gone, **ago)
    (item,) = shipment_refetch(("legs",), gone["shipment"]["id"], mirror.clock.stamp(), 3)
    assert isinstance(await _handled(mirror, item), Applied)
    rows = await mirror.rows("legs")
    assert (str(gone["id"]) in rows) is stays
    assert {str(leg["id"]) for leg in others} <= set(rows)


async def test_a_leg_that_only_the_list_lacks_stays(pair):
    sandbox, mirror = pair
    hidden, *_ = _route(sandbox)
    shelf = sandbox.world.collections[LEGS]
    for_shipment = shelf.for_shipment
    shelf.for_shipment = lambda key: for_shipment(key).where(lambda row: row["id"] != hidden["id"])
    (item,) = shipment_refetch(("legs",), hidden["shipment"]["id"], mirror.clock.stamp(), 3)
    assert isinstance(await _handled(mirror, item), Applied)
    assert sandbox.requests.count(f"/{hidden['id']}$") == 1
    assert str(hidden["id"]) in await mirror.rows("legs")
