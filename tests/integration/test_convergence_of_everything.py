"""Lost, doubled, late and reordered webhooks, polling, incremental and full sync: the end is the world, exactly."""

import asyncio
import json
import random
from datetime import timedelta

import pytest

from flexportd.core.events.applier import EventApplier
from flexportd.ingest.event_store import EVENT, IncomingEvent, store_webhook
from flexportd.queue.handlers import Completion, Policy
from flexportd.storage.repositories.events import ReceivedEvent
from tests.mirrored import mirrored, world_of


class Webhooks:
    """Delivers a world's events as badly as a network can."""

    def __init__(self, mirror, rnd):
        self.mirror = mirror
        self.rnd = rnd
        self.late = []
        self.applier = EventApplier(mirror.registry, mirror.clock)

    async def deliver(self, events):
        """Some are lost, some doubled, some come later than what follows."""
        due, self.late = self.late, []
        for event in events:
            fate = self.rnd.random()
            if fate < 0.25:
                continue
            (self.late if fate < 0.45 else due).append(event)
            if fate > 0.85:
                due.append(event)
        self.rnd.shuffle(due)
        await self.keep(due, "webhook")

    async def keep(self, events, source):
        if not events:
            return
        at = self.mirror.clock.stamp()
        some = [
            IncomingEvent(ReceivedEvent(str(one["id"]), one["type"], source, at, "{}", json.dumps(one).encode()))
            for one in events
        ]

        def work(tx):
            store_webhook(tx, some)
            items = tx.items.due(EVENT, "9999", 1000)
            done, _ = self.applier(tx, items, lambda: False)
            Completion(Policy(), self.applier.on_dead, self.mirror.clock).complete(tx, done, counted=False)

        await self.mirror.db.write(work)


@pytest.mark.parametrize("seed", range(6))
async def test_the_end_is_the_world(tmp_path, seed):
    rnd = random.Random(seed)
    async with mirrored(tmp_path, seed=seed, shipments=5) as (sandbox, mirror):
        webhooks = Webhooks(mirror, rnd)
        if rnd.random() < 0.5:
            await mirror.sync()
        for _ in range(rnd.randint(6, 12)):
            hours = rnd.randint(2, 60)
            mirror.clock.turn(hours=hours)
            events = sandbox.world.advance(sandbox.world.now + timedelta(hours=hours))
            shipments = sandbox.world.rows("/shipment")
            if rnd.random() < 0.4 and shipments:
                key = rnd.choice(list(shipments))
                sandbox.edit_shipment(
                    int(key), {"estimated_arrival_date": f"2027-01-{rnd.randint(10, 28)}T12:00:00.000Z"}
                )
            deed = rnd.random()
            if deed < 0.25:
                # A list is read while webhooks come in.
                await asyncio.gather(mirror.sync(), webhooks.deliver(events))
            elif deed < 0.5:
                await webhooks.deliver(events)
                await mirror.catch_up()
            else:
                await webhooks.deliver(events)
        # What was lost is found by polling, in any order; the rest by the lists.
        lost = list(sandbox.world.events)
        rnd.shuffle(lost)
        await webhooks.keep(lost, "events")
        for _ in range(2):
            mirror.clock.turn(minutes=10)
            await mirror.sync()
            assert mirror.state == "complete", mirror.sentence
        assert await mirror.export() == world_of(sandbox, mirror)
        # And events of old change nothing any more.
        before = await mirror.export()
        await mirror.db.write(lambda tx: tx.raw.execute("DELETE FROM event_payloads"))
        await mirror.db.write(lambda tx: tx.raw.execute("DELETE FROM events"))
        again = list(sandbox.world.events)
        rnd.shuffle(again)
        await webhooks.keep(again, "webhook")
        assert await mirror.export() == before
