"""Lists whose pages are of any size, whose totals lie, or that have no end."""

import random

import pytest

from flexportd.core.unit_of_work import UnitOfWork
from flexportd.flexport.errors import MalformedResponseError
from flexportd.flexport.lists import Pagination
from flexportd.flexport.models import fast_models
from flexportd.ingest.refetch import RefetchRequest, refetch_item
from flexportd.outcome import Applied
from flexportd.storage.repositories.items import SYNC, Item
from tests.events import leg, shipment
from tests.odd_flexport import ABSENT, odd_mirror

ROWS = [shipment(number) for number in range(1000, 1589)]


@pytest.fixture
async def pair(tmp_path):
    async with odd_mirror(tmp_path) as found:
        yield found


def sized(*sizes):
    """Pages of these sizes, the last for all that follow."""

    def page(number):
        bounds = [0]
        while len(bounds) <= number:
            bounds.append(bounds[-1] + sizes[min(len(bounds) - 1, len(sizes) - 1)])
        return ROWS[bounds[number - 1] : bounds[number]], bounds[number] < len(ROWS), len(ROWS)

    return page


@pytest.mark.parametrize("sizes", [(50,), (10,), (100, 50), (1, 7, 100, 3), (99,), (589,), (588, 1), (100, 0, 100)])
async def test_pages_of_any_size_are_read_to_the_end(pair, sizes):
    flexport, mirror = pair
    flexport.pages = sized(*sizes)
    receipt = (await mirror.sync())["shipments"]
    assert (receipt.state, receipt.total, receipt.objects, receipt.new) == ("complete", 589, 589, 589), receipt.reason
    again = (await mirror.sync())["shipments"]
    assert (again.state, again.unchanged, again.changed, again.new) == ("complete", 589, 0, 0)


@pytest.mark.parametrize("bad", [(1000,), (1099,), (1001, 1002, 1588)])
@pytest.mark.parametrize(("owner", "name"), [(fast_models, "load_fast"), (UnitOfWork, "put")])
async def test_an_object_that_raises_something_unforeseen_fails_alone(pair, monkeypatch, owner, name, bad):
    flexport, mirror = pair
    flexport.lists(ROWS)
    usual = getattr(owner, name)

    def failing(*given):
        texts = (one if isinstance(one, bytes) else getattr(one, "raw", "").encode() for one in given[1:])
        if any(b'"id": %d,' % number in text for text in texts for number in bad):
            raise AttributeError("nobody foresaw this")
        return usual(*given)

    monkeypatch.setattr(owner, name, failing)
    for _ in range(2):
        receipt = (await mirror.sync())["shipments"]
        assert (receipt.state, receipt.failed) == ("complete", len(bad)), receipt.reason
    assert receipt.unchanged == 589 - len(bad)
    assert await mirror.one("SELECT count(*) FROM shipments WHERE removed_at IS NULL") == 589 - len(bad)
    assert await mirror.one("SELECT DISTINCT error FROM unreadable") == "AttributeError: nobody foresaw this"
    assert await mirror.one("SELECT group_concat(resource_id) FROM unreadable") == ",".join(map(str, bad))
    monkeypatch.undo()
    receipt = (await mirror.sync())["shipments"]
    assert (receipt.state, receipt.new, receipt.failed) == ("complete", len(bad), 0)
    assert await mirror.one("SELECT count(*) FROM unreadable") == 0


@pytest.mark.parametrize(
    "total", [ABSENT, b"null", -1, "589", b"589.0", "many", b"1e999", b'"\\ud83d"', b"[]", b"1" + b"0" * 5000]
)
async def test_a_total_that_is_none_or_nonsense_stops_nothing(pair, total):
    flexport, mirror = pair
    flexport.lists(ROWS, 50, total)
    receipt = (await mirror.sync())["shipments"]
    assert (receipt.state, receipt.new) == ("complete", 589), receipt.reason


@pytest.mark.parametrize("total", [0, 1, 588, 590, 10**18])
async def test_a_total_that_is_wrong_keeps_the_rows_and_removes_nothing(pair, total):
    flexport, mirror = pair
    flexport.lists(ROWS)
    await mirror.sync()
    flexport.lists([*ROWS[3:], shipment(7)], 50, total)
    for _ in range(3):
        receipt = (await mirror.sync())["shipments"]
        assert receipt.state == "failed" or total == len(ROWS) - 2
        assert "pages contained 587" in receipt.reason
    assert await mirror.one("SELECT count(*) FROM shipments WHERE removed_at IS NULL") == 590


async def test_a_list_that_says_too_early_that_it_ends_removes_nothing(pair):
    flexport, mirror = pair
    flexport.lists(ROWS)
    await mirror.sync()
    flexport.pages = lambda number: (ROWS[:50], False, len(ROWS))
    for _ in range(3):
        assert (await mirror.sync())["shipments"].state == "failed"
    assert await mirror.one("SELECT count(*) FROM shipments WHERE removed_at IS NULL") == 589


async def test_a_total_said_on_the_first_pages_alone_still_counts(pair):
    flexport, mirror = pair
    flexport.pages = lambda number: (ROWS[(number - 1) * 100 : number * 100], number < 3, 589 if number == 1 else None)
    assert (await mirror.sync())["shipments"].state == "failed"


def cycle(*pages):
    return lambda number: (pages[(number - 1) % len(pages)], True, 589)


def wandering(number):
    dice = random.Random(number)
    return dice.sample(ROWS, 10), True, 589


def growing(number):
    return ROWS[:100] if number % 2 else ROWS[100:200], True, 200 * number + 1


ENDLESS = {
    "one page": cycle(ROWS[:100]),
    "two pages": cycle(ROWS[:100], ROWS[100:200]),
    "three pages": cycle(ROWS[:100], ROWS[100:200], ROWS[200:210]),
    "twenty pages": cycle(*(ROWS[place : place + 10] for place in range(0, 200, 10))),
    "random rows": wandering,
    "a total that grows": growing,
    "known rows and none": cycle(ROWS[:10], []),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_list_without_an_end_ends_soon_with_its_reason(pair, name):
    flexport, mirror = pair
    flexport.pages = ENDLESS[name]
    receipt = (await mirror.sync())["shipments"]
    assert receipt.state == "failed"
    assert "repeats" in receipt.reason
    assert len(flexport.numbers) < 200
    assert receipt.new == await mirror.one("SELECT count(*) FROM shipments") > 0


@pytest.mark.parametrize("tail", [[], ROWS[500:]])
async def test_a_list_that_always_names_a_next_page_is_complete_once_all_rows_came(pair, tail):
    flexport, mirror = pair
    flexport.pages = lambda number: (ROWS[(number - 1) * 100 : number * 100] or tail, True, 589)
    receipt = (await mirror.sync())["shipments"]
    assert (receipt.state, receipt.new) == ("complete", 589), receipt.reason
    assert len(flexport.numbers) < 12


async def test_empty_pages_for_ever_are_the_end_of_a_list_that_says_no_total(pair):
    flexport, mirror = pair
    flexport.pages = lambda number: (ROWS[:100] if number == 1 else [], True, None)
    receipt = (await mirror.sync())["shipments"]
    assert (receipt.state, receipt.new) == ("complete", 100)
    assert len(flexport.numbers) < 6


async def test_a_row_that_comes_again_much_later_is_counted_as_repeated(pair):
    flexport, mirror = pair
    flexport.lists([*ROWS, ROWS[0]], 50, 589)
    receipt = (await mirror.sync())["shipments"]
    assert (receipt.state, receipt.new, receipt.skips) == ("complete", 589, '{"repeated":1}')


async def test_legs_of_one_shipment_that_come_ten_a_page_are_all_fetched(tmp_path):
    async with odd_mirror(tmp_path, "legs", path="/shipment_legs") as (flexport, mirror):
        flexport.lists([leg(number) for number in range(1, 232)], 10)
        found = refetch_item(RefetchRequest("legs", shipment=910_233), mirror.clock.stamp(), SYNC)
        item = Item(
            1, found.kind, "leased", 1, found.ready_at, found.ready_at, None, found.lane, found.merge_key, found.payload, 1,
            None, None, None, None, None, 0,
        )  # fmt: skip
        assert await mirror.refresher.handle(item) == Applied()
        assert await mirror.one("SELECT count(*) FROM legs") == 231


def test_a_list_of_ever_new_rows_has_a_bound(monkeypatch):
    monkeypatch.setattr("flexportd.flexport.lists._MAX_ROWS", 1000)
    pagination = Pagination("/shipments")
    with pytest.raises(MalformedResponseError, match="goes on after 1010 rows"):
        for number in range(1000):
            pagination.add(range(number * 10, number * 10 + 10))
            pagination.has_more(None)
