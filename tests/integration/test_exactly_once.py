"""Each operation ends confirmed with exactly one object at Flexport, or unknown with a true account.

Against the sandbox with its faults, and with the process ending before and after each step of the state machine.
"""

import os
import random
from contextlib import asynccontextmanager

import msgspec
import pytest

from flexportd.core.outbox import actions
from flexportd.core.outbox.actions import Actor, WriteCommand
from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.core.outbox.records import OperationRequest
from flexportd.core.outbox.request_builder import WriteRules
from flexportd.core.outbox.sender import OperationHandler
from flexportd.outcome import Snooze
from flexportd.sandbox.catalog.kinds import (
    BOOKING,
    BOOKING_LINE,
    COMMERCIAL_INVOICE,
    COMPANY,
    CONTACT,
    DOCUMENT,
    ENTITY,
    LOCATION,
    PRODUCT,
    SHIPMENT,
)
from flexportd.settings.sections import WRITE_GROUPS
from flexportd.storage.repositories.items import Item
from tests import write_bodies as bodies
from tests.mirrored import mirrored

SEEDS = int(os.environ.get("EXACTLY_ONCE_SEEDS", "80"))
GROUPS = frozenset(kind.group for kind in OPERATION_KINDS.values())
RULES = WriteRules(enabled=True, allow=GROUPS)
ANA = Actor("ana", "key-1")

MADE = {
    "product.create": PRODUCT, "booking.create": BOOKING, "booking_line_item.create": BOOKING_LINE,
    "commercial_invoice.create": COMMERCIAL_INVOICE, "document.upload": DOCUMENT, "company.create": COMPANY,
    "company_entity.create": ENTITY, "contact.create": CONTACT, "location.create": LOCATION,
}  # fmt: skip
FAULTS = (
    None, None, "accepted_then_dropped", "accepted_then_dropped", "dropped_before_accepting", "error_after_accepting",
    "accepted_late", "500", "429", "write_forbidden", "refused_as_duplicate", "reset", "html",
)  # fmt: skip


class ProcessEndedError(BaseException):
    """Stands for kill -9."""


class Ending:
    """Ends the process at one step: before or after a write of the database or a request to Flexport.

    Or something else happens there (`interrupt`).
    """

    def __init__(self, db, client):
        self.undisturbed, self._send = db.write, client.send
        self.left = None
        self.before = True
        self.on_send = None
        self._interruption = None
        db.write, client.send = self.write, self.send

    def arm(self, steps, before):
        self.left, self.before, self._interruption = steps, before, None

    def interrupt(self, steps, interruption):
        """Call this coroutine function before one of the next steps."""
        self.left, self.before, self._interruption = steps, True, interruption

    def _is_now(self):
        if self.left is None:
            return False
        self.left -= 1
        return self.left < 0

    async def _step(self, work):
        is_now = self._is_now()
        if is_now and self.before:
            self.left = None
            if self._interruption is None:
                raise ProcessEndedError
            await self._interruption()
            return await work()
        result = await work()
        if is_now:
            self.left = None
            raise ProcessEndedError
        return result

    async def write(self, work):
        return await self._step(lambda: self.undisturbed(work))

    async def send(self, *arguments):
        if self.on_send is not None:
            self.on_send()
        return await self._step(lambda: self._send(*arguments))


def item_of(number):
    payload = msgspec.json.encode(OperationRequest(number)).decode()
    return Item(**dict.fromkeys(Item.__struct_fields__) | {"id": number, "kind": "operation", "payload": payload})


class Outbox:
    def __init__(self, sandbox, mirror, ending):
        self.sandbox, self.mirror, self.ending = sandbox, mirror, ending
        self.amended = []

    def handler(self, rules=RULES):
        return OperationHandler(
            self.mirror.db, self.mirror.clock, self.mirror.client, self.mirror.intake,
            registry=self.mirror.registry, rules=rules, on_amended=lambda _, key, at: self.amended.append(key),
        )  # fmt: skip

    async def create(self, kind, body, target=None):
        command = WriteCommand(OPERATION_KINDS[kind], body, target)
        at = self.mirror.clock.stamp()
        operation, _ = await self.mirror.db.write(lambda tx: actions.create(tx, command, ANA, RULES, at))
        return operation.id

    async def load(self, number):
        return await self.mirror.db.read(lambda tx: tx.operations.by_id(number))

    async def run(self, number, steps=60):
        """Run the item of an operation until nothing is left to do, as a new process after each end."""
        item = item_of(number)
        for _ in range(steps):
            try:
                outcome = await self.handler().handle(item)
            except ProcessEndedError:
                continue
            if not isinstance(outcome, Snooze):
                return await self.load(number)
            self.mirror.clock.turn(seconds=outcome.seconds)
        raise AssertionError(f"operation {number} does not end: {await self.load(number)}")

    def objects(self, kind):
        return self.sandbox.world.rows(kind)


@asynccontextmanager
async def outbox(folder, **options):
    async with mirrored(folder, **options) as (sandbox, mirror):
        yield Outbox(sandbox, mirror, Ending(mirror.db, mirror.client))


def body_of(kind, world, number):
    """A body that is like no other."""
    unique = f"Run {number}"
    match kind:
        case "product.create":
            return bodies.product(world, sku=f"SKU-{number}")
        case "booking.create":
            return bodies.booking(world, name=unique)
        case "booking_line_item.create":
            return bodies.booking_line_item(world, units=1000 + number)
        case "commercial_invoice.create":
            return bodies.commercial_invoice(world, invoice_number=f"INV-{number}")
        case "document.upload":
            return bodies.document(world, file_name=f"file-{number}.pdf")
        case "company.create":
            return bodies.company(world, name=unique, ref=f"company-{number}")
        case "company_entity.create":
            return bodies.company_entity(world, name=unique, ref=f"entity-{number}")
        case "contact.create":
            return bodies.contact(world, name=unique, email=f"person-{number}@example.com")
        case _:
            return bodies.location(world, name=unique, ref=f"location-{number}")


async def test_every_write_ends_with_one_object_or_a_true_account(tmp_path):
    rng = random.Random(os.environ.get("EXACTLY_ONCE_SEED", "14"))
    async with outbox(tmp_path) as box:
        ended = dict.fromkeys(("confirmed", "failed", "unknown"), 0)
        for number in range(SEEDS):
            kind = rng.choice(list(MADE))
            before = set(box.objects(MADE[kind]))
            for fault in rng.choices(FAULTS, k=rng.randint(1, 3)):
                if fault is not None:
                    box.sandbox.fault(fault, method="POST")
            if rng.random() < 0.6:
                box.ending.arm(rng.randint(0, 9), rng.random() < 0.5)
            operation_id = await _created(box, kind, number)
            if rng.random() < 0.4:
                box.ending.arm(rng.randint(0, 12), rng.random() < 0.5)
            found = await box.run(operation_id)
            box.ending.left = None
            box.sandbox.clear_faults()
            new = set(box.objects(MADE[kind])) - before
            seen = (kind, number, found, new, await _attempts(box, operation_id))
            ended[found.state] += 1
            assert len(new) <= 1, seen
            if found.state == "confirmed":
                assert new == {found.resource_id}, seen
                name = OPERATION_KINDS[kind].resource
                stored = await box.mirror.rows(name, "source")
                assert stored[found.resource_id] == "write", seen
            elif found.state == "failed":
                assert not new, seen
            else:
                assert (found.state, found.needs_decision, bool(found.error)) == ("unknown", True, True), seen
                at = box.mirror.clock.stamp()  # so that it does not hold up others on the same booking
                await box.mirror.db.write(lambda tx: actions.resolve_cancelled(tx, operation_id, ANA, "test", at))  # noqa: B023
        assert min(ended.values()) > 0, ended  # the faults and the ends were enough to see everything


async def _created(box, kind, number):
    """Create an operation; one whose process ends before the commit was never acknowledged, and is created again."""
    while True:
        try:
            return await box.create(kind, body_of(kind, box.sandbox.world, number))
        except ProcessEndedError:
            found = await box.mirror.one("SELECT coalesce(max(id), 0) FROM operations WHERE ended_at IS NULL")
            created = await box.mirror.one("SELECT count(*) FROM operations")
            if created and found and (await box.load(found)).state == "pending":
                return found


async def _attempts(box, number):
    return await box.mirror.db.read(lambda tx: tx.operations.attempts(number, 50))


@pytest.mark.parametrize("fault", [None, "accepted_then_dropped", "dropped_before_accepting", "error_after_accepting"])
async def test_changes_are_repeated_until_they_are_there(tmp_path, fault):
    async with outbox(tmp_path) as box:
        await box.mirror.sync()
        world = box.sandbox.world
        shipment = next(iter(box.objects(SHIPMENT)))
        product = next(iter(box.objects(PRODUCT)))
        for steps in range(0, 12, 3 if fault else 1):
            for kind, body, target in (
                ("shipment.set_metadata", {"metadata": {"PO #": [f"PO-{steps}"]}}, int(shipment)),
                ("product.update", {"name": f"Lamp {steps}"}, int(product)),
            ):
                if fault is not None:
                    box.sandbox.fault(fault, method="PATCH")
                number = await box.create(kind, body, target)
                box.ending.arm(steps, steps % 2 == 0)
                found = await box.run(number)
                box.ending.left = None
                assert (found.state, found.resource_id) == ("confirmed", str(target)), (steps, found)
        assert world.rows(SHIPMENT)[shipment]["metadata"]["PO #"] == ["PO-9" if fault else "PO-11"]
        assert world.rows(PRODUCT)[product]["name"] == ("Lamp 9" if fault else "Lamp 11")


async def test_metadata_keeps_the_keys_of_others(tmp_path):
    async with outbox(tmp_path) as box:
        shipment, before = next(iter(box.objects(SHIPMENT).items()))
        kept = dict(before["metadata"])
        number = await box.create("shipment.set_metadata", {"metadata": {"Season": "Spring"}}, int(shipment))
        assert (await box.run(number)).state == "confirmed"
        assert box.objects(SHIPMENT)[shipment]["metadata"] == {**kept, "Season": ["Spring"]}
        number = await box.create("shipment.set_metadata", {"metadata": {"Season": None}}, int(shipment))
        assert (await box.run(number)).state == "confirmed"
        assert box.objects(SHIPMENT)[shipment]["metadata"] == kept
        sent = len(list(box.sandbox.writes))
        number = await box.create("shipment.set_metadata", {"metadata": {"Season": None}}, int(shipment))
        assert (await box.run(number)).state == "confirmed"  # there was nothing to send
        assert len(list(box.sandbox.writes)) == sent


async def test_an_amendment_that_cannot_be_read_back_is_left_to_a_person(tmp_path):
    async with outbox(tmp_path) as box:
        booking = next(iter(box.objects(BOOKING)))
        number = await box.create("booking.amend", {"new_name": "Amended once"}, int(booking))
        assert (await box.run(number)).state == "confirmed"
        assert box.amended == [int(booking)]
        box.sandbox.fault("pending_amendment")
        number = await box.create("booking.amend", {"new_name": "Amended later"}, int(booking))
        found = await box.run(number)
        assert (found.state, found.is_pending) == ("confirmed", True)
        box.sandbox.apply_amendments()
        box.sandbox.fault("accepted_then_dropped", method="POST")
        number = await box.create("booking.amend", {"new_name": "Amended again"}, int(booking))
        found = await box.run(number)
        assert (found.state, found.resource_id) == ("confirmed", booking)  # the booking shows it
        box.sandbox.fault("dropped_before_accepting", method="POST")
        number = await box.create("booking.amend", {"new_name": "Never arrived"}, int(booking))
        found = await box.run(number)
        assert (found.state, found.needs_decision, found.sends) == ("unknown", True, 1)


async def test_two_orders_with_one_name_are_told_apart_by_their_markers(tmp_path):
    async with outbox(tmp_path) as box:
        body = bodies.booking(box.sandbox.world, name="Twice on purpose")
        first, second = await box.create("booking.create", body), await box.create("booking.create", body)
        for number in (first, second):
            box.sandbox.fault("accepted_then_dropped", method="POST")
            assert (await box.run(number)).state == "confirmed"
        ends = [await box.load(number) for number in (first, second)]
        assert ends[0].resource_id != ends[1].resource_id
        for found in ends:
            assert f"flexportd:{found.key}" in box.objects(BOOKING)[found.resource_id]["special_instructions"]


async def test_an_order_that_is_made_late_is_found_by_a_later_look_up(tmp_path):
    async with outbox(tmp_path) as box:
        number = await box.create("booking.create", bodies.booking(box.sandbox.world, name="Late"))
        box.sandbox.fault("accepted_late", method="POST")
        found = await box.run(number)
        assert (found.state, found.sends) == ("confirmed", 1)


async def test_an_order_that_was_given_up_is_looked_up_before_it_is_retried(tmp_path):
    async with outbox(tmp_path) as box:
        number = await box.create("booking.create", bodies.booking(box.sandbox.world, name="Given up"))
        before = set(box.objects(BOOKING))
        box.sandbox.fault("accepted_then_dropped", method="POST")
        box.sandbox.fault("500", "^/bookings", times=None, method="GET")
        with pytest.raises(AssertionError, match="does not end"):
            await box.run(number, steps=5)  # the look-ups fail
        at = box.mirror.clock.stamp()
        await box.mirror.db.write(lambda tx: actions.resolve_cancelled(tx, number, ANA, "not needed", at))
        box.sandbox.clear_faults()
        await box.mirror.db.write(lambda tx: actions.retry(tx, number, ANA, RULES, at))
        found = await box.run(number)
        assert (found.state, found.sends) == ("confirmed", 1)
        assert {found.resource_id} == set(box.objects(BOOKING)) - before


async def test_flexport_that_is_away_for_a_day_costs_no_order_and_a_longer_absence_fails_it(tmp_path):
    async with outbox(tmp_path) as box:
        number = await box.create("product.create", bodies.product(box.sandbox.world, sku="AWAY"))
        box.sandbox.fault("429", times=None)
        found = await box.run(number, steps=2000)
        assert found.state == "failed"
        assert "within 24 hours" in found.error
        assert found.sends > 1
        box.sandbox.clear_faults()
        at = box.mirror.clock.stamp()
        await box.mirror.db.write(lambda tx: actions.retry(tx, number, ANA, RULES, at))
        assert (await box.run(number)).state == "confirmed"


def test_the_settings_know_the_groups():
    assert set(WRITE_GROUPS) == GROUPS
