"""Rows written straight as lines of CSV: to the byte what their documents would give."""

import json
import random

import pytest

from flexportd.core.resources import registry
from flexportd.expose import serialize
from flexportd.expose.feeds.csv_rows import CsvRowWriter
from flexportd.expose.feeds.export import Export

DOMAINS = [domain for domain in registry.Registry() if domain.derived_values is None]
TEXTS = [None, "", "a", "=1", '"', "a,b", "two\nlines", "\x00", "-5", "-12.50", "00123", "\u4e2d", "\ud800", " x", "+1"]
MOMENTS = [None, "2026-03-03T12:00:00+08:00", "2026-03-03T00:00:00+00:00", "2026-03-03T23:59:00-07:00"]


def _value(field, rnd):
    choices = {
        "text": TEXTS,
        "integer": [None, 0, 7, -3, 2**53, "x-1"],
        "boolean": [None, 0, 1],
        "json": [None, '{"value":1.5,"unit":"kg"}', '{"a":"\\"x"}'],
        "list": [None, "[]", json.dumps(["a", 'b"c', "=1"])],
        "day": [None, "2026-03-04"],
        "moment": MOMENTS,
        "deadline": MOMENTS,
    }
    return rnd.choice(choices[field.kind])


def _row(table, rnd):
    row = {field.name: _value(field, rnd) for field in table.fields}
    row |= {f"{name}_at": at for name, at in zip(table.moments, table.instants(row), strict=True)}
    at = rnd.choice([None, "2026-03-04T02:41:10.000Z"])
    row |= dict.fromkeys(("as_of", "source", "synced_at", "first_seen_at", "removed_at"), at)
    return row | {"id": rnd.choice([1, 910_233, "prf-1", "=x"]), "raw": '{"id":1,"name":"a\\"b"}'}


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda one: one.name)
def test_a_row_is_written_as_its_document_would_be(domain):
    rnd, table = random.Random(domain.name), domain.table
    rows = [_row(table, rnd) for _ in range(200)]
    everything = [*serialize.field_names(table), "raw"]
    for columns in (everything, rnd.sample(everything, 5), ["id"], ["day_only"]):
        told = [serialize.serialize_row(table, row) | {"raw": serialize.raw_json(row["raw"])} for row in rows]
        assert CsvRowWriter(table, columns).encode(rows) == Export("csv", columns).encode(told)
