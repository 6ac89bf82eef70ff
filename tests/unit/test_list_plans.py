"""Every filter and sort of every list goes by an index: how SQLite means to answer is looked at, table by table.

The store is empty and was never analysed: so it is when it begins, and so it stays, since nothing here runs ANALYZE.
"""

import itertools
import re
from dataclasses import replace

import pytest

from flexportd.core.resources import registry, shipments
from flexportd.expose.api.resources import list_definition
from flexportd.expose.api.shipments import REMOVED
from flexportd.storage import connection
from flexportd.storage.migrate import migrate
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories import (
    changes,
    deliveries,
    document_files,
    events,
    exceptions,
    gaps,
    items,
    notifications,
    schema_drift,
    sync,
)
from flexportd.storage.search_index import MAX_TERMS

REGISTRY = registry.Registry()
LISTS = {
    **{domain.name: list_definition(domain, REGISTRY).table.listing for domain in REGISTRY},
    "sync_runs": sync.RUNS,
    "unreadable": schema_drift.UNREADABLE,
    "document_files": document_files.LISTING,
    "changes": changes.LISTING,
    "events": events.LISTING,
    "gaps": gaps.LISTING,
    "exceptions": exceptions.LISTING,
    "dead_letters": items.DEAD_LETTERS,
    "unfinished": items.UNFINISHED,
    "deliveries": deliveries.LISTING,
    "notifications": notifications.LISTING,
}
LISTS["shipments"] = replace(
    shipments.TABLE, filters={**shipments.TABLE.filters, "removed": REMOVED}
).listing  # as it is served

ALWAYS = {
    "changes": {"resource": ("shipments", "1")},  # no other history is shown
    "dead_letters": {"dead": ()},
    "unfinished": {"unfinished": ()},
}

# What is let through by these is the bulk of a table: its order is followed, and few rows are passed over.
COMMON = {
    "not_removed",
    "not_archived",
    "not_open",
    "not_delivered",
    "current",
    "all",
    "seen",
    "for_customers",
    "since_start",
    "not_acknowledged",
    "not_snoozed",
}

# Why a list is read whole for these.
EXCEPTIONS = {
    ("ports", "kind"): "ports are a few thousand; most of them are of the kind that is asked for",
    ("unfinished", "unfinished"): "the queue holds little that is neither waiting nor running",
    ("unfinished", "state"): "the queue is bounded, and an index would cost every event twice",
    ("unfinished", "kind"): "the queue is bounded, and an index would cost every event twice",
    ("dead_letters", "error"): "of the dead letters alone",
    **{
        ("shipments", f"holding_{number}"): "asked for a text that many have: the first of them are found soon"
        for number in range(1, MAX_TERMS + 1)
    },
    ("gaps", "delivered"): "gaps are few",
    ("deliveries", "kind"): "most are messages, and those to people are few",
    **{
        ("notifications", name): "asked by operators alone, 90 ms for 200,000; an index would cost every notification"
        for name in ("topic", "state", "created_after", "created_before")
    },
    ("events", "source"): "no parameter asks it",
    ("events", "state"): "most are applied; what is rare has a case of its own",
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    path = tmp_path_factory.mktemp("plans") / "flexportd.db"
    migrate(path)
    found = connection.open_reader(path)
    yield found
    found.close()


def _plan(raw, sql, values):
    return [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}", (*values, 51))]


def _plans(raw, listing, page):
    return [
        _plan(raw, sql, values) for sql, values in listing.statements(page, (listing.sorts[page.sort], listing.key))
    ]


def _values(where, count=1):
    words = "[" + ",".join(f'"{letter}"' for letter in "abcdefgh"[:count]) + "]"
    return [words if "json_each(?)" in where and mark else "1" for mark in range(1, where.count("?") + 1)]


def _filters(name):
    listing = LISTS[name]
    asked = [
        one for one, filter_ in listing.filters.items() if "LIKE" not in filter_.condition
    ]  # parts: by the index of search
    return [one for one in asked if one not in ALWAYS.get(name, {})]


def _scanned(plan, listing):
    """How the table of a list is read as a whole, if it is."""
    table = listing.table.split(" ")[0]
    return next((step for step in plan if re.match(rf"SCAN {table}\b", step)), None)


def _partial(raw, step):
    """Whether an index that a step reads holds only what a filter lets through."""
    named = re.search(r"INDEX (\w+)", step)
    found = named and raw.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (named[1],)).fetchone()
    return bool(found and found[0] and " WHERE " in found[0])


PAGES = [
    (name, sort, descending)
    for name, listing in LISTS.items()
    for sort, descending in itertools.product(listing.sorts, (True, False))
]


@pytest.mark.parametrize(("name", "sort", "descending"), PAGES)
def test_every_order_is_that_of_an_index(raw, name, sort, descending):
    listing = LISTS[name]
    filters = {} if name in ("dead_letters", "unfinished") else ALWAYS.get(name, {})
    never_null = listing.sorts[sort] in (listing.order, listing.key)
    for after in (None, ("a", 1)) if never_null else (None, ("a", 1), (None, 1)):
        for plan in _plans(raw, listing, PageRequest(50, sort, descending, filters, after)):
            assert not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize(("name", "one"), [(name, one) for name in LISTS for one in _filters(name)])
def test_every_filter_goes_by_an_index(raw, name, one):
    listing, always = LISTS[name], ALWAYS.get(name, {})
    for sort, count in itertools.product(listing.sorts, (1, 3)):
        page = PageRequest(50, sort, filters={**always, one: _values(listing.filters[one].condition, count)})
        if listing.needs_sorting(one, page):
            (sql, values) = listing.probe(page, one)
            plan = _plan(raw, sql, values)
            scan = _scanned(plan, listing)
            assert scan is None or _partial(raw, scan) or one in COMMON or (name, one) in EXCEPTIONS, plan
            for plan in _plans(raw, listing, page):
                assert _scanned(plan, listing) is None or not any("TEMP B-TREE" in step for step in plan), plan
            continue
        for plan in _plans(raw, listing, page):
            scan = _scanned(plan, listing)
            if scan is not None and not _partial(raw, scan):
                assert one in COMMON or (name, one) in EXCEPTIONS, plan
                assert not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize(
    "case", [(one, word) for one, words in events.LISTING.literal_variants.items() for word in words]
)
def test_every_value_that_has_a_case_of_its_own_goes_by_an_index(raw, case):
    one, word = case
    page = PageRequest(50, "seq", filters={one: (word,)})
    plans = [_plan(raw, *events.LISTING.probe(page, one)), *_plans(raw, events.LISTING, page)]
    assert any(_scanned(plan, events.LISTING) is None for plan in plans), plans


def test_a_filter_takes_every_value_that_has_a_case_of_its_own():
    for one, words in events.LISTING.literal_variants.items():
        assert set(words) <= set(events.LISTING.filters[one].choices)


# What most lists are asked for at once, in their own order: it must be found in that order, not sorted.
IN_ORDER = [
    ("shipments", {"status": ('["arrived"]',), "not_removed": ()}),
    ("shipments", {"status": ('["arrived","booked"]',), "not_archived": ()}),
    ("shipments", {"mode": ('["ocean"]',), "status": ('["arrived"]',)}),
    ("invoices", {"status": ('["outstanding"]',), "not_removed": ()}),
    ("documents", {"type": ('["a","b"]',), "not_archived": ()}),
    ("events", {"type": ("/shipment#updated",)}),
]


@pytest.mark.parametrize(("name", "filters"), IN_ORDER)
@pytest.mark.parametrize("descending", [True, False])
def test_what_is_asked_together_is_found_in_order(raw, name, filters, descending):
    listing = LISTS[name]
    sort = next(name for name, column in listing.sorts.items() if column in ("as_of", "seq"))
    for after in (None, ("2026-03-04T02:41:10.000Z", 1)):
        for plan in _plans(raw, listing, PageRequest(50, sort, descending, filters, after)):
            assert not any("TEMP B-TREE" in step for step in plan), plan
            assert _scanned(plan, listing) is None, plan


@pytest.mark.parametrize("name", LISTS)
def test_a_filter_declares_every_other_table_that_its_condition_reads(raw, name):
    tables = {row[0] for row in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for parameter, filter_ in LISTS[name].filters.items():
        named = {table for table in re.findall(r"\b(?:FROM|JOIN) (\w+)", filter_.condition) if table in tables}
        assert named - {LISTS[name].table} == filter_.tables - {LISTS[name].table}, parameter


def test_drift_is_small_enough_to_be_sorted():
    assert schema_drift.MAX_FINDINGS <= 10_000


def test_no_exception_is_for_nothing():
    assert {name for name, _ in EXCEPTIONS} <= set(LISTS)
    assert all(one in LISTS[name].filters for name, one in EXCEPTIONS)
