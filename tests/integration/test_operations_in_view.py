"""Operations as a running daemon shows them: in the stream, the status, the metrics, on pages; and until when."""

import contextlib
import re
from datetime import timedelta

import pytest

from flexportd.clock import stamp
from flexportd.core.outbox.records import notice
from flexportd.core.trusted_time import TrustedTime
from flexportd.jobs.job import JobRun
from flexportd.jobs.retention import RetentionJob, RetentionPeriods
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.integration.test_customer_isolation import ACME
from tests.integration.test_middleware import ask, new_key
from tests.integration.test_resources_cli import Terminal
from tests.integration.test_stream import Client
from tests.stored import new_operation
from tests.under_test import DatedClock, start

LONG_AGO = "2026-03-01T00:00:00.000Z"


@pytest.fixture
async def daemon(tmp_path):
    settings = Settings.for_tests(tmp_path, **{"writes.enabled": True})
    async with start(settings, DatedClock()) as found:
        await found.receive(event(shipment(1, **ACME)))
        await found.settled()
        yield found


async def operation(daemon, state, title, at=None, *, needs_decision=False, **fields):
    at = at or stamp(daemon.daemon.clock.now())

    def write(tx):
        number = tx.operations.add(new_operation(title=title, **fields), at)
        if state == "unknown":
            tx.operations.set_state(number, state, at, "No answer", needs_decision=needs_decision)
        else:
            tx.operations.end(number, state, at, error="SKU is taken" if state == "failed" else None)
        one = tx.operations.by_id(number)
        tx.journal.add(at, notices=[notice(one, state, one.error, needs_decision=needs_decision)])
        return number

    number = await daemon.daemon.db.write(write)
    daemon.daemon.consumers.wake()
    return number


@contextlib.asynccontextmanager
async def stream(daemon, topics, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with daemon.http.get(f"{daemon.url}/api/v1/stream?topics={topics}", headers=headers) as answer:
        assert answer.status == 200
        client = Client(answer)
        await client._block()
        yield client


async def test_the_stream_has_operations_but_not_for_customers(daemon):
    acme = await new_key(daemon, name="acme", consignees=["Acme"], rate_limit="off")
    async with stream(daemon, "operation.*") as all_of_them, stream(daemon, "*", acme) as customer:
        number = await operation(daemon, "unknown", "SKU-1", needs_decision=True, shipment_id=1)
        of_shipment = {"kind": "shipment.set_metadata", "resource": "shipments", "resource_id": "1", "shipment_id": 1}
        await operation(daemon, "failed", "po_number", **of_shipment)
        await daemon.receive(event(shipment(1, name="Another name", **ACME), at="2026-03-22T00:00:00.000Z"))
        topic, first = await all_of_them.event()
        _, second = await all_of_them.event()
        seen = [(await customer.event())[0]]
        while seen[-1] != "shipment.updated":  # exceptions of the shipment may open before it
            seen.append((await customer.event())[0])
    assert topic == first["topic"] == "operation.unknown"
    told = {name: first[name] for name in ("operation_id", "state", "kind", "title", "detail", "created_by")}
    assert told == {
        "operation_id": str(number), "state": "unknown", "kind": "product.create", "title": "Create product SKU-1",
        "detail": "No answer", "created_by": "erp",
    }  # fmt: skip
    assert (first["needs_decision"], first["shipment_id"]) == (True, 1)
    assert (second["topic"], second["detail"], second["needs_decision"]) == ("operation.failed", "SKU is taken", False)
    assert not [topic for topic in seen if topic.startswith("operation.")]


async def test_status_metrics_and_pages_show_what_needs_a_decision(daemon, tmp_path, capsys):
    assert (await daemon.get("/status"))["writes"]["needs_decision"] == 0
    _, _, page = await ask(daemon, "/")
    assert b"/operations?needs_decision=true" not in page
    number = await operation(daemon, "unknown", "SKU-1", LONG_AGO, needs_decision=True, shipment_id=1)
    await operation(daemon, "failed", "SKU-2")
    status = await daemon.get("/status")
    assert status["writes"]["enabled"] is False  # there is no key for Flexport
    assert {state: count for state, count in status["writes"]["operations"].items() if count} == {
        "unknown": 1, "failed": 1,
    }  # fmt: skip
    assert status["writes"]["needs_decision"] == 1
    assert "1 write to Flexport needs a decision" in " ".join(status["warnings"])
    said = await Terminal(tmp_path, capsys).said("status")
    assert re.search(r"writes +off; operations: 1 failed, 1 unknown; 1 NEED A DECISION", said)
    _, _, metrics = await ask(daemon, "/metrics")
    assert b'flexportd_operations{state="unknown"} 1.0' in metrics
    assert b'flexportd_operations{state="confirmed"} 0.0' in metrics
    assert b"flexportd_operations_needing_decision 1.0" in metrics
    assert b"flexportd_writes_enabled 0.0" in metrics
    _, _, page = await ask(daemon, "/")
    assert b"Decision needed" in page
    assert b'href="/operations?needs_decision=true"' in page
    code, _, listed = await ask(daemon, "/operations?needs_decision=true")
    assert code == 200
    assert listed.count(b'href="/operations/1"') == 1
    assert b'href="/operations/2"' not in listed
    assert b'<option value="true" selected>Needed<' in listed
    await daemon.consumed()
    (found,) = (await daemon.get("/exceptions?kind=operation_unknown"))["data"]
    assert (found["severity"], found["title"], found["resource_id"]) == (
        "critical", "Write with unknown outcome", str(number),
    )  # fmt: skip
    for path in ("/exceptions", f"/exceptions/{found['id']}"):
        _, _, page = await ask(daemon, path)
        assert f'href="/operations/{number}"'.encode() in page
        assert b"Create product SKU-1" in page
    acme = await new_key(daemon, name="acme", consignees=["Acme"], rate_limit="off")
    _, _, listed = await ask(daemon, "/api/v1/exceptions", key=acme)
    assert b"operation_unknown" not in listed


async def test_ended_operations_and_the_audit_log_are_kept_as_long_as_events(daemon):
    db, clock = daemon.daemon.db, daemon.daemon.clock
    old = [await operation(daemon, state, "SKU", LONG_AGO) for state in ("confirmed", "failed", "cancelled")]
    kept = [await operation(daemon, "unknown", "SKU", LONG_AGO), await operation(daemon, "confirmed", "SKU")]
    for at in (LONG_AGO, stamp(clock.now())):
        await db.write(lambda tx, at=at: tx.audit.add(at, "ana", "operation.create", "operation 1"))
    periods = RetentionPeriods(timedelta(days=7), None)
    job = RetentionJob(db, clock, periods, TrustedTime(db, clock))
    await job.run(JobRun("retention", 1, "manual"))
    left = await db.read(lambda tx: {number for number in old + kept if tx.operations.by_id(number)})
    assert left == set(kept)
    assert len(await db.read(lambda tx: tx.audit.of_subject("operation 1", 10))) == 1


async def test_a_write_that_waits_for_another_names_it_and_shows_no_error(daemon):
    first = await operation(daemon, "unknown", "SKU-1", target="product:1")

    def wait(tx):
        number = tx.operations.add(new_operation(title="SKU-2", target="product:1"), LONG_AGO)
        tx.operations.set_state(number, "pending", LONG_AGO, f"operation {first} on the same object comes first")
        return number

    number = await daemon.daemon.db.write(wait)
    for path in (f"/operations/{number}", "/operations?state=pending"):
        code, _, page = await ask(daemon, path)
        assert code == 200
        assert b'<pre class="error">' not in page, path
    assert (
        b'after <a href="/operations/%d">operation %d</a>' % (first, first)
        in (await ask(daemon, f"/operations/{number}"))[2]
    )
    assert b"Waits: <bdi>operation %d on the same object comes first" % first in page
