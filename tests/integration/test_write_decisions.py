"""Writes while people decide and Flexport answers oddly: what was decided stands, and nothing is confirmed on a guess."""

import asyncio
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flexportd.core.outbox import sender
from flexportd.daemon import outbox_service
from flexportd.sandbox.catalog.kinds import BOOKING, COMMERCIAL_INVOICE, CONTACT, LOCATION, PRODUCT, SHIPMENT
from flexportd.settings import Settings
from tests import write_bodies as bodies
from tests.integration import test_operations_api
from tests.integration.test_operations_api import confirmed, flexport, running, writing
from tests.under_test import DatedClock, look_again

REASON = {"reason": "Decided by phone"}


@pytest.fixture
async def writes(tmp_path, monkeypatch):
    monkeypatch.setattr(sender, "LOOKUP_DELAYS", (0.0, 0.0))
    async with writing(tmp_path) as opened:
        yield opened


async def becomes(writes, number, *states, **members):
    """The operation once it is in one of these states and has these members."""
    async with asyncio.timeout(20):
        while True:
            found = await writes.daemon.get(f"/operations/{number}")
            if found["state"] in states and all(found[name] == value for name, value in members.items()):
                return found
            await look_again()


async def unknown(writes, method, path, body):
    """An operation whose request was lost before Flexport accepted it, and which a person must decide."""
    writes.sandbox.fault("dropped_before_accepting", method=method)
    number = (await writes.send(method, path, body))["id"]
    return await becomes(writes, number, "unknown", needs_decision=True)


async def test_a_change_is_not_confirmed_by_fields_that_did_not_change(writes):
    """A lost change of lines or suppliers is sent again, although the other fields have their values already."""
    invoice = bodies.commercial_invoice(writes.world)
    made = (await writes.write("POST", "/commercial-invoices", invoice))["resource_id"]
    line = {**invoice["line_items"][0], "quantity": {"value": 20, "unit": "pcs"},
            "value": {"amount": "241.00", "currency_code": "USD"}}  # fmt: skip
    change = {"invoice_number": invoice["invoice_number"], "currency_code": "USD", "line_items": [line]}
    writes.sandbox.fault("dropped_before_accepting", method="PATCH")
    found = await writes.send("PATCH", f"/commercial-invoices/{made}", change)
    await confirmed(writes, found["id"])
    assert len(writes.objects(COMMERCIAL_INVOICE)[made]["line_items"]) == 1
    product = next(one for one in writes.objects(PRODUCT).values() if one["archived_at"] is None)
    location = next(iter(writes.objects(LOCATION).values()))
    suppliers = [{"ref": location["ref"], "country_of_origin": "VN"}]
    writes.sandbox.fault("dropped_before_accepting", method="PATCH")
    change = {"name": product["name"], "suppliers": suppliers, "product_properties": [{"type": "fit", "value": "E27"}]}
    found = await writes.send("PATCH", f"/products/{product['id']}", change)
    await confirmed(writes, found["id"])
    stored = writes.objects(PRODUCT)[str(product["id"])]
    assert [one["ref"] for one in stored["suppliers"]] == [location["ref"]]
    assert [one["value"] for one in stored["product_properties"]] == ["E27"]


async def test_a_retry_looks_again_whether_flexport_has_it(writes):
    """What Flexport had when an operation failed says nothing about what it has when somebody retries it."""
    body = bodies.contact(writes.world)
    writes.sandbox.fault("write_forbidden", method="POST")
    first = (await writes.write("POST", "/contacts", body))["id"]
    await becomes(writes, first, "failed")
    assert (await writes.write("POST", "/contacts", body))["state"] == "confirmed"
    before = set(writes.objects(CONTACT))
    await writes.daemon.call(f"/operations/{first}/retry")
    found = await becomes(writes, first, "failed", "confirmed")
    assert (found["state"], set(writes.objects(CONTACT))) == ("failed", before)
    assert "already has one" in found["error"]


class SlowReader:
    """Flexport's client, whose lists wait for `go` once `hold` is set; `waits` is set while one does."""

    def __init__(self, client):
        self._client = client
        self.hold, self.waits, self.go = False, asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._client, name)

    async def page(self, *args):
        await self._wait()
        return await self._client.page(*args)

    async def get(self, *args):
        await self._wait()
        return await self._client.get(*args)

    async def _wait(self):
        if self.hold:
            self.waits.set()
            await self.go.wait()


def slow_reader(writes, monkeypatch):
    handler = writes.daemon.daemon.outbox.handler
    reader = SlowReader(handler._client)
    monkeypatch.setattr(handler, "_client", reader)
    return reader


async def looked_up_again(writes, number, reader):
    """Retry an operation with an unknown outcome; returns while its look-up waits for Flexport."""
    reader.hold = True
    await writes.daemon.call(f"/operations/{number}/retry")
    await asyncio.wait_for(reader.waits.wait(), 20)


async def test_a_look_up_does_not_undo_what_a_person_decided_during_it(writes, monkeypatch):
    lost = await unknown(writes, "POST", "/bookings", bodies.booking(writes.world))
    reader = slow_reader(writes, monkeypatch)
    await looked_up_again(writes, lost["id"], reader)
    await writes.daemon.call(f"/operations/{lost['id']}/resolve", {"action": "resend", **REASON})
    reader.go.set()
    await confirmed(writes, lost["id"])


async def test_a_look_up_is_no_way_around_an_approval(tmp_path, monkeypatch):
    monkeypatch.setattr(sender, "LOOKUP_DELAYS", (0.0, 0.0))
    async with writing(tmp_path, **{"writes.approval": ["products"]}) as writes:
        sent = list(writes.sandbox.writes)
        number = (await writes.send("POST", "/products", bodies.product(writes.world)))["id"]
        writes.sandbox.fault("dropped_before_accepting", method="POST")
        reader = slow_reader(writes, monkeypatch)
        reader.hold = True
        await writes.send("POST", f"/operations/{number}/approve", None, 200, X_Flexportd_By="Ben")
        await asyncio.wait_for(reader.waits.wait(), 20)
        reader.waits.clear()
        reader.go.set()  # the first look-up
        reader.go.clear()
        await asyncio.wait_for(reader.waits.wait(), 20)  # the second one, after which it would be sent again
        await writes.daemon.call(f"/operations/{number}/resolve", {"action": "cancel", **REASON})
        again = await writes.daemon.call(f"/operations/{number}/retry")
        assert again["state"] == "awaiting_approval"
        reader.go.set()
        await becomes(writes, number, "awaiting_approval")
        async with asyncio.timeout(20):
            while (await writes.daemon.get("/queue"))["leased"]:
                await look_again()
        assert (await writes.daemon.get(f"/operations/{number}"))["state"] == "awaiting_approval"
        assert len(list(writes.sandbox.writes)) == len(sent) + 1


async def test_a_failure_does_not_end_what_a_person_retried_meanwhile(writes, monkeypatch):
    reader = slow_reader(writes, monkeypatch)
    reader.hold = True
    shipment = next(iter(writes.objects(SHIPMENT)))
    number = (await writes.send("PATCH", f"/shipments/{shipment}", {"metadata": {"Team": "North"}}))["id"]
    await asyncio.wait_for(reader.waits.wait(), 20)
    await writes.daemon.call(f"/operations/{number}/cancel", REASON)
    await writes.daemon.call(f"/operations/{number}/retry")
    writes.sandbox.fault("403", f"^/shipments/{shipment}", method="GET")
    reader.go.set()
    found = await becomes(writes, number, "confirmed", "failed")
    assert (found["state"], found["sends"]) == ("confirmed", 1)


async def test_a_write_that_flexport_may_have_made_is_never_called_failed(writes):
    """A change that was lost three times, and cannot be prepared any more: Flexport may have made it all the same."""
    shipment = next(iter(writes.objects(SHIPMENT)))
    writes.sandbox.fault("dropped_before_accepting", method="PATCH", times=3)
    number = (await writes.send("PATCH", f"/shipments/{shipment}", {"metadata": {"Team": "North"}}))["id"]
    await becomes(writes, number, "unknown", needs_decision=True, sends=3)
    writes.sandbox.fault("403", f"^/shipments/{shipment}", method="GET")
    await writes.daemon.call(f"/operations/{number}/resolve", {"action": "resend", **REASON})
    found = await becomes(writes, number, "unknown", "failed", needs_decision=True)
    assert found["state"] == "unknown"
    await writes.daemon.call(f"/operations/{number}/resolve", {"action": "resend", **REASON})
    await confirmed(writes, number)


async def test_an_earlier_write_waits_for_a_later_one_that_was_sent_before_it(writes):
    """An operation that is retried is sent in its turn: after one on the same object whose outcome is unknown."""
    shipment = next(iter(writes.objects(SHIPMENT)))
    writes.sandbox.fault("write_forbidden", method="PATCH")
    path = f"/shipments/{shipment}"
    first = (await writes.write("PATCH", path, {"metadata": {"Team": "North"}}))["id"]
    await becomes(writes, first, "failed")
    writes.sandbox.fault("dropped_before_accepting", method="PATCH", times=3)
    second = (await writes.send("PATCH", path, {"metadata": {"Team": "South"}}))["id"]
    await becomes(writes, second, "unknown", needs_decision=True)
    await writes.daemon.call(f"/operations/{first}/retry")
    async with asyncio.timeout(20):
        while not (found := await writes.daemon.get(f"/operations/{first}"))["error"] and found["state"] == "pending":
            await look_again()
    assert (found["state"], found["error"]) == ("pending", f"operation {second} on the same object comes first")
    await writes.daemon.call(f"/operations/{second}/resolve", {"action": "resend", **REASON})
    await confirmed(writes, first)
    await confirmed(writes, second)


async def test_a_write_is_confirmed_only_as_what_it_can_have_made(writes):
    first, second = (one for one in list(writes.objects(PRODUCT))[:2])
    writes.sandbox.fault("dropped_before_accepting", method="PATCH", times=3)
    number = (await writes.send("PATCH", f"/products/{first}", {"description": "Brass"}))["id"]
    await becomes(writes, number, "unknown", needs_decision=True)

    async def confirm(number, key, status):
        body = {"action": "confirm", "confirmed_as": key, **REASON}
        return await writes.daemon.call(f"/operations/{number}/resolve", body, status)

    assert f"changes product {first}" in (await confirm(number, second, 409))["detail"]
    assert (await confirm(number, first, 200))["resource_id"] == first
    made = await writes.write("POST", "/bookings", bodies.booking(writes.world))
    lost = await unknown(writes, "POST", "/bookings", bodies.booking(writes.world))
    problem = await confirm(lost["id"], made["resource_id"], 409)
    assert f"operation {made['id']} made booking {made['resource_id']}" in problem["detail"]
    assert (await writes.daemon.get(f"/operations/{lost['id']}"))["needs_decision"]


async def test_of_two_decisions_the_first_counts(writes, monkeypatch):
    lost = await unknown(writes, "POST", "/bookings", bodies.booking(writes.world))
    reader = slow_reader(writes, monkeypatch)
    reader.hold = True
    path, booking = f"/operations/{lost['id']}", next(iter(writes.objects(BOOKING)))
    body = {"action": "confirm", "confirmed_as": booking, **REASON}
    confirming = asyncio.create_task(writes.daemon.call(f"{path}/resolve", body, 409))
    await asyncio.wait_for(reader.waits.wait(), 20)
    await writes.daemon.call("/queue/pause")
    await writes.daemon.call(f"{path}/resolve", {"action": "resend", **REASON})
    reader.go.set()
    assert "somebody else has decided" in (await confirming)["detail"]
    await writes.daemon.call("/queue/resume")
    assert (await confirmed(writes, lost["id"]))["resource_id"] != booking


class OddWriter:
    """Flexport's client, whose answers to writes have another id."""

    def __init__(self, client, value):
        self._client, self._value = client, value

    def __getattr__(self, name):
        return getattr(self._client, name)

    async def send(self, *args):
        answer = await self._client.send(*args)
        return replace(answer, text=json.dumps({**json.loads(answer.text), "id": self._value}).encode())


async def test_an_answer_without_the_id_of_the_object_confirms_nothing(writes, monkeypatch):
    """The look-up finds what Flexport made."""
    handler = writes.daemon.daemon.outbox.handler
    client, first = handler._client, next(iter(writes.objects(PRODUCT)))
    for number, value in enumerate((None, "", True, 1.5, [1], {})):
        monkeypatch.setattr(handler, "_client", OddWriter(client, value))
        body = bodies.product(writes.world, sku=f"ODD-{number}")
        found = await confirmed(writes, (await writes.send("POST", "/products", body))["id"])
        assert writes.objects(PRODUCT)[found["resource_id"]]["sku"] == body["sku"], value
        assert (await writes.daemon.get(f"/products/{found['resource_id']}"))["sku"] == body["sku"]
        description = f"Brass {number}"
        found = await writes.send("PATCH", f"/products/{first}", {"description": description})
        found = await confirmed(writes, found["id"])
        assert (await writes.daemon.get(f"/products/{first}"))["description"] == description
    monkeypatch.setattr(handler, "_client", OddWriter(client, int(found["resource_id"]) + 1))
    found = await writes.send("PATCH", f"/products/{first}", {"description": "Copper"})
    await confirmed(writes, found["id"])
    assert (await writes.daemon.get(f"/products/{first}"))["description"] == "Copper"


def reload(writes, tmp_path, **changes):
    values = {"writes.enabled": True, "api.require_key": False, "sync.refresh_after_event": False, **changes}
    writes.daemon.daemon.outbox.reload(Settings.for_tests(tmp_path, **values))


async def test_what_is_not_sent_yet_needs_an_approval_once_its_kind_does(writes, tmp_path):
    await writes.daemon.call("/queue/pause")
    number = (await writes.send("POST", "/products", bodies.product(writes.world)))["id"]
    reload(writes, tmp_path, **{"writes.approval": ["products", "bookings"]})
    await writes.daemon.call("/queue/resume")
    await becomes(writes, number, "awaiting_approval")
    assert list(writes.sandbox.writes) == []
    await writes.send("POST", f"/operations/{number}/approve", None, 403)
    await writes.send("POST", f"/operations/{number}/approve", None, 200, X_Flexportd_By="Ben")
    await confirmed(writes, number)
    reload(writes, tmp_path)
    lost = await unknown(writes, "POST", "/bookings", bodies.booking(writes.world))
    reload(writes, tmp_path, **{"writes.approval": ["bookings"]})
    path, body = f"/operations/{lost['id']}/resolve", {"action": "resend", **REASON}
    assert "somebody else" in (await writes.send("POST", path, body, 403))["detail"]
    await writes.send("POST", path, body, 200, X_Flexportd_By="Ben")
    await confirmed(writes, lost["id"])


async def test_writes_that_are_disabled_while_one_is_prepared_are_not_sent(writes, tmp_path, monkeypatch):
    reader = slow_reader(writes, monkeypatch)
    reader.hold = True
    number = (await writes.send("POST", "/contacts", bodies.contact(writes.world)))["id"]
    await asyncio.wait_for(reader.waits.wait(), 20)
    reload(writes, tmp_path, **{"writes.enabled": False})
    reader.go.set()
    async with asyncio.timeout(20):
        while not (found := await writes.daemon.get(f"/operations/{number}"))["error"]:
            await look_again()
    assert (found["state"], "disabled" in found["error"]) == ("pending", True)
    assert list(writes.sandbox.writes) == []


async def test_pending_amendments_are_followed_however_many_there_are(writes, monkeypatch):
    """One that Flexport never applies does not keep others from being noticed."""
    monkeypatch.setattr(outbox_service, "_MAX_FOLLOWED", 1)
    booking, other = list(writes.objects(BOOKING))[:2]
    writes.sandbox.fault("pending_amendment", times=3)
    numbers = [
        (await writes.write("POST", f"/bookings/{one}/amendments", body))["id"]
        for one, body in (
            (booking, {"amendment_note": "Call the factory first"}),
            (other, {"new_name": "Renamed"}),
            (other, {"new_name": "Renamed", "new_destination_port_loc_code": bodies.port_code(writes.world, "US")}),
        )
    ]
    outbox = writes.daemon.daemon.outbox
    await outbox.follow_up_amendments()
    assert (await becomes(writes, numbers[1], "confirmed"))["pending_at_flexport"]
    writes.sandbox.override(BOOKING, other, name="Renamed")
    await writes.daemon.call("/sync/run", status=202)
    async with asyncio.timeout(20):
        while (await writes.daemon.get(f"/operations/{numbers[1]}"))["pending_at_flexport"]:
            await outbox.follow_up_amendments(refetch=True)
            writes.daemon.daemon.clock.turn(seconds=5)
            await look_again()


async def test_an_amendment_is_not_applied_because_the_booking_had_its_values(writes):
    booking, wire = next(iter(writes.objects(BOOKING).items()))
    writes.sandbox.fault("pending_amendment")
    note = "Deliver to the back gate"
    body = {"new_name": wire["name"], "amendment_note": note}
    number = (await writes.write("POST", f"/bookings/{booking}/amendments", body))["id"]
    await writes.daemon.daemon.outbox.follow_up_amendments()
    assert (await becomes(writes, number, "confirmed"))["pending_at_flexport"]


async def test_metadata_that_cannot_be_read_is_not_replaced(writes):
    shipment = next(iter(writes.objects(SHIPMENT)))
    for odd in ([{"name": "Team", "value": "North"}], "Team", 7):
        writes.sandbox.override(SHIPMENT, shipment, metadata=odd)
        found = await writes.write("PATCH", f"/shipments/{shipment}", {"metadata": {"Lane": "A"}})
        assert (found["state"], found["sends"], "metadata" in found["error"]) == ("failed", 0, True)
    writes.sandbox.override(SHIPMENT, shipment, metadata=None)
    found = await writes.write("PATCH", f"/shipments/{shipment}", {"metadata": {"Lane": "A"}})
    assert found["state"] == "confirmed"


async def test_a_change_to_null_only_changes_nothing(writes):
    booking, product = next(iter(writes.objects(BOOKING))), next(iter(writes.objects(PRODUCT)))
    for method, path, body in (
        ("POST", f"/bookings/{booking}/amendments", {"new_name": None}),
        ("PATCH", f"/products/{product}", {"name": None, "suppliers": None}),
    ):
        assert "changes nothing" in (await writes.send(method, path, body, 400))["detail"]


async def test_an_idempotency_key_finds_its_operation_also_when_nothing_may_be_written(writes, tmp_path):
    product = next(iter(writes.objects(PRODUCT)))
    for method, path, body in (
        ("POST", "/products", bodies.product(writes.world)), ("PATCH", f"/products/{product}", {"description": "Brass"}),
    ):  # fmt: skip
        reload(writes, tmp_path)
        first = await writes.write(method, path, body, Idempotency_Key=path)
        reload(writes, tmp_path, **{"writes.enabled": False})
        assert (await writes.send(method, path, body, Idempotency_Key=path))["id"] == first["id"]
        assert "disabled" in (await writes.send(method, path, body, 403, Idempotency_Key="other"))["detail"]


async def test_a_marker_in_a_text_is_not_sent_again(writes):
    """The instructions of an earlier booking, copied into a new one, do not make it the result of the earlier one."""
    lost = await unknown(writes, "POST", "/bookings", bodies.booking(writes.world, name="Lost"))
    sent = (await writes.daemon.get(f"/operations/{lost['id']}"))["attempts"][0]["request"]
    copy = bodies.booking(writes.world, name="Copy", special_instructions=sent["special_instructions"])
    writes.sandbox.fault("accepted_then_dropped", method="POST")
    found = await confirmed(writes, (await writes.send("POST", "/bookings", copy))["id"])
    instructions = writes.objects(BOOKING)[found["resource_id"]]["special_instructions"]
    assert instructions.count("flexportd:") == sent["special_instructions"].count("flexportd:")
    assert sent["special_instructions"].rsplit("flexportd:", 1)[1] not in instructions


async def test_a_push_that_goes_back_to_earlier_values_is_not_the_earlier_one(writes):
    """The values of the last push count, also while earlier ones wait."""
    product = next(one for one in writes.objects(PRODUCT).values() if one["archived_at"] is None)
    await writes.daemon.call("/queue/pause")

    async def push(description):
        rows = [{"sku": product["sku"], "description": description}]
        return (await writes.daemon.call("/products/push", {"rows": rows}))["rows"][0]

    first, again, second, back = [await push(one) for one in ("Brass", "Brass", "Copper", "Brass")]
    assert [one["action"] for one in (first, again, second, back)] == ["update", "pending", "update", "update"]
    await writes.daemon.call("/queue/resume")
    await confirmed(writes, back["operation_id"])
    assert writes.objects(PRODUCT)[str(product["id"])]["description"] == "Brass"


async def test_after_a_restore_a_booking_is_found_although_our_clock_is_fast(tmp_path, monkeypatch):
    fast = datetime(2026, 3, 21, 15, tzinfo=UTC)  # three hours ahead of Flexport
    monkeypatch.setattr(test_operations_api, "DatedClock", lambda: DatedClock(fast))
    data, backup = tmp_path / "data", tmp_path / "backup.db"
    async with flexport() as sandbox:
        body = bodies.booking(sandbox.world)
        async with running(tmp_path, sandbox) as writes:
            await writes.daemon.call("/queue/pause")
            number = (await writes.send("POST", "/bookings", body))["id"]
        shutil.copy(data / "flexportd.db", backup)
        async with running(tmp_path, sandbox) as writes:
            await writes.daemon.call("/queue/resume")
            made = (await confirmed(writes, number))["resource_id"]
        for file in data.glob("flexportd.db*"):
            file.unlink()
        shutil.copy(backup, data / "flexportd.db")
        async with running(tmp_path, sandbox) as writes:
            await writes.daemon.call("/queue/resume")
            found = await becomes(writes, number, "confirmed", "unknown")
            while found["state"] == "unknown" and not found["lookups"]:
                await look_again()
                found = await writes.daemon.get(f"/operations/{number}")
            assert (found["state"], found["resource_id"]) == ("confirmed", made)


async def test_the_first_write_after_a_start_is_found_although_our_clock_is_fast(tmp_path, monkeypatch):
    """No response has shown Flexport's clock before it is sent."""
    fast = datetime(2026, 3, 21, 15, tzinfo=UTC)
    monkeypatch.setattr(test_operations_api, "DatedClock", lambda: DatedClock(fast))
    async with flexport() as sandbox, running(tmp_path, sandbox) as writes:
        sandbox.fault("accepted_then_dropped", method="POST")
        number = (await writes.send("POST", "/bookings", bodies.booking(sandbox.world)))["id"]
        assert (await becomes(writes, number, "confirmed", "unknown"))["state"] == "confirmed"


async def test_an_idempotency_key_without_an_api_key_is_one_for_all_people(writes):
    """The same command, repeated as root after a lost response, is not a second booking."""
    body = bodies.booking(writes.world)
    first = await writes.write("POST", "/bookings", body, Idempotency_Key="po-1", X_Flexportd_By="ana")
    for name in ("root", "ana", ""):
        again = await writes.write("POST", "/bookings", body, Idempotency_Key="po-1", X_Flexportd_By=name)
        assert (again["id"], again["created_by"]) == (first["id"], "ana"), name
    made = await writes.daemon.call("/keys", {"name": "ERP", "scope": "write"}, 201)
    other = {"Authorization": f"Bearer {made['token']}"}
    assert (await writes.write("POST", "/bookings", body, Idempotency_Key="po-1", **other))["id"] != first["id"]


async def test_a_write_that_waits_for_an_approval_again_is_not_unknown(writes, tmp_path):
    lost = await unknown(writes, "POST", "/bookings", bodies.booking(writes.world))
    reload(writes, tmp_path, **{"writes.approval": ["bookings"]})
    await writes.daemon.call(f"/operations/{lost['id']}/resolve", {"action": "cancel", **REASON})
    again = await writes.daemon.call(f"/operations/{lost['id']}/retry")
    assert (again["state"], again["unknown_since"]) == ("awaiting_approval", None)


async def test_an_idempotency_key_finds_its_operation_also_when_the_object_is_gone(writes):
    product = next(iter(writes.objects(PRODUCT)))
    path, body = f"/products/{product}", {"description": "Brass"}
    first = await writes.write("PATCH", path, body, Idempotency_Key="brass")
    writes.sandbox.delete(PRODUCT, product)
    await writes.daemon.call(f"{path}/refresh")
    assert (await writes.daemon.get(path))["removed_at"]
    assert (await writes.send("PATCH", path, body, Idempotency_Key="brass"))["id"] == first["id"]
    await writes.send("PATCH", path, body, 404, Idempotency_Key="other")
    await writes.send("PATCH", f"{path}?dry_run=true", body, 404, Idempotency_Key="brass")
