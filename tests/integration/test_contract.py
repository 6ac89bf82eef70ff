"""What the API answers against what its description says: no builder and its schema may part.

A daemon with a whole account behind it is asked every GET route of the description, and the operations as well.
"""

import re
from contextlib import asynccontextmanager
from datetime import datetime
from urllib.parse import quote

import pytest

from flexportd.clock import Clock
from flexportd.core.resources.registry import REGISTRY, RESOURCE_TYPES
from flexportd.expose.app import routes
from flexportd.expose.openapi.document import openapi_document
from flexportd.expose.openapi.parameters import NOT_BLANK, strip
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.settings import Settings
from flexportd.storage.repositories.exceptions import ExceptionFields
from flexportd.storage.repositories.gaps import Gap
from flexportd.storage.repositories.operations import AttemptResult, NewOperation
from flexportd.storage.repositories.schema_drift import DriftRecord
from tests.events import event, shipment
from tests.mirrored import KEY
from tests.small_flexport import synced
from tests.under_test import start

AT = "2026-03-04T02:41:10.512Z"
PREFIX = "#/components/schemas/"
ON_REQUEST = {"raw", "why", "known_at", "refresh"} | {
    "first_estimated_arrival_at", "first_estimated_arrival_date", "arrival_slip_days",
}  # fmt: skip
"""Parts of an object that are there only where they are asked for, or where one object is."""

RESOURCES = {"".join(word.capitalize() for word in domain.label.split(" ")) for domain in RESOURCE_TYPES}

OF_OTHERS = {
    "get_shared_shipment": "its token is told once, when the link is made",
    "get_share_page": "the same",
    "get_share": "no link is made here",
    "get_key": "no key is made here",
    "get_document_file": "it answers with bytes: test_document_files.py",
    "export_shipment_documents": "it answers with bytes: test_document_files.py",
}


# --- the checker ---

TYPES = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
KNOWN = {
    "$ref", "type", "anyOf", "oneOf", "enum", "const", "properties", "required", "additionalProperties", "items", "format",
    "title", "description", "default", "examples", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "pattern", "contentEncoding",
}  # fmt: skip


class Checker:
    """Holds values against schemas more strictly than JSON schema does: what is not declared may not be there."""

    def __init__(self, description):
        self.schemas = description["components"]["schemas"]

    def faults(self, value, schema, place="$"):
        """What is wrong with a value, one sentence each."""
        if unknown := schema.keys() - KNOWN:
            return [f"{place}: the checker does not know {sorted(unknown)}"]
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(PREFIX)
            return self._whole(value, name, place) + self.faults(value, self.schemas[name], place)
        for word in ("anyOf", "oneOf"):
            if word in schema:
                tried = [self.faults(value, one, place) for one in schema[word]]
                return [] if [] in tried else min(tried, key=len)
        types = schema.get("type", [])
        types = [types] if isinstance(types, str) else types
        if types and not any(TYPES[one](value) for one in types):
            return [f"{place}: {value!r:.60} is not of type {types}"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{place}: {value!r:.60} is none of {schema['enum']}"]
        if "const" in schema and value != schema["const"]:
            return [f"{place}: {value!r:.60} is not {schema['const']}"]
        if isinstance(value, str):
            return self._form(value, schema.get("format"), place)
        if isinstance(value, list):
            return [
                fault
                for number, one in enumerate(value)
                for fault in self.faults(one, schema.get("items", {}), f"{place}[{number}]")
            ]
        return self._object(value, schema, place) if isinstance(value, dict) else []

    def _form(self, text, form, place):
        try:
            if form == "date-time" and (datetime.fromisoformat(text).tzinfo is None or "T" not in text):
                return [f"{place}: {text!r} has no zone or no time"]
            if form == "date":
                assert re.fullmatch(r"\d{4}-\d\d-\d\d", text)
        except (ValueError, AssertionError):
            return [f"{place}: {text!r} is no {form}"]
        return []

    def _object(self, value, schema, place):
        declared, other = schema.get("properties", {}), schema.get("additionalProperties")
        found = [f"{place}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, part in value.items():
            if name in declared:
                found += self.faults(part, declared[name], f"{place}.{name}")
            elif isinstance(other, dict):
                found += self.faults(part, other, f"{place}.{name}")
            elif other is not True and (declared or other is False):
                found.append(f"{place}.{name} is not declared")
        return found

    def _whole(self, value, name, place):
        """A resource that is asked for without `fields` has all its parts, though its schema does not require them."""
        if name not in RESOURCES or not isinstance(value, dict):
            return []
        lacking = self.schemas[name]["properties"].keys() - value.keys() - ON_REQUEST
        return [f"{place} lacks {sorted(lacking)}"] if lacking else []


SHOP = {
    "components": {"schemas": {"Box": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}}}
}


@pytest.mark.parametrize(
    ("value", "schema", "fault"),
    [
        ({"a": 1}, {"$ref": f"{PREFIX}Box"}, None),
        ({"a": 1, "b": 2}, {"$ref": f"{PREFIX}Box"}, "$.b is not declared"),
        ({}, {"$ref": f"{PREFIX}Box"}, "$.a is missing"),
        ({"a": True}, {"$ref": f"{PREFIX}Box"}, "$.a: True is not of type ['integer']"),
        ([{"a": "x"}], {"type": "array", "items": {"$ref": f"{PREFIX}Box"}}, "$[0].a: 'x' is not of type ['integer']"),
        (None, {"anyOf": [{"$ref": f"{PREFIX}Box"}, {"type": "null"}]}, None),
        ("x", {"enum": ["y"]}, "$: 'x' is none of ['y']"),
        ("2026-03-04", {"type": "string", "format": "date-time"}, "$: '2026-03-04' has no zone or no time"),
        ({"x": 1}, {"type": "object", "additionalProperties": {"type": "string"}}, "$.x: 1 is not of type ['string']"),
        (1, {"not": {}}, "$: the checker does not know ['not']"),
    ],
)
def test_the_checker_finds_what_is_wrong(value, schema, fault):
    assert Checker(SHOP).faults(value, schema) == ([] if fault is None else [fault])


# --- the daemon ---


class Described:
    """A daemon, its description, and one id for each place that a path leaves open."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.description = openapi_document(routes(REGISTRY, "/webhooks/flexport"))
        self.checker = Checker(self.description)

    async def held(self, name, path, status=200, body=None):
        """The answer of an operation, held against its description: (answer, faults)."""
        method, operation = self.operations()[name]
        async with self.daemon.http.request(method, self.daemon.url + path, json=body) as answer:
            if answer.status != status:
                return None, [f"{name} {path}: {answer.status} {await answer.text():.300}"]
            described = operation["responses"].get(str(status))
            if described is None:
                return None, [f"{name}: {status} is not described"]
            media = answer.headers["Content-Type"].partition("; charset")[0]
            if media not in described["content"]:
                return None, [f"{name}: {media} is not described"]
            if media != "application/json":
                return None, []
            found = await answer.json()
        schema = described["content"][media]["schema"]
        return found, [f"{name} {path} {fault}" for fault in self.checker.faults(found, schema)]

    def operations(self):
        return {
            operation["operationId"]: (method.upper(), operation)
            for methods in self.description["paths"].values()
            for method, operation in methods.items()
        }

    async def path(self, path):
        """The path with an id of the list that is its beginning; None where that list is empty."""
        if "{route}" in path:
            path = path.replace("/why/{route}/{id}", "/why/shipments/" + str(await self._first("/api/v1/shipments")))
        if "/why/events/{id}" in path:
            path = path.replace("{id}", str(await self._first("/api/v1/events")))
        while "{" in path:
            before, _, rest = path.partition("/{")
            key = await self._first(before)
            if key is None:
                return None
            path = f"{before}/{quote(str(key), safe='')}{rest.partition('}')[2]}"
        return path

    async def _first(self, path):
        """An id of a list; of shipments that of one with containers."""
        listed, part = ("/api/v1/containers", "shipment_id") if path == "/api/v1/shipments" else (path, "id")
        async with self.daemon.http.get(self.daemon.url + listed) as answer:
            rows = (await answer.json())["data"] if answer.status == 200 else []
        return rows[0][part] if rows else None


@asynccontextmanager
async def described(folder):
    """A daemon with something in every list."""
    async with Sandbox(SandboxOptions(speed=0, shipments=6, api_key=KEY), Clock()) as sandbox:
        values = {"flexport.base_url": sandbox.url, "flexport.api_key": KEY, "flexport.requests_per_second": 1000}
        channel = {"type": "email", "to": "a@example.com", "from": "b@example.com", "smtp_host": "127.0.0.1"}
        values |= {f"notify.channels.team.{key}": value for key, value in channel.items()}
        values["notify.channels.team.smtp_port"] = 1  # nobody listens there
        async with start(Settings.for_tests(folder, **values), Clock()) as daemon:
            await synced(daemon)
            await daemon.receive(
                event(shipment(7, metadata={"a": 1})),
                event(shipment(7, name="Other", updated_at="2026-03-05T00:00:00Z", status="arrival_port")),
            )
            await daemon.post(b'{"id": 1, "type": "x", "data": "y"}')
            await daemon.post(b"\xff\x00")
            await daemon.settled()
            await daemon.daemon.db.write(odd)
            await daemon.call(
                "/documents/fetch", {"ids": [(await daemon.get("/documents?limit=1"))["data"][0]["id"]]}, 202
            )
            await daemon.settled()
            await daemon.call("/notify/channels/team/test")
            await daemon.call("/queue/pause")
            await daemon.receive(event(shipment(7, name="Waits")))
            yield Described(daemon)


def odd(tx):
    """What a sound account lacks: an outage, drift, something unreadable, something that vanished, an exception."""
    tx.gaps.add(AT, [Gap(10_000_000, "g1", "/shipment#departed", AT, None, "/shipment", "7", 7)])
    tx.drift.merge([DriftRecord("field", "/shipment", "strange", '"x"', "sync")], AT)
    tx.unreadable.put("shipments", AT, [("9", "it is odd", b"{}")])
    tx.sync.hold("legs", [10], AT)
    number = tx.operations.add(
        NewOperation(
            key="0" * 16, kind="booking.create", target="x", resource="bookings", resource_id=None, shipment_id=None,
            title="Lost", body="{}", digest="", state="unknown", created_by="Ana", creator="key",
        ),
        AT,
    )  # fmt: skip
    attempt = tx.operations.begin_attempt(number, "send", AT, method="POST", path="/bookings", request="{}")
    tx.operations.end_attempt(attempt, AT, AttemptResult(outcome="unknown", status=500, response="<html>"))
    tx.audit.add(AT, "Ana", "operation.create", f"operation {number}")
    told = {"name": "A booking", "created_at": AT}
    tx.exceptions.open(ExceptionFields("booking_unanswered", "notice", "bookings", "99", None, told, AT), AT)


@pytest.fixture
async def world(tmp_path):
    async with described(tmp_path) as found:
        yield found


QUERIES = {"list_pending_removals": ("?resource=legs",), "search": ("?q=PO",)}
LISTS_MUST_HOLD = {
    "list_dead_letters", "list_deliveries", "list_document_files", "list_schema_drift", "list_events", "list_exceptions", "list_files_of_document", "list_gap_events",
    "list_gaps", "list_pending_removals", "list_jobs", "list_queue_items", "list_shipments", "list_shipment_containers",
    "list_shipment_history", "list_shipment_legs", "list_sync_runs", "list_unreadable_objects", "get_shipment_timeline",
    "explain_event", "explain_object", "list_operations", "list_audit",
}  # fmt: skip


async def test_every_get_answers_as_it_is_described(world):
    faults, unasked, empty = [], set(), set()
    for path, methods in world.description["paths"].items():
        operation = methods.get("get")
        if operation is None or operation["operationId"] in OF_OTHERS:
            continue
        name, filled = operation["operationId"], await world.path(path)
        if filled is None:
            unasked.add(name)
            continue
        asked = {one["name"]: one["schema"] for one in operation.get("parameters", ()) if one["in"] == "query"}
        for query in QUERIES.get(name, ("", *more(asked))):
            found, wrong = await world.held(name, filled + query)
            faults += wrong
            if isinstance(found, dict) and found.get("data") == []:
                empty.add(name)
    assert faults == []
    assert unasked == set()
    assert empty & LISTS_MUST_HOLD == set()


def more(asked):
    """Further queries for a route that takes these parameters."""
    included = asked.get("include", {}).get("items", {}).get("enum", ())
    if included:
        yield f"?include={','.join(included)}"
    if "format" in asked:
        yield "?format=csv"
        yield "?format=ndjson"


async def test_every_operation_answers_as_it_is_described(world):
    shipment_id = (await world.daemon.get("/shipments?limit=1"))["data"][0]["id"]
    document_id = (await world.daemon.get("/documents?limit=1"))["data"][0]["id"]
    first, second = (one["id"] for one in (await world.daemon.get("/dead-letters"))["data"])
    event_id = (await world.daemon.get("/events?state=applied&limit=1"))["data"][0]["id"]
    faults = []
    for name, path, status, body in (
        ("pause_queue", "/queue/pause", 200, None),
        ("resume_queue", "/queue/resume", 200, None),
        ("discard_dead_letter", f"/dead-letters/{first}/discard", 200, {"reason": "It is of no use."}),
        ("retry_dead_letter", f"/dead-letters/{second}/retry", 200, None),
        ("retry_dead_letters", "/dead-letters/retry?type=x", 200, None),
        ("replay_event", f"/events/{event_id}/replay", 200, None),
        ("pause_job", "/jobs/retention/pause", 200, None),
        ("resume_job", "/jobs/retention/resume", 200, None),
        ("run_job", "/jobs/retention/run", 202, None),
        ("refresh_shipment", f"/shipments/{shipment_id}/refresh", 200, None),
        ("accept_removals", "/sync/pending-removals/accept", 200, {"resource": "legs"}),
        ("fetch_documents", "/documents/fetch", 202, {"ids": [document_id, "nobody"]}),
        ("verify_documents", "/documents/verify", 202, None),
        ("run_sync", "/sync/run", 202, None),
    ):
        _, wrong = await world.held(name, f"/api/v1{path}", status, body)
        faults += wrong
    assert faults == []


async def test_carbon_figures_are_told_as_they_are_described(world):
    rows = (await world.daemon.get("/shipments"))["data"]
    figures = [await world.daemon.get(f"/shipments/{row['id']}/carbon") for row in rows]
    answers = [
        await world.held("calculate_shipment_carbon", f"/api/v1/shipments/{row['id']}/carbon")
        for row, figure in zip(rows, figures, strict=True)
        if any(one["reason"] == "not calculated yet" for one in figure["missing"])
    ]
    assert answers
    assert [fault for _, wrong in answers for fault in wrong] == []
    assert any(found["data"] for found, _ in answers)


BODIES = (
    ("/dead-letters/1/discard", {"reason": "x" * 501}, "reason"),
    ("/dead-letters/1/discard", {"reason": " \n"}, "reason"),
    ("/dead-letters/1/discard", {"reason": "x", "discarded_by": ""}, "discarded_by"),
    ("/sync/pending-removals/accept", {"resource": "nothing"}, "resource"),
    ("/sync/pending-removals/accept", {"resource": "container_legs"}, "resource"),
    ("/sync/pending-removals/accept", {}, "resource"),
    ("/documents/fetch", {"ids": ["a"] * 501}, "ids"),
    ("/documents/fetch", {"shipment": -1}, "shipment"),
    ("/documents/fetch", {"shipment": 1.5}, "shipment"),
    ("/documents/fetch", {"shipment": 1e300}, "shipment"),
    ("/documents/fetch", {"all": "yes"}, "all"),
    ("/documents/fetch", {"idz": []}, "idz"),
    ("/documents/fetch", {}, None),
    ("/documents/fetch", {"ids": ["a"], "all": True}, None),
)


@pytest.mark.parametrize(("path", "body", "parameter"), BODIES)
async def test_a_body_that_does_not_fit_is_refused_and_named(daemon, path, body, parameter):
    found = await daemon.call(path, body, status=400)
    assert found.get("parameter") == parameter


async def test_an_integer_may_be_written_with_a_point_or_an_exponent(daemon):
    """JSON Schema counts `1.0` as an integer: several clients write every number as a float."""
    for literal, status in (("4005710", 409), ("4005710.0", 409), ("4.00571e6", 409), ("1e999", 400)):
        answer = await daemon.http.post(
            f"{daemon.url}/api/v1/documents/fetch",
            data=f'{{"shipment": {literal}}}',
            headers={"Content-Type": "application/json"},
        )
        assert answer.status == status, await answer.text()  # 409: the body is right; no Flexport is configured
        assert status == 409 or (await answer.json())["parameter"] == "shipment"


@pytest.mark.parametrize("path", ["/dead-letters/1/discard", "/sync/pending-removals/accept", "/documents/fetch"])
async def test_a_body_that_is_no_json_is_refused(daemon, path):
    async with daemon.http.post(f"{daemon.url}/api/v1{path}", data={"reason": "x"}) as answer:
        assert answer.status == 415, await answer.text()


ECMA_BLANKS = r"\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"


def test_what_the_schema_of_a_text_calls_filled_is_filled_for_us_and_nothing_else():
    """JSON Schema's blanks are those of ECMAScript, which are not Python's."""
    ours, theirs = re.compile(NOT_BLANK), re.compile(NOT_BLANK.replace(r"\s", ECMA_BLANKS))
    for char in map(chr, [*range(1, 0xD800), *range(0xE000, 0x10000)]):
        assert bool(ours.search(char)) == bool(theirs.search(char)) == bool(strip(char)), ascii(char)
    assert strip("\x1d a\ufeff") == "a"
