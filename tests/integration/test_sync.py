"""The full sync against a Flexport that lies, fails and forgets: books that balance, and nothing lost."""

import random
from datetime import timedelta

import pytest

from flexportd.clock import parse, stamp
from flexportd.core.resources.registry import Registry
from flexportd.flexport.lists import LISTS
from flexportd.ingest.refetch import shipment_refetch
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.incremental import IncrementalSync
from flexportd.jobs.sync.run import confirm_removals
from flexportd.outcome import Applied
from flexportd.settings.sections import RESOURCES
from tests.integration.test_convergence_of_everything import Webhooks
from tests.mirrored import mirrored, world_of


@pytest.fixture
async def pair(tmp_path):
    async with mirrored(tmp_path) as found:
        yield found


async def everything(mirror):
    """The whole store but the books of the sync itself."""
    found = {}
    names = [domain.name for domain in mirror.registry]
    for name in [*names, "changes", "unreadable", "sync_missing"]:
        found[name] = await mirror.db.read(lambda tx, name=name: tx.raw.execute(f"SELECT * FROM {name}").fetchall())
    return found


async def test_the_mirror_equals_the_world_value_by_value(pair):
    sandbox, mirror = pair
    receipts = await mirror.sync()
    assert mirror.state == "complete", mirror.sentence
    assert await mirror.export() == world_of(sandbox, mirror)
    for receipt in receipts.values():
        assert receipt.state == "complete"
        assert receipt.total == receipt.new == receipt.objects
        assert receipt.unchanged == receipt.changed == receipt.skipped == receipt.failed == 0


async def test_a_second_run_asks_once_a_page_and_writes_nothing(pair):
    sandbox, mirror = pair
    await mirror.sync()
    before, asked = await everything(mirror), sandbox.requests.total
    receipts = await mirror.sync()
    assert await everything(mirror) == before
    pages = sum(max(1, -(-receipt.total // 100)) for receipt in receipts.values())
    assert sandbox.requests.total - asked == pages
    assert all(receipt.unchanged == receipt.total for receipt in receipts.values())


async def test_a_change_is_one_row_of_history_and_names_its_run(pair):
    sandbox, mirror = pair
    await mirror.sync()
    shipment = next(iter(sandbox.world.rows("/shipment")))
    sandbox.edit_shipment(int(shipment), {"name": "renamed"})
    receipts = await mirror.sync()
    assert (receipts["shipments"].changed, receipts["shipments"].unchanged) == (1, receipts["shipments"].total - 1)
    rows = await mirror.db.read(
        lambda tx: tx.raw.execute("SELECT resource_id, field, new, run_id FROM changes WHERE field <> 'id'").fetchall()
    )
    assert rows == [(shipment, "name", '"renamed"', receipts["shipments"].run_id)]


async def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    async with mirrored(tmp_path, shipments=230) as (sandbox, mirror):
        job = JobRun("full_sync", 1, "manual")
        turned = 0
        apply = mirror.intake.apply

        async def stop_after(answers, cause, on_imported):
            nonlocal turned
            turned += len(answers)
            if turned >= 4:
                job.stopping.set()
            return await apply(answers, cause, on_imported)

        mirror.intake.apply = stop_after
        await mirror.sync(job)
        run = await mirror.db.read(lambda tx: tx.sync.running("full"))
        assert run is not None
        behind = {one.resource: one.next_page for one in await mirror.db.read(lambda tx: tx.sync.receipts(run.id))}
        assert any(page > 1 for page in behind.values())
        mirror.intake.apply = apply
        asked = len(sandbox.requests)
        receipts = await mirror.sync()
        assert {receipt.run_id for receipt in receipts.values()} == {run.id}
        assert mirror.state == "complete", mirror.sentence
        again = [one.path for one in list(sandbox.requests)[asked:]]
        for resource, path in (("shipments", "/shipments?"), ("legs", "/shipment_legs?")):
            pages = [one for one in again if one.startswith(path)]
            assert len(pages) <= max(0, -(-receipts[resource].total // 100) - (behind[resource] - 1))
        assert await mirror.export() == world_of(sandbox, mirror)
        assert await mirror.one("SELECT count(*) FROM changes WHERE field = 'id'") == sum(
            len(rows) for rows in world_of(sandbox, mirror).values()
        )
        assert await mirror.one("SELECT count(*) FROM sync_pages") == 0


# What a fault met once does: nothing that lasts.
@pytest.mark.parametrize(
    "kind", ["429", "429_bare", "500", "502", "503", "html", "reset", "truncate", "error_200", "huge", "5xx", "slow"]
)
async def test_a_passing_fault_leaves_no_trace(tmp_path, kind):
    async with mirrored(tmp_path, names=("shipments",)) as (sandbox, mirror):
        script = sandbox.fault(kind, "/shipments", times=1 if kind == "429_bare" else 2)
        receipts = await mirror.sync()
        if kind == "huge":
            assert "50" in mirror.sentence or "larger" in mirror.sentence
            sandbox.clear_faults()
            receipts = await mirror.sync()
        elif kind == "error_200":
            sandbox.clear_faults()
            receipts = await mirror.sync()
        assert mirror.state == "complete", mirror.sentence
        assert script.made >= 1
        assert (await mirror.export())["/shipment"] == world_of(sandbox, mirror)["/shipment"]
        assert receipts["shipments"].failed == 0


@pytest.mark.parametrize(
    "kind", ["500", "html", "truncate", "reset", "error_200", "huge", "429", "repeat", "lying_total"]
)
async def test_a_lasting_fault_ends_that_resource_with_its_reason_and_removes_nothing(tmp_path, kind):
    # A page that repeats, and a total that is not reached, need more than one page.
    shipments = 120 if kind in ("repeat", "lying_total") else 20
    async with mirrored(tmp_path, shipments=shipments) as (sandbox, mirror):
        await mirror.sync()
        before = await mirror.export()
        sandbox.fault(kind, "^/shipments", times=None)
        receipts = await mirror.sync()
        assert receipts["shipments"].state in ("failed", "unavailable")
        assert receipts["shipments"].reason
        assert "shipments" in mirror.sentence
        assert {one.state for name, one in receipts.items() if name != "shipments"} == {"complete"}
        assert await mirror.export() == before


async def test_a_list_that_may_not_be_read_is_marked_and_the_others_go_on(pair):
    sandbox, mirror = pair
    sandbox.fault("403", "^/documents", times=None)
    receipts = await mirror.sync()
    assert receipts["documents"].state == "unavailable" if "documents" in receipts else True
    closed = [name for name, one in receipts.items() if one.state == "unavailable"]
    assert mirror.state == "complete"
    for name in closed:
        state = await mirror.db.read(lambda tx, name=name: tx.sync.list_states()[name])
        assert state.unavailable_at
        assert "403" in (state.unavailable_reason or "")
    sandbox.clear_faults()
    await mirror.sync()
    for name in closed:
        assert (await mirror.db.read(lambda tx, name=name: tx.sync.list_states()[name])).unavailable_at is None


async def test_a_refused_key_in_the_middle_fails_the_run_and_loses_nothing(pair):
    sandbox, mirror = pair
    await mirror.sync()
    before = await mirror.export()
    sandbox.fault("401", times=None)
    await mirror.sync()
    assert mirror.state == "failed"
    assert await mirror.export() == before
    sandbox.clear_faults()
    await mirror.sync()
    assert mirror.state == "complete"


async def test_what_is_gone_is_removed_after_two_complete_passes(pair):
    sandbox, mirror = pair
    await mirror.sync()
    leg = next(iter(sandbox.world.rows("/shipment_leg")))
    sandbox.delete("/shipment_leg", leg)
    first = await mirror.sync()
    assert (first["legs"].missing, first["legs"].removed) == (1, 0)
    assert leg in await mirror.rows("legs")
    second = await mirror.sync()
    assert (second["legs"].missing, second["legs"].removed) == (1, 1)
    assert leg not in await mirror.rows("legs")
    removed = await mirror.db.read(
        lambda tx: tx.raw.execute("SELECT new FROM changes WHERE field = 'removed_at'").fetchall()
    )
    assert len(removed) == 1
    third = await mirror.sync()
    assert third["legs"].missing == 0
    assert await mirror.export() == world_of(sandbox, mirror)


async def test_what_comes_back_is_there_again(pair):
    sandbox, mirror = pair
    await mirror.sync()
    shipments = sandbox.world.rows("/shipment")
    key, wire = next(iter(shipments.items()))
    sandbox.delete("/shipment", key)
    await mirror.sync()
    await mirror.sync()
    assert key not in await mirror.rows("shipments")
    sandbox.put(wire)
    await mirror.sync()
    assert key in await mirror.rows("shipments")


async def test_what_the_list_lacks_but_flexport_shows_is_kept(pair):
    sandbox, mirror = pair
    await mirror.sync()
    before = await mirror.export()
    legs = len(before["/shipment_leg"])
    # The last of a page is missing, and the total says so too: nothing tells that the list is wrong.
    for _ in range(3):
        script = sandbox.fault("cut", "^/shipment_legs", times=None)
        await mirror.sync()
        assert script.made
        sandbox.clear_faults()
    assert len((await mirror.export())["/shipment_leg"]) == legs


async def test_an_empty_list_waits_for_a_person(pair):
    sandbox, mirror = pair
    await mirror.sync()
    before = await mirror.export()
    sandbox.fault("empty", "^/shipment_legs", times=None)
    for _ in range(3):
        receipts = await mirror.sync()
        assert receipts["legs"].state == "held"
        assert mirror.state == "held"
        assert "sync accept legs" in mirror.sentence
        assert await mirror.export() == before
    sandbox.clear_faults()
    receipts = await mirror.sync()
    assert receipts["legs"].state == "complete"
    assert await mirror.one("SELECT count(*) FROM sync_missing") == 0


async def test_many_at_once_wait_for_a_person_who_may_say_yes(tmp_path):
    async with mirrored(tmp_path, names=("shipments",), shipments=60) as (sandbox, mirror):
        await mirror.sync()
        keys = list(sandbox.world.rows("/shipment"))[:11]
        for key in keys:
            sandbox.delete("/shipment", key)
        for _ in range(2):
            await mirror.sync()
            assert mirror.state == "held"
            assert len(await mirror.rows("shipments")) == 60
        assert await confirm_removals(mirror.reach, mirror.registry["shipments"]) == 11
        assert (await mirror.export())["/shipment"] == world_of(sandbox, mirror)["/shipment"]
        await mirror.sync()
        assert mirror.state == "complete"


async def test_ten_at_once_are_few_enough(tmp_path):
    async with mirrored(tmp_path, names=("shipments",), shipments=12) as (sandbox, mirror):
        await mirror.sync()
        for key in list(sandbox.world.rows("/shipment"))[:10]:
            sandbox.delete("/shipment", key)
        await mirror.sync()
        await mirror.sync()
        assert mirror.state == "complete"
        assert len(await mirror.rows("shipments")) == 2


async def test_a_404_on_request_removes_at_once(pair):
    sandbox, mirror = pair
    await mirror.sync()
    key = next(iter(sandbox.world.rows("/shipment")))
    sandbox.delete("/shipment", key)
    assert await mirror.refresher.refresh(mirror.registry["shipments"], int(key)) == "removed"
    assert key not in await mirror.rows("shipments")


async def test_a_stamp_in_the_future_keeps_no_later_truth_out(pair):
    sandbox, mirror = pair
    sandbox.fault("future", "^/shipments", times=1)
    await mirror.sync()
    newest = await mirror.one("SELECT max(as_of) FROM shipments")
    assert newest <= stamp(parse(mirror.client.server_clock.at(mirror.clock.now())) + timedelta(seconds=1))
    key = next(iter(sandbox.world.rows("/shipment")))
    mirror.clock.turn(minutes=10)
    sandbox.edit_shipment(int(key), {"name": "the truth"})
    await mirror.sync()
    assert await mirror.export() == world_of(sandbox, mirror)


async def test_a_stamp_that_runs_backwards_keeps_no_later_truth_out(pair):
    sandbox, mirror = pair
    await mirror.sync()
    key = next(iter(sandbox.world.rows("/shipment")))
    mirror.clock.turn(minutes=10)
    sandbox.override("/shipment", int(key), name="the truth", updated_at="2001-01-01T00:00:00.000Z")
    receipts = await mirror.sync()
    assert receipts["shipments"].changed == 1
    assert await mirror.export() == world_of(sandbox, mirror)


async def test_an_object_without_id_is_kept_and_reported(pair):
    sandbox, mirror = pair
    sandbox.fault("no_id", "^/shipments", times=None)
    receipts = await mirror.sync()
    assert receipts["shipments"].failed == 1
    assert receipts["shipments"].objects == receipts["shipments"].total
    rows = await mirror.db.read(lambda tx: tx.raw.execute("SELECT error, raw FROM unreadable").fetchall())
    assert len(rows) == 1
    assert b'"name"' in rows[0][1]
    sandbox.clear_faults()
    await mirror.sync()
    assert await mirror.export() == world_of(sandbox, mirror)


async def test_the_same_id_twice_is_counted_as_repeated(pair):
    sandbox, mirror = pair
    sandbox.fault("twice", "^/shipments", times=None)
    receipts = await mirror.sync()
    one = receipts["shipments"]
    assert one.state == "complete"
    assert one.skips == '{"repeated":1}'
    assert one.objects == one.unchanged + one.changed + one.new + one.skipped + one.failed
    assert await mirror.export() == world_of(sandbox, mirror)


async def test_a_link_to_another_host_is_not_followed(tmp_path):
    async with mirrored(tmp_path, names=("shipments",), shipments=130) as (sandbox, mirror):
        sandbox.fault("foreign_next", "^/shipments", times=None)
        await mirror.sync()
        assert mirror.state == "complete"
        assert (await mirror.export())["/shipment"] == world_of(sandbox, mirror)["/shipment"]


async def test_a_changed_eta_is_heard_of_without_any_event(pair):
    sandbox, mirror = pair
    await mirror.sync()
    key = next(iter(sandbox.world.rows("/shipment")))
    sandbox.edit_shipment(int(key), {"estimated_arrival_date": "2027-01-02T12:00:00.000+08:00"})
    asked = len(sandbox.requests)
    receipts = await mirror.catch_up()
    assert mirror.state == "complete", mirror.sentence
    assert receipts["shipments"].changed == 1
    assert (await mirror.rows("shipments", "estimated_arrival_at"))[key] == "2027-01-02T04:00:00.000Z"
    assert all("f." in one.path for one in list(sandbox.requests)[asked:])


async def test_the_legs_of_a_shipment_that_moved_are_fetched_with_it(pair):
    sandbox, mirror = pair
    await mirror.sync()
    followed = []
    mirror.incremental = IncrementalSync(mirror.reach, lambda _tx, some, _at: followed.append(list(some)))
    await mirror.catch_up()
    shipments = sandbox.world.rows("/shipment")
    key = next(iter(shipments))
    sandbox.edit_shipment(int(key), {"name": "moved"})
    leg = next(row for row in sandbox.world.rows("/shipment_leg").values() if row["shipment"]["id"] == int(key))
    sandbox.override("/shipment_leg", leg["id"], carrier_name="Another Line")
    await mirror.catch_up()
    assert followed == [[], [int(key)]]
    (item, *_) = shipment_refetch(("legs",), int(key), mirror.clock.stamp(), 3)
    await mirror.db.write(lambda tx: tx.items.add(mirror.clock.stamp(), [item]))
    (queued,) = await mirror.db.write(lambda tx: tx.items.claim("refresh", "9999", "9999", 5))
    assert isinstance(await mirror.refresher.handle(queued), Applied)
    assert "Another Line" in (await mirror.rows("legs"))[str(leg["id"])]


def test_settings_and_lists_name_every_resource():
    domains = list(Registry())
    assert set(RESOURCES) == {domain.name for domain in domains}
    assert set(LISTS) == {domain.object_name for domain in domains}


async def test_an_ignored_filter_is_noticed(pair):
    _, mirror = pair
    await mirror.sync()
    page = mirror.client.page

    async def unfiltered(path, query, number, purpose):
        return await page(path, {}, number, purpose)

    mirror.client.page = unfiltered
    mirror.clock.turn(days=400)
    state = await mirror.db.read(lambda tx: tx.sync.list_states()["shipments"])
    await mirror.db.write(lambda tx: tx.sync.set_incremental_since("shipments", "2100-01-01T00:00:00.000Z"))
    receipts = await mirror.catch_up()
    assert receipts["shipments"].state == "unavailable"
    assert "was ignored by Flexport" in receipts["shipments"].reason
    assert state.filter_refused_at is None
    assert (await mirror.db.read(lambda tx: tx.sync.list_states()["shipments"])).filter_refused_at


async def test_what_a_complete_pass_confirmed_no_older_event_changes(pair):
    sandbox, mirror = pair
    await mirror.sync()
    between = mirror.client.server_clock.at(mirror.clock.now())
    sandbox.world.advance(sandbox.world.now + timedelta(minutes=30))
    mirror.clock.turn(minutes=30)
    key, leg = next(iter(sandbox.world.rows("/shipment_leg").items()))
    await mirror.sync()
    before = (await mirror.rows("legs"))[key]
    webhooks = Webhooks(mirror, random.Random(0))
    event = sandbox.event(leg["shipment"]["id"], "/shipment_leg#departed", about=leg["id"])
    event |= {"created_at": stamp(parse(between) + timedelta(minutes=1))}
    event["data"]["resource"]["carrier_name"] = "Somebody else"
    await webhooks.keep([event], "webhook")
    assert (await mirror.rows("legs"))[key] == before
    newer = event | {"id": event["id"] + 1, "created_at": stamp(parse(between) + timedelta(hours=2))}
    await webhooks.keep([newer], "webhook")
    assert "Somebody else" in (await mirror.rows("legs"))[key]
