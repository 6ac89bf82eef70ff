"""The scanner that finds the parts of JSON which a strict reader refuses."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flexportd.flexport.json_text import BrokenJsonError, elements, members, problem

TEXT = st.text(max_size=8) | st.sampled_from(['"', "\\", '\\"', "{", "}]", ",", ":", '\\\\"', "\u2028", "\0"])
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, VALUE, max_size=6), st.sampled_from([None, 1]), st.booleans())
def test_the_members_of_json_are_those_that_a_strict_reader_finds(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    strict = {name: bytes(part) for name, part in msgspec.json.decode(text, type=dict[str, msgspec.Raw]).items()}
    assert {name: bytes(part) for name, part in members(text).items()} == strict


@given(st.lists(VALUE, max_size=6), st.sampled_from([None, 1]))
def test_the_elements_of_json_are_those_that_a_strict_reader_finds(value, indent):
    text = json.dumps(value, indent=indent).encode()
    strict = [bytes(part) for part in msgspec.json.decode(text, type=list[msgspec.Raw])]
    assert [bytes(part) for part in elements(text)] == strict


@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from([b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"a"])).map(b"".join)
)
@example(b"")
@example(b"[1,]")
@example(b'{"a":1,}')
@example(b"[,]")
def test_no_bytes_break_it_otherwise_than_it_says(text):
    for split in (members, elements):
        with contextlib.suppress(BrokenJsonError):
            split(text)
    problem(text)


@pytest.mark.parametrize(
    "text",
    [b"[" * 500_000, b"{" + b'"":' * 200_000 + b"}", b'"' * 500_000, b'{"a":"' + b"\\" * 500_000, b'["' + b'\\"' * 250_000,
     b"[" + b"," * 500_000, b"{" + b":" * 500_000 + b"}"],
)  # fmt: skip
def test_hostile_text_is_read_in_one_go(text):
    """Were the time more than in proportion to the length, this would not end."""
    for split in (members, elements):
        with contextlib.suppress(BrokenJsonError):
            split(text)


@pytest.mark.parametrize(
    "text",
    [
        rb'"\ud83d"',
        b'"\xff"',
        b'"\xc0\xaf"',
        b"1e999",
        b"9" * 5000,
        b"[" * 201 + b"]" * 201,
        b'"a\nb"',
        b"NaN",
        b"[1,]",
    ],
)
def test_what_some_reader_refuses_is_a_problem(text):
    assert problem(b'{"a":' + text + b"}")


@pytest.mark.parametrize(
    "text", [rb'"\ud83d\ude00"', '"ü😀"'.encode(), b"1e300", b"9" * 300, b"[" * 150 + b"]" * 150, rb'"\u0000"']
)
def test_what_every_reader_takes_is_none(text):
    assert problem(b'{"a":' + text + b"}") is None
