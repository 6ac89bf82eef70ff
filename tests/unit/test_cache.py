"""The memory layer never shows what has changed, and never grows beyond its limit."""

from hypothesis import given
from hypothesis import strategies as st

from flexportd.answers import Answer
from flexportd.cache import AnswerCache


def answer(size=10):
    return Answer(200, b"x" * size)


def test_an_answer_is_dropped_by_any_of_its_tags():
    cache = AnswerCache()
    cache.put("a", answer(), ("shipments", ("shipments", 1)), cache.epoch)
    cache.drop([("shipments", 2)])
    assert cache.get("a") is not None
    cache.drop([("shipments", 1)])
    assert cache.get("a") is None
    assert cache.size == 0
    assert cache._by_tag == {}


def test_an_answer_read_before_a_change_is_not_kept_after_it():
    cache = AnswerCache()
    epoch = cache.epoch
    cache.drop([])
    cache.put("a", answer(), ("t",), epoch)
    assert cache.get("a") is None


def test_one_that_is_too_large_is_not_kept():
    cache = AnswerCache(limit=10_000)
    cache.put("a", answer(9_000), (), cache.epoch)
    assert cache.get("a") is None


@given(st.lists(st.tuples(st.sampled_from(["put", "get", "drop"]), st.integers(0, 20), st.integers(0, 900))))
def test_the_size_is_what_is_held_and_within_the_limit(steps):
    cache = AnswerCache(limit=20_000)
    for what, key, size in steps:
        if what == "put":
            cache.put(key, answer(size), (key % 3,), cache.epoch)
        elif what == "get":
            cache.get(key)
        else:
            cache.drop([key % 3])
        assert cache.size <= 20_000
        assert cache.size == sum(one.size() + 400 for one, _ in cache._entries.values())
        assert {key for keys in cache._by_tag.values() for key in keys} == set(cache._entries)
