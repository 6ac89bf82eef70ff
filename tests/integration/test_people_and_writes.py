"""Whatever people decide while a write is sent and looked up: one object at most, and nothing without an approval."""

import os
import random

import pytest

from flexportd.core.outbox import actions
from flexportd.core.outbox.actions import Actor, WriteCommand
from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.core.outbox.request_builder import WriteRules
from flexportd.errors import ConflictError, ForbiddenError
from flexportd.flexport.errors import FlexportError
from flexportd.outcome import Snooze
from tests.integration.test_exactly_once import ANA, GROUPS, MADE, body_of, item_of, outbox

SEEDS = int(os.environ.get("EXACTLY_ONCE_SEEDS", "80"))
BEN = Actor("ben", "key-2")
RULES = WriteRules(enabled=True, allow=GROUPS, approval=GROUPS)
FAULTS = (
    None,
    None,
    "accepted_then_dropped",
    "dropped_before_accepting",
    "error_after_accepting",
    "500",
    "429",
    "reset",
)
REFUSED = (ConflictError, ForbiddenError, FlexportError)


class People:
    """Ana creates an operation; she and Ben decide at any moment, and tell the truth about what Flexport has."""

    def __init__(self, box, rng, kind, number):
        self.box, self.rng, self.kind, self.number = box, rng, kind, number
        self.before = set(box.objects(MADE[kind]))
        self.is_approved = False
        self.done = []

    @property
    def made(self):
        return sorted(set(self.box.objects(MADE[self.kind])) - self.before)

    def check_approved(self):
        assert self.is_approved, ("sent without an approval", self.done)

    async def write(self, work):
        return await self.box.ending.undisturbed(work)

    async def decide(self):
        """One decision, which may be refused."""
        who, name = (
            self.rng.choice((ANA, BEN, BEN)),
            self.rng.choice(("approve", "approve", "cancel", "retry", "resolve")),
        )
        try:
            await getattr(self, name)(who)
        except REFUSED:
            return
        self.done.append((name, who.name))

    async def approve(self, who):
        at = self.box.mirror.clock.stamp()
        await self.write(lambda tx: actions.approve(tx, self.number, who, at))
        assert who is not ANA
        self.is_approved = True

    async def cancel(self, who):
        at = self.box.mirror.clock.stamp()
        await self.write(lambda tx: actions.cancel(tx, self.number, who, "not needed", at))
        self.is_approved = False

    async def retry(self, who):
        at = self.box.mirror.clock.stamp()
        await self.write(lambda tx: actions.retry(tx, self.number, who, RULES, at))

    async def resolve(self, who):
        at = self.box.mirror.clock.stamp()
        if self.made:
            operation = await self.box.mirror.db.read(lambda tx: actions.resolvable(tx, self.number))
            await self.box.handler(RULES).confirm(operation, self.made[0], "found", who.name)
        elif self.rng.random() < 0.5:
            await self.write(lambda tx: actions.resend(tx, self.number, who, RULES, reason="not there", at=at))
        else:
            await self.write(lambda tx: actions.resolve_cancelled(tx, self.number, who, "given up", at))
            self.is_approved = False


def give_up(tx, number, at):
    """Whatever state it is in: a person can end it."""
    possible = tx.operations.was_possibly_accepted(number) or actions.load(tx, number).state == "unknown"
    end = actions.resolve_cancelled if possible else actions.cancel
    end(tx, number, BEN, "test", at)


async def run(people, box, rng):
    """Handle the item and let people decide in turns, or in the middle of each other."""
    for _ in range(rng.randint(4, 20)):
        if rng.random() < 0.5:
            await people.decide()
            continue
        box.ending.interrupt(rng.randint(0, 6), people.decide)
        outcome = await box.handler(RULES).handle(item_of(people.number))
        box.ending.left = None
        if isinstance(outcome, Snooze):
            box.mirror.clock.turn(seconds=outcome.seconds)


@pytest.mark.parametrize("seed", range(4))
async def test_people_decide_at_any_moment(tmp_path, seed):
    rng = random.Random(f"people {seed} {os.environ.get('EXACTLY_ONCE_SEED', '')}")
    async with outbox(tmp_path) as box:
        ended = set()
        for number in range(SEEDS // 4):
            kind = rng.choice(list(MADE))
            command = WriteCommand(OPERATION_KINDS[kind], body_of(kind, box.sandbox.world, number))
            at = box.mirror.clock.stamp()
            operation, _ = await box.mirror.db.write(lambda tx: actions.create(tx, command, ANA, RULES, at))  # noqa: B023
            people = People(box, rng, kind, operation.id)
            box.ending.on_send = people.check_approved
            for fault in rng.choices(FAULTS, k=rng.randint(0, 3)):
                if fault is not None:
                    box.sandbox.fault(fault, method="POST")
            await run(people, box, rng)
            box.ending.on_send = None
            box.sandbox.clear_faults()
            found = await box.load(operation.id)
            seen = (kind, seed, number, people.done, found, people.made)
            ended.add(found.state)
            assert len(people.made) <= 1, seen
            assert people.made == [found.resource_id] or found.state != "confirmed", seen
            assert not people.made or found.state != "failed", seen
            if found.ended_at is None:  # else it holds up others on the same booking
                await box.mirror.db.write(lambda tx: give_up(tx, operation.id, box.mirror.clock.stamp()))  # noqa: B023
        assert ended >= {"confirmed", "cancelled", "unknown"}
