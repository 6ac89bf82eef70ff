"""Mutated rows among good ones: good rows are stored, bad ones are stored or listed, a second sync is quiet."""

import asyncio
import copy
import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flexportd.core.resources.registry import Registry
from flexportd.flexport.lists import LISTS
from tests.odd_flexport import ABSENT, odd_mirror
from tests.small_flexport import one_of_each

REGISTRY = Registry()
SAMPLES = {one["_object"]: one for one in one_of_each()}
GOOD = 5

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(
        ["\0", "x" * 3000, "1773012345678", "2026-02-30", "-", "é\u202e", "1e999", "9" * 50, "/", "0001-01-01"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just("id"), inner, max_size=3),
    max_leaves=6,
)
# Bytes that leave brackets and quotes alone: where a row ends can still be seen.
VALUES = st.binary(max_size=12).filter(lambda text: not set(text) & set(b'"[]{},:\\')) | st.sampled_from(
    [
        rb'"\ud83d"',
        b'"\xff"',
        b"NaN",
        b"1e999",
        b"1" * 5000,
        b'"a\nb"',
        rb'"\x"',
        b"[" * 300 + b"]" * 300,
        b'{"a" 1}',
        b"'x'",
    ]
)


def places(value, at=()):
    """The path to each value in a JSON value."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield from places(part, (*at, name))


def replaced(value, path, junk):
    if not path:
        return junk
    found = copy.deepcopy(value)
    holder = found
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = junk
    return found


def numbered(domain, sample, number):
    if "id" not in domain.wire.model_fields:
        return {**sample, "name": f"Port {number}"}
    return {**sample, "id": number if domain.ids == "integer" else f"x{number}"}


@st.composite
def rows(draw):
    """(domain, bytes of the bad rows)."""
    domain = draw(st.sampled_from([domain for domain in REGISTRY if domain.object_name in SAMPLES]))
    sample, bad = SAMPLES[domain.object_name], []
    for number in range(draw(st.integers(1, 3))):
        one = numbered(domain, sample, 900 + number)
        path = draw(st.sampled_from(sorted(places(one), key=str)))
        if draw(st.booleans()):
            bad.append(json.dumps(replaced(one, path, draw(JUNK))).encode())
        else:
            text = json.dumps(replaced(one, path or ("name",), "@@")).encode()
            bad.append(text.replace(b'"@@"', draw(VALUES)))
    return domain.name, bad


async def synced_twice(folder, name, bad):
    domain = REGISTRY[name]
    path = LISTS[domain.object_name].path
    good = [json.dumps(numbered(domain, SAMPLES[domain.object_name], number)).encode() for number in range(1, GOOD + 1)]
    async with odd_mirror(folder, name, path=path) as (flexport, mirror):
        flexport.lists([*good[:2], *bad, *good[2:]], 3, ABSENT)
        first = (await mirror.sync())[name]
        assert first.state == "complete", first.reason
        kept = await mirror.rows(name)
        listed = await mirror.one("SELECT count(*) FROM unreadable")
        names = [f"x{n}" if domain.ids != "integer" else str(n) for n in range(1, GOOD + 1)]
        assert domain.name == "ports" or set(names) <= set(kept)
        assert len(kept) >= GOOD
        repeated = json.loads(first.skips).get("repeated", 0)
        assert len(kept) + listed + repeated >= GOOD + len(bad)
        for text in kept.values():
            json.loads(text)
            assert await mirror.one("SELECT json_valid('{}')") == 1
            valid = await mirror.db.read(
                lambda tx, text=text: tx.raw.execute("SELECT json_valid(?)", (text,)).fetchone()
            )
            assert valid == (1,)
        before = await mirror.one("SELECT count(*) FROM changes")
        second = (await mirror.sync())[name]
        assert (second.state, second.new, second.changed) == ("complete", 0, 0), second.reason
        assert await mirror.one("SELECT count(*) FROM changes") == before


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows())
@example(("products", [b'{"_object":"/product","id":"\\u0000"}', b'{"_object":"/product","id":"\\u0000\\u0000"}']))
@example(("shipments", [b'{"_object":"/shipment","id":900,"name":"Lamps \\ud83d"}']))
def test_good_rows_are_stored_and_bad_ones_are_stored_or_listed(tmp_path_factory, given_rows):
    name, bad = given_rows
    asyncio.run(synced_twice(tmp_path_factory.mktemp("fuzz"), name, bad))
