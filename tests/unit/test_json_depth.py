"""How deep JSON is nested, whatever stands in its strings."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.importer.compare import Comparison
from flexportd.core.resources.registry import Registry
from flexportd.json_depth import MAX_DEPTH, nests_too_deep
from flexportd.storage.database import Database
from tests.events import shipment


def depth_of(value):
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


odd_strings = st.text(alphabet='[]{}"\\a', max_size=12)
shallow = st.recursive(
    odd_strings | st.integers(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(odd_strings, inner, max_size=5),
    max_leaves=30,
)


@given(shallow, st.lists(st.sampled_from("[{"), min_size=80, max_size=130))
def test_it_is_too_deep_beyond_the_bound_and_not_before(inner, around):
    value = inner
    for bracket in around:
        value = [value, "]}"] if bracket == "[" else {'"[': value}
    assert nests_too_deep(json.dumps(value).encode()) is (depth_of(value) > MAX_DEPTH)


@pytest.mark.parametrize("text", [b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000])
def test_no_depth_is_too_much_to_find_out(text):
    assert nests_too_deep(text)


async def test_a_row_that_is_nested_too_deep_fails_alone(tmp_path):
    deep = json.dumps(shipment(1)).encode().replace(b'["4471"]', b"[" * 120 + b"]" * 120)
    rows = [deep, json.dumps(shipment(2)).encode()]
    now = "2026-03-05T00:00:00.000Z"
    async with Database.open(tmp_path) as db:
        found = Comparison(Registry()["shipments"], now, now, 0, now)
        await db.read(lambda tx: found.compare(tx, rows))
    assert [one.id for one in found.candidates] == [2]
    assert [(one.name, one.error) for one in found.failures] == [
        ("1", f"it is nested more than {MAX_DEPTH} levels deep")
    ]
