"""What notifications cost: 10,000 changes of an arrival in one burst, matched by a rule and composed into messages.

    python bench/notifications.py                      in this process, on a store in a temporary folder
    python bench/notifications.py --events 50000 --shipments 5000

Prints the CPU of each step per change, and how many messages they became for people and for a program.
"""

import argparse
import asyncio
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flexportd.clock import Clock
from flexportd.core.resources.registry import REGISTRY
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.notify.composer import Composer
from flexportd.notify.composition import ChannelInfo, NotifyConfig
from flexportd.notify.notifier import Notifier, RuleMatcher
from flexportd.notify.rule_template import render_template
from flexportd.notify.rules import compile_rules
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.repositories.resources import Record

BATCH = 500  # changes in one commit, as in a burst of webhooks
MAIL = {"type": "email", "to": "a@example.com", "from": "b@example.com", "smtp_host": "127.0.0.1"}
RULE = {"name": "ETA slips", "on": "shipment.eta_changed", "when": {"mode": "ocean"}}


def write_changes(tx, first, shipments):
    """One commit with the next changes."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=first)
    stamp = at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    work, table = UnitOfWork(tx), REGISTRY["shipments"]
    for number in range(first, first + BATCH):
        day = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(days=number // shipments * 3)
        fields = dict.fromkeys(table.table.names) | {
            "name": f"PO {number % shipments}",
            "mode": "ocean",
            "vessel": f"VESSEL {number % 200}",
            "estimated_arrival": day.isoformat(),
            "consignees": json.dumps(["Example Imports"]),
        }
        record = Record(1 + number % shipments, fields, "{}", stamp, number, "webhook", stamp, stamp)
        work.put(table, record, ChangeCause(stamp, "webhook", str(number)))
    work.flush(stamp)


async def measure(folder, args, channel):
    """CPU seconds of matching and of composing, the number of notifications, and of messages."""
    async with Database.open(folder) as db:
        clock = Clock()
        settings = Settings.for_tests(folder, **{"notify.rules": [RULE], "notify.channels.team": MAIL})
        rules = compile_rules(settings)
        config = NotifyConfig(REGISTRY, rules, render_template, {"team": channel}, gather=timedelta())
        notifier = Notifier(db, clock, RuleMatcher(REGISTRY, rules, config.gather_of))
        composer = Composer(db, clock, config)
        await notifier.process()
        for first in range(0, args.events + args.shipments, BATCH):
            await db.write(lambda tx: write_changes(tx, first, args.shipments))  # noqa: B023 (awaited here)
        begin = time.process_time()
        await notifier.process()
        matched = time.process_time()
        await composer.compose_due()
        composed = time.process_time()
        counts = await db.read(
            lambda tx: [
                tx.raw.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("notifications", "deliveries")
            ]
        )
        return matched - begin, composed - matched, *counts


def main():
    """Measure for people and for a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--shipments", type=int, default=2_000)
    args = parser.parse_args()
    for channel in (ChannelInfo("team", "email"), ChannelInfo("team", "webhook", folds=False)):
        with tempfile.TemporaryDirectory() as folder:
            matching, composing, found, messages = asyncio.run(measure(Path(folder), args, channel))
            print(
                f"{channel.type:8} {found:,} notifications, {messages:,} messages; CPU of each notification: "
                f"matching {matching / found * 1e6:.0f} us, composing {composing / found * 1e6:.0f} us"
            )


if __name__ == "__main__":
    main()
