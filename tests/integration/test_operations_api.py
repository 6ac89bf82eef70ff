"""Writes over HTTP: a real daemon before the sandbox's Flexport."""

import asyncio
import io
import json
import shutil
from contextlib import asynccontextmanager, suppress

import pytest

from flexportd.core.outbox import sender
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.sandbox.catalog.kinds import BOOKING, DOCUMENT, PRODUCT, SHIPMENT
from flexportd.settings import Settings
from tests import write_bodies as bodies
from tests.flexport_double import HurriedClock
from tests.under_test import DatedClock, look_again, start

ENDED = ("confirmed", "failed", "cancelled")


class Writes:
    def __init__(self, sandbox, daemon):
        self.sandbox, self.daemon = sandbox, daemon
        self.world = sandbox.world

    async def send(self, method, path, body, status=202, **headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.daemon.url}/api/v1{path}"
        data = io.BytesIO(json.dumps(body).encode())
        sent.setdefault("Content-Type", "application/json")
        async with self.daemon.http.request(method, url, data=data, headers=sent) as answer:
            found = json.loads(await answer.read())
            assert answer.status == status, found
            if status == 202:
                assert answer.headers["Location"] == f"/api/v1/operations/{found['id']}"
            return found

    async def write(self, method, path, body, **headers):
        """Write and wait for the outcome."""
        return await self.send(method, path, body, **{"Prefer": "wait=20", **headers})

    def objects(self, kind):
        return self.world.rows(kind)


@asynccontextmanager
async def flexport():
    options = SandboxOptions(speed=0, shipments=6, api_key="sandbox-key-for-tests", complete_lists=True)
    async with Sandbox(options, HurriedClock()) as sandbox:
        yield sandbox


@asynccontextmanager
async def running(folder, sandbox, **settings):
    values = {
        "flexport.base_url": sandbox.url, "flexport.api_key": "sandbox-key-for-tests", "writes.enabled": True,
        "flexport.requests_per_second": 1000.0, "api.require_key": False, "sync.refresh_after_event": False,
    }  # fmt: skip
    async with start(Settings.for_tests(folder, **(values | settings)), DatedClock()) as daemon:
        yield Writes(sandbox, daemon)


@asynccontextmanager
async def writing(folder, **settings):
    async with flexport() as sandbox, running(folder, sandbox, **settings) as writes:
        run = (await writes.daemon.call("/sync/run", status=202))["id"]
        async with asyncio.timeout(20):
            while (await writes.daemon.get(f"/sync/runs/{run}"))["state"] == "running":
                await look_again()
        yield writes


@pytest.fixture
async def writes(tmp_path):
    async with writing(tmp_path) as opened:
        yield opened


async def test_each_kind_is_written_and_in_the_store_at_once(writes):
    world = writes.world
    for path, body, resource in (
        ("/products", bodies.product(world), "/products"),
        ("/bookings", bodies.booking(world), "/bookings"),
        ("/commercial-invoices", bodies.commercial_invoice(world), "/commercial-invoices"),
        ("/documents", bodies.document(world), "/documents"),
        ("/companies", bodies.company(world), "/companies"),
        ("/company-entities", bodies.company_entity(world), "/company-entities"),
        ("/contacts", bodies.contact(world), "/contacts"),
        ("/locations", bodies.location(world), "/locations"),
        ("/booking-line-items", bodies.booking_line_item(world), "/booking-line-items"),
    ):
        preview = await writes.send("POST", f"{path}?dry_run=true", body, 200)
        assert preview["method"] == "POST", path
        found = await writes.write("POST", path, body)
        assert found["state"] == "confirmed", (path, found)
        stored = await writes.daemon.get(f"{resource}/{found['resource_id']}")
        assert stored["source"] == "write", path
        detail = await writes.daemon.get(f"/operations/{found['id']}")
        assert [one["outcome"] for one in detail["attempts"] if one["type"] == "send"] == ["accepted"], path
        assert [one["action"] for one in detail["audit"]] == ["operation.create"], path
    assert "document_sha256" in (await writes.daemon.get("/operations/4"))["body"]  # not the file


async def test_changes_are_written_and_shown(writes):
    product, shipment, booking = (next(iter(writes.objects(kind))) for kind in (PRODUCT, SHIPMENT, BOOKING))
    assert (await writes.write("PATCH", f"/products/{product}", {"description": "Brass"}))["state"] == "confirmed"
    assert (await writes.daemon.get(f"/products/{product}"))["description"] == "Brass"
    preview = await writes.send("PATCH", f"/shipments/{shipment}?dry_run=true", {"metadata": {"Team": "North"}}, 200)
    assert preview["body"]["metadata"] == {**writes.objects(SHIPMENT)[shipment]["metadata"], "Team": ["North"]}
    found = await writes.write("PATCH", f"/shipments/{shipment}", {"metadata": {"Team": "North"}})
    assert (found["state"], found["shipment_id"]) == ("confirmed", int(shipment))
    assert (await writes.daemon.get(f"/shipments/{shipment}"))["metadata"]["Team"] == ["North"]
    writes.sandbox.fault("pending_amendment")
    found = await writes.write("POST", f"/bookings/{booking}/amendments", {"new_name": "Renamed"})
    assert (found["state"], found["pending_at_flexport"]) == ("confirmed", True)
    writes.sandbox.apply_amendments()
    outbox = writes.daemon.daemon.outbox
    async with asyncio.timeout(20):
        while (await writes.daemon.get(f"/operations/{found['id']}"))["pending_at_flexport"]:
            await outbox.follow_up_amendments(refetch=True)
            writes.daemon.daemon.clock.turn(seconds=5)
            await look_again()
    assert (await writes.daemon.get(f"/bookings/{booking}"))["name"] == "Renamed"


async def test_all_problems_of_a_body_are_named_and_nothing_is_stored(writes):
    problem = await writes.send(
        "POST", "/products", {"sku": "", "nane": "x", "classifications": [{"region": "X"}]}, 400
    )
    assert {one["pointer"] for one in problem["errors"]} >= {"/nane", "/name", "/sku", "/classifications/0/region"}
    assert problem["type"] == "urn:flexportd:problem:invalid-request"
    for body, words in (([1], "object"), ("x", "object"), (7, "object")):
        assert words in (await writes.send("POST", "/products", body, 400))["detail"]
    product = next(iter(writes.objects(PRODUCT).values()))
    problem = await writes.send("POST", "/products", bodies.product(writes.world, sku=product["sku"]), 400)
    assert [one["pointer"] for one in problem["errors"]] == ["/sku"]
    assert (await writes.send("PATCH", "/products/999999", {"name": "x"}, 404))["type"].endswith("not-found")
    assert (await writes.send("POST", "/products", {}, 400, Idempotency_Key="\u20ac"))["parameter"]
    assert (await writes.daemon.get("/operations"))["data"] == []
    assert list(writes.sandbox.writes) == []


async def test_a_file_of_twenty_mebibytes_is_uploaded_and_a_larger_one_refused(writes):
    body = bodies.document(writes.world, file=b"%PDF-1.4".ljust(20 << 20))
    found = await writes.write("POST", "/documents", body)
    assert found["state"] == "confirmed"
    detail = await writes.daemon.get(f"/operations/{found['id']}")
    assert ["document" in one for one in (detail["body"], detail["attempts"][-1]["request"])] == [False, False]
    problem = await writes.send("POST", "/documents", {**body, "document": body["document"] + "AAAA"}, 400)
    assert [one["pointer"] for one in problem["errors"]] == ["/document"]
    with suppress(OSError):  # closed while we still sent
        await writes.send("POST", "/documents", {**body, "document": body["document"] * 2}, 413)


async def test_a_refusal_is_a_failed_operation_with_flexports_words(writes):
    writes.sandbox.fault("refused_as_duplicate", method="POST")
    found = await writes.write("POST", "/products", bodies.product(writes.world))
    assert (found["state"], found["sends"]) == ("failed", 1)
    assert "already been taken" in found["error"]
    writes.sandbox.fault("write_forbidden", method="POST")
    found = await writes.write("POST", "/products", bodies.product(writes.world))
    assert found["state"] == "failed"
    assert "allow them to write products" in found["error"]
    retried = await writes.daemon.call(f"/operations/{found['id']}/retry")
    assert retried["state"] in ("pending", "sending", "confirmed")
    await confirmed(writes, found["id"])
    assert (await writes.daemon.call(f"/operations/{found['id']}/retry", status=409))["detail"].endswith("retried")


async def test_twenty_clients_with_one_idempotency_key_make_one_booking(writes):
    body, before = bodies.booking(writes.world, name="Only one"), set(writes.objects(BOOKING))
    writes.sandbox.fault("accepted_then_dropped", method="POST")
    found = await asyncio.gather(*(writes.write("POST", "/bookings", body, Idempotency_Key="po-1") for _ in range(20)))
    assert {(one["id"], one["state"]) for one in found} == {("1", "confirmed")}
    assert len(set(writes.objects(BOOKING)) - before) == 1
    other = {**body, "name": "Another"}
    assert "another body" in (await writes.send("POST", "/bookings", other, 409, Idempotency_Key="po-1"))["detail"]
    again = await writes.write("POST", "/bookings", body, Idempotency_Key='"po-1"')
    assert again["id"] == "1"
    assert (await writes.write("POST", "/bookings", other, Idempotency_Key="po-2"))["id"] == "2"


async def test_idempotency_keys_with_quotes(writes):
    """A pair of quotes around a key is that of a structured header; any other quote belongs to the key."""
    for number, key in enumerate(("a", '"', '""', '"a', 'a"', "!" * 200, f'"{"?" * 198}"'), 1):
        body = bodies.product(writes.world, sku=f"QUOTED-{number}")
        assert (await writes.write("POST", "/products", body, Idempotency_Key=key))["id"] == str(number)
        quoted = f'"{key}"' if len(key) == 1 else key
        assert (await writes.write("POST", "/products", body, Idempotency_Key=quoted))["id"] == str(number)
    for key in ("", " ", "a b", "!" * 201):
        assert (await writes.send("POST", "/products", body, 400, Idempotency_Key=key))[
            "parameter"
        ] == "Idempotency-Key"


async def test_the_name_of_a_person_has_no_control_characters(writes):
    dry_run, body = "/products?dry_run=true", bodies.product(writes.world)
    for name in ("ana\tlee", "\u00ad", "\u202eana", "a" * 201):
        problem = await writes.send("POST", dry_run, body, 400, X_Flexportd_By=name)
        assert problem["parameter"] == "X-Flexportd-By"
    for name in ("Ana Lee", "Ren\u00e9e", "\u9648", ""):
        await writes.send("POST", dry_run, body, 200, X_Flexportd_By=name)


async def test_an_unknown_outcome_is_resolved_by_a_person(writes, monkeypatch):
    monkeypatch.setattr(sender, "LOOKUP_DELAYS", (0.0, 0.0))
    body = bodies.booking(writes.world, name="Lost")

    async def lost():
        writes.sandbox.fault("dropped_before_accepting", method="POST")
        number = (await writes.write("POST", "/bookings", body))["id"]
        async with asyncio.timeout(20):
            while not (found := await writes.daemon.get(f"/operations/{number}"))["needs_decision"]:
                await look_again()
        return found

    found = await lost()
    assert [one["outcome"] for one in found["attempts"]] == ["unknown", "none", "none", "none"]
    path = f"/operations/{found['id']}"
    reason = {"reason": "Flexport's operator confirms"}
    for wrong, status in (
        ({"action": "confirm", **reason}, 400), ({"action": "resend"}, 400), ({"action": "x", **reason}, 400),
        ({"action": "resend", "confirmed_as": "1", **reason}, 400), ({"action": "resend", "reason": " "}, 400),
        ({"action": "resend", "reason": "\u0085"}, 400), ({"action": "resend", "reason": "a\0"}, 400),
        ({"action": "confirm", "confirmed_as": "\ufeff", **reason}, 400),
        ({"action": "confirm", "confirmed_as": "77777", **reason}, 404),
    ):  # fmt: skip
        await writes.daemon.call(f"{path}/resolve", wrong, status)
    assert (await writes.daemon.call(f"{path}/cancel", reason, 409))["detail"].endswith("resolve it instead")
    listed = (await writes.daemon.get("/operations?needs_decision=true"))["data"]
    assert [one["id"] for one in listed] == [found["id"]]
    booking = next(iter(writes.objects(BOOKING)))
    resolved = await writes.daemon.call(f"{path}/resolve", {"action": "confirm", "confirmed_as": booking, **reason})
    assert (resolved["state"], resolved["resource_id"], resolved["reason"]) == ("confirmed", booking, reason["reason"])
    found = await lost()
    await writes.daemon.call(f"/operations/{found['id']}/resolve", {"action": "resend", **reason})
    await confirmed(writes, found["id"])
    found = await lost()
    resolved = await writes.daemon.call(f"/operations/{found['id']}/resolve", {"action": "cancel", **reason})
    assert (resolved["state"], resolved["audit"][-1]["detail"]) == ("cancelled", f"Cancelled: {reason['reason']}")
    actions = [one["action"] for one in (await writes.daemon.get("/audit"))["data"]]
    assert actions == ["operation.resolve", "operation.create"] * 3


async def test_a_read_only_installation_writes_nothing(tmp_path):
    async with writing(tmp_path, **{"writes.enabled": False}) as writes:
        world, shipment = writes.world, next(iter(writes.objects(SHIPMENT)))
        rows = {"rows": [bodies.product(world)]}
        for method, path, body in (
            ("POST", "/products", bodies.product(world)), ("POST", "/bookings", bodies.booking(world)),
            ("PATCH", f"/shipments/{shipment}", {"metadata": {"a": "b"}}), ("POST", "/products/push", rows),
            ("POST", "/products?dry_run=true", bodies.product(world)),
        ):  # fmt: skip
            problem = await writes.send(method, path, body, 403)
            assert "enabled = true" in problem["detail"], path
        assert list(writes.sandbox.writes) == []
        assert (await writes.daemon.get("/operations"))["data"] == []


async def test_kinds_scopes_and_approvals(tmp_path):
    more = {"writes.allow": ["products", "documents"], "writes.approval": ["products"], "api.require_key": False}
    async with writing(tmp_path, **more) as writes:
        problem = await writes.send("POST", "/bookings", bodies.booking(writes.world), 403)
        assert "[writes] allow" in problem["detail"]
        tokens = {}
        for name, scope in (("read", "read"), ("write", "write"), ("admin", "admin"), ("second", "admin")):
            made = await writes.daemon.call("/keys", {"name": name.title(), "scope": scope}, 201)
            tokens[name] = {"Authorization": f"Bearer {made['token']}"}
        body = bodies.product(writes.world)
        assert (await writes.send("POST", "/products", body, 403, **tokens["read"]))["type"].endswith("scope")
        found = await writes.write("POST", "/products", body, **tokens["write"])
        assert (found["state"], found["created_by"]) == ("awaiting_approval", "Write")
        path = f"/operations/{found['id']}/approve"
        assert (await writes.send("POST", path, None, 403, **tokens["write"]))["type"].endswith("scope")
        other = await writes.write("POST", "/products", {**body, "sku": "OWN"}, **tokens["admin"])
        refused = await writes.send("POST", f"/operations/{other['id']}/approve", None, 403, **tokens["admin"])
        assert "somebody else" in refused["detail"]
        assert list(writes.sandbox.writes) == []
        approved = await writes.send("POST", path, None, 200, **tokens["admin"])
        assert (approved["approved_by"], approved["audit"][-1]["action"]) == ("Admin", "operation.approve")
        await confirmed(writes, found["id"])
        assert (await writes.send("POST", path, None, 409, **tokens["admin"]))["detail"]
        gone = await writes.send(
            "POST", f"/operations/{other['id']}/cancel", {"reason": "Not needed"}, 200, **tokens["write"]
        )
        assert gone["state"] == "cancelled"
        assert len(list(writes.sandbox.writes)) == 1
        # A retry is no way around the approval: neither before the first one, nor after somebody cancelled.
        path = f"/operations/{other['id']}"
        for _ in range(2):
            again = await writes.send("POST", f"{path}/retry", None, 200, **tokens["write"])
            assert (again["state"], again["approved_by"], again["ended_at"]) == ("awaiting_approval", None, None)
            await writes.daemon.daemon.queue.set_paused(paused=True)
            approved = await writes.send("POST", f"{path}/approve", None, 200, **tokens["second"])
            assert approved["approved_by"] == "Second"
            await writes.send("POST", f"{path}/cancel", {"reason": "Not needed"}, 200, **tokens["second"])
            await writes.daemon.daemon.queue.set_paused(paused=False)
        assert len(list(writes.sandbox.writes)) == 1
        document = await writes.write("POST", "/documents", bodies.document(writes.world), **tokens["write"])
        assert document["state"] == "confirmed"
        assert len(writes.objects(DOCUMENT)) > 0


async def test_products_are_pushed_by_sku(writes):
    product = next(one for one in writes.objects(PRODUCT).values() if one["archived_at"] is None)
    rows = [
        bodies.product(writes.world, sku="NEW-1"),
        {"sku": product["sku"], "name": product["name"], "description": "New words"},
        {"sku": product["sku"], "name": product["name"]},
        {"sku": "NEW-2"}, "nonsense", {"name": "x"},
    ]  # fmt: skip
    plan = (await writes.daemon.call("/products/push", {"rows": rows, "dry_run": True}))["rows"]
    assert [one["action"] for one in plan] == ["create", "update", "unchanged", "invalid", "invalid", "invalid"]
    assert [one["field"] for one in plan[1]["changes"]] == ["description"]
    assert list(writes.sandbox.writes) == []
    pushed = (await writes.daemon.call("/products/push", {"rows": rows}))["rows"]
    numbers = [one["operation_id"] for one in pushed]
    assert numbers[2:] == [None] * 4
    async with asyncio.timeout(20):
        while {(await writes.daemon.get(f"/operations/{one}"))["state"] for one in numbers[:2]} != {"confirmed"}:
            await look_again()
    again = (await writes.daemon.call("/products/push", {"rows": rows[:3]}))["rows"]
    assert [one["action"] for one in again] == ["unchanged"] * 3
    for wrong in ({"rows": []}, {"rows": [{}] * 501}, {"rows": 1}, {}):
        await writes.daemon.call("/products/push", wrong, 400)


async def test_a_row_with_other_values_waits_until_its_product_is_created(writes):
    await writes.daemon.daemon.queue.set_paused(paused=True)
    row = bodies.product(writes.world, sku="NEW-1")
    [first] = (await writes.daemon.call("/products/push", {"rows": [row]}))["rows"]
    rows = [row | {"name": "Other name"}, row]
    found = (await writes.daemon.call("/products/push", {"rows": rows}))["rows"]
    assert [one["action"] for one in found] == ["invalid", "pending"]
    [error] = found[0]["errors"]
    number = first["operation_id"]
    assert error["pointer"] == "/sku"
    assert f"operation {number}, which has not ended, creates it with other values" in error["detail"]
    await writes.daemon.daemon.queue.set_paused(paused=False)
    async with asyncio.timeout(20):
        while (await writes.daemon.get(f"/operations/{number}"))["state"] != "confirmed":
            await look_again()
    found = (await writes.daemon.call("/products/push", {"rows": rows[:1]}))["rows"]
    assert [one["action"] for one in found] == ["update"]


async def test_a_sku_that_looks_like_that_of_a_product_makes_no_second_one(writes):
    await writes.write("POST", "/products", bodies.product(writes.world, sku="CAF\u00c9 1"))
    skus = ("CAFE\u0301 1", "CAF\u00c9\u200b 1", "CAF\u00c9\u00a01", "CAF\u00c9 1", "CAF\u00c9 2")
    rows = [bodies.product(writes.world, sku=sku) for sku in skus]
    plan = (await writes.daemon.call("/products/push", {"rows": rows, "dry_run": True}))["rows"]
    assert [one["action"] for one in plan] == ["invalid", "invalid", "invalid", "unchanged", "create"]
    [error] = plan[0]["errors"]
    assert error["pointer"] == "/sku"
    assert "'CAFE\\u0301 1'; product" in error["detail"]
    assert "has 'CAF\\xc9 1', which looks the same" in error["detail"]


async def test_a_restored_database_sends_nothing_that_was_sent_since_the_backup(tmp_path):
    data, backup = tmp_path / "data", tmp_path / "backup.db"
    async with flexport() as sandbox:
        async with running(tmp_path, sandbox) as writes:
            await writes.daemon.call("/queue/pause")
            number = (await writes.send("POST", "/bookings", bodies.booking(sandbox.world, name="Before")))["id"]
        shutil.copy(data / "flexportd.db", backup)
        before = set(sandbox.world.rows(BOOKING))
        async with running(tmp_path, sandbox) as writes:
            await writes.daemon.call("/queue/resume")
            await confirmed(writes, number)
        made = set(sandbox.world.rows(BOOKING)) - before
        for file in data.glob("flexportd.db*"):
            file.unlink()
        shutil.copy(backup, data / "flexportd.db")
        async with running(tmp_path, sandbox) as writes:
            found = await writes.daemon.get(f"/operations/{number}")
            assert (found["state"], "restored" in found["error"]) == ("unknown", True)
            await writes.daemon.call("/queue/resume")
            assert {(await confirmed(writes, number))["resource_id"]} == made
        assert set(sandbox.world.rows(BOOKING)) - before == made


async def test_an_approval_after_a_restore_sends_nothing_twice(tmp_path):
    data, backup = tmp_path / "data", tmp_path / "backup.db"
    needed = {"writes.approval": ["bookings"]}
    async with flexport() as sandbox:
        async with running(tmp_path, sandbox, **needed) as writes:
            number = (await writes.send("POST", "/bookings", bodies.booking(sandbox.world)))["id"]
        shutil.copy(data / "flexportd.db", backup)
        before = set(sandbox.world.rows(BOOKING))
        for _ in range(2):
            async with running(tmp_path, sandbox, **needed) as writes:
                await writes.send("POST", f"/operations/{number}/approve", None, 200, X_Flexportd_By="Ben")
                made = {(await confirmed(writes, number))["resource_id"]}
            assert set(sandbox.world.rows(BOOKING)) - before == made
            for file in data.glob("flexportd.db*"):
                file.unlink()
            shutil.copy(backup, data / "flexportd.db")


async def confirmed(writes, number):
    async with asyncio.timeout(20):
        while (found := await writes.daemon.get(f"/operations/{number}"))["state"] != "confirmed":
            await look_again()
    return found
