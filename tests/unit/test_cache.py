"""The memory layer never shows what has changed, and never grows beyond its limit."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.cache import Cache, DiskCache, kind_of
from flexportd.clock import Clock
from flexportd.http.responses import PreparedResponse


def memory_only(**rules):
    """A cache whose disk is not open."""
    return Cache(DiskCache(Path("unused"), 0, Clock()), **rules)


def answer(size=10):
    return PreparedResponse(200, b"x" * size)


def test_an_answer_is_dropped_by_any_of_its_tags():
    cache = memory_only()
    cache.put("a", answer(), ("shipments", ("shipments", 1)), cache.epoch)
    cache.invalidate([("shipments", 2)])
    assert cache.get("a") is not None
    cache.invalidate([("shipments", 1)])
    assert cache.get("a") is None
    assert cache.size == 0
    assert cache._by_tag == {}


def test_an_answer_read_before_a_change_is_not_kept_after_it():
    cache = memory_only()
    epoch = cache.epoch
    cache.invalidate([])
    cache.put("a", answer(), ("t",), epoch)
    assert cache.get("a") is None


def test_one_that_is_too_large_is_not_kept():
    cache = memory_only(limit=10_000)
    cache.put("a", answer(9_000), (), cache.epoch)
    assert cache.get("a") is None


@given(st.lists(st.tuples(st.sampled_from(["put", "get", "drop"]), st.integers(0, 20), st.integers(0, 900))))
def test_the_size_is_what_is_held_and_within_the_limit(steps):
    cache = memory_only(limit=20_000)
    for what, key, size in steps:
        if what == "put":
            cache.put(key, answer(size), (key % 3,), cache.epoch)
        elif what == "get":
            cache.get(key)
        else:
            cache.invalidate([key % 3])
        assert cache.size <= 20_000
        assert cache.size == sum(one.size() + 400 for one, _, _ in cache._entries.values())
        assert {key for keys in cache._by_tag.values() for key in keys} == set(cache._entries)


class Hands:
    """A clock that stands still until it is turned."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def test_an_answer_lives_as_long_as_its_type_says():
    hands = Hands()
    cache = memory_only(ttls={"shipment": 300, "page": 60}, now=hands)
    cache.put("shipment", answer(), (), cache.epoch, "shipment")
    cache.put("page", answer(), (), cache.epoch)
    cache.put("unknown", answer(), (), cache.epoch, "pallet")
    hands.time += 59.9
    assert all(cache.get(key) for key in ("shipment", "page", "unknown"))
    hands.time += 0.1
    assert cache.get("shipment") is not None
    assert cache.get("page") is None
    assert cache.get("unknown") is None
    hands.time += 240
    assert cache.get("shipment") is None
    assert (cache.hits, cache.misses) == (4, 3)


def test_without_lifetimes_an_answer_stays_until_it_is_dropped():
    hands = Hands()
    cache = memory_only(now=hands)
    cache.put("a", answer(), (), cache.epoch, "shipment")
    hands.time = 1e12
    assert cache.get("a") is not None


def test_a_lifetime_of_nothing_keeps_nothing_and_forgets_what_was_there():
    cache = memory_only(ttls={"shipment": 300})
    cache.put("a", answer(), (), cache.epoch, "shipment")
    cache.ttls = {"shipment": 0}
    cache.put("a", answer(), (), cache.epoch, "shipment")
    assert cache.get("a") is None
    assert len(cache) == cache.size == 0


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        (("shipments",), "shipment"),
        ((("shipments", 7), "legs"), "shipment"),
        ((("companies", "x"),), "company"),
        ((("customs_entries", 1),), "customs_entry"),
        (("pages",), "page"),
        ((), "page"),
    ],
)
def test_the_first_tag_tells_the_type(tags, kind):
    assert kind_of(tags) == kind
