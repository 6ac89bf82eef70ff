"""Whatever stands in an event, reading it ends in what it tells or in a MalformedError, never in anything else."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.core.events.parser import parse_event
from flexportd.core.resources.registry import Registry
from flexportd.errors import MalformedError
from flexportd.flexport.models.events import parse_heads, recover_heads
from flexportd.ingest.event_poller import parse_rows, read_facts
from flexportd.storage.repositories.events import PendingEvent
from tests.events import container, event, leg, shipment

REGISTRY = Registry()
WHOLE = json.dumps(event(leg(), shipment=shipment(), containers=[container()])).encode()
PLACES = [
    place for place in range(len(WHOLE)) if WHOLE[place : place + 1] in (b'"', b":", b",", b"{", b"[", b"]", b"}")
]
PIECES = st.binary(max_size=6) | st.sampled_from(
    [
        rb"\ud83d",
        b"NaN",
        b"null",
        b"[]",
        b"{}",
        b"1e999",
        b"1" * 5000,
        b"[" * 1500,
        b'"',
        b",",
        b"}",
        b"]",
        b'"id":"\\u0000",',
    ]
)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 12), PIECES), min_size=1, max_size=3))
def test_a_broken_event_is_read_or_malformed(cuts):
    body = WHOLE
    for place, length, piece in sorted(cuts, reverse=True):
        body = body[:place] + piece + body[place + length :]
    for found in parse_rows([body], "2026-06-01T00:00:00.000Z"):
        read_facts(found)
        assert found.error is None or found.name.startswith("body-")
    for read in (
        parse_heads,
        recover_heads,
        lambda text: parse_event(REGISTRY, PendingEvent(1, "1", None, "webhook", text)),
    ):
        try:
            read(body)
        except MalformedError as error:
            str(error).encode()
