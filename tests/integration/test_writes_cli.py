"""`products push`, `bookings create|amend|copy`, … against a daemon that writes to the sandbox."""

import asyncio
import csv
import io
import json
import sys
from contextlib import asynccontextmanager

import pytest

from flexportd.cli import product_push
from flexportd.cli.output import Output
from flexportd.core.outbox.booking_copy import copy_booking
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.sandbox.catalog.kinds import BOOKING, COMMERCIAL_INVOICE, DOCUMENT, PRODUCT, SHIPMENT
from flexportd.settings import Settings
from tests import write_bodies as bodies
from tests.integration.test_resources_cli import Terminal
from tests.small_flexport import synced
from tests.under_test import DatedClock, start

KEY = "sandbox-key"


class Desk(Terminal):
    """A terminal beside a daemon and its Flexport."""

    def __init__(self, folder, capsys, box, daemon):
        super().__init__(folder, capsys)
        self.folder, self.box, self.daemon = folder, box, daemon

    def file(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(path)

    def made(self, kind):
        return [self.box.world.rows(kind)[str(key)] for key in self.box.writes.created(kind)]


@pytest.fixture
async def opened(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(product_push, "POLL_INTERVAL", 0.02)

    @asynccontextmanager
    async def open_desk(**changed):
        clock = DatedClock()
        settings = {
            "flexport.api_key": KEY,
            "flexport.requests_per_second": 1000,
            "flexport.concurrency": 4,
            "writes.enabled": True,
        } | changed
        async with Sandbox(SandboxOptions(speed=0, shipments=4, api_key=KEY, complete_lists=True), clock) as box:
            settings["flexport.base_url"] = box.url
            async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:
                await synced(daemon)
                yield Desk(tmp_path, capsys, box, daemon)

    return open_desk


def rows_of(report):
    return list(csv.DictReader(io.StringIO(report.read_text(encoding="utf-8"))))


async def test_a_file_of_products_is_previewed_pushed_and_pushed_again(opened, tmp_path):
    async with opened() as desk:
        known = next(row for row in bodies.rows(desk.box.world, PRODUCT) if row["archived_at"] is None)
        header = "sku;name;hs_code:US;country_of_origin"
        lines = [
            f"{known['sku']};Renamed;;",
            "A-1;Lamp;9405.42;China",
            "A-2;Table;9403.60;",
            "A-3;Chair;10121;",
            "A-4;;;",
        ]
        path = desk.file("products.csv", "\n".join([header, *lines]))
        told = await desk.said("products", "push", path, "--dry-run", code=2)
        assert f"row 2: {known['sku']}: update: name: {known['name'].strip()} → Renamed" in told
        assert "row 3: A-1: create: name: Lamp; classifications: US 9405.42; country_of_origin: China" in told
        assert 'row 5: hs_code:US is "10121", of 5 digits' in told
        assert "row 6: /name: name is required" in told
        assert "5 rows: 2 create, 2 invalid, 1 update." in told
        _, told = await desk.run("products", "push", path, code=2)
        assert "Specify --yes to send it, or --dry-run" in told
        out, told = await desk.run("products", "push", path, "--yes", code=2)
        assert "2 rows invalid; nothing was sent" in told
        assert "row 6: /name" in out
        assert "row 2" not in out
        assert len(desk.box.writes) == 0

        report = tmp_path / "report.csv"
        out = await desk.said("products", "push", path, "--yes", "--skip-bad", "--report", str(report))
        assert "5 rows: 3 confirmed, 2 invalid." in out
        rows = rows_of(report)
        assert [row["row"] for row in rows] == ["2", "3", "4", "5", "6"]
        assert [row["outcome"] for row in rows] == ["confirmed", "confirmed", "confirmed", "skipped", "skipped"]
        assert rows[0]["operation_id"].isdigit()
        assert "5 digits" in rows[3]["error"]
        assert sorted(one["name"] for one in desk.made(PRODUCT)) == ["Lamp", "Table"]
        assert desk.box.world.rows(PRODUCT)[str(known["id"])]["name"] == "Renamed"

        again = [
            json.loads(line)
            for line in (await desk.said("products", "push", path, "--yes", "--skip-bad", "--json")).splitlines()
        ]
        assert [row["action"] for row in again] == ["unchanged"] * 3 + ["invalid"] * 2
        _, told = await desk.run("products", "push", path, "--yes", "--skip-bad", "--report", str(report), code=2)
        assert "already exists" in told
        _, told = await desk.run("products", "push", path, "--yes", "--report", path, code=2)
        assert "the file with the products" in told
        only_bad = desk.file("bad.csv", "sku,name\n,x\n")
        assert "1 row: 1 invalid." in await desk.said("products", "push", only_bad, "--yes", "--skip-bad", code=1)
        _, told = await desk.run("products", "push", desk.file("x.xlsx", "PK"), "--yes", code=2)
        assert "must end in .csv, .tsv, .json" in told


async def test_a_push_is_continued_after_an_interruption_and_reports_what_failed(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(product_push, "BATCH_ROWS", 10)
    monkeypatch.setattr(product_push, "MAX_WAITING", 5)
    async with opened() as desk:
        lines = [json.dumps({"sku": f"B-{number}", "name": f"Part {number}"}) for number in range(60)]
        path = desk.file("parts.ndjson", "\n".join(lines))
        await desk.run("queue", "pause")
        few = desk.file("few.ndjson", "\n".join(lines[:10]))
        assert "10 rows: 10 pending." in await desk.said("products", "push", few, "--yes", "--no-wait")
        assert "row 2: B-1: operation 2 does it already" in await desk.said("products", "push", few, "--dry-run")
        look = product_push.ProductPush._look
        counts = iter(range(100))

        def interrupt_third(self):
            if next(counts) == 2:
                raise KeyboardInterrupt
            return look(self)

        monkeypatch.setattr(product_push.ProductPush, "_look", interrupt_third)
        _, told = await desk.run("products", "push", path, "--yes", code=130)
        assert "Push the file again" in told
        await desk.run("queue", "resume")
        assert "10 rows: " in await desk.said("products", "push", few, "--yes")
        desk.box.fault("refused_as_duplicate", "^/products", times=1, method="POST")
        report = tmp_path / "report.csv"
        out = await desk.said("products", "push", path, "--yes", "--report", str(report), code=1)
        assert "60 rows: 49 confirmed, 10 unchanged, 1 failed." in out
        failed = [row for row in rows_of(report) if row["outcome"] == "failed"]
        assert len(failed) == 1
        assert f"row {failed[0]['row']}: {failed[0]['sku']}: operation {failed[0]['operation_id']} failed: " in out
        assert len(rows_of(report)) == 60
        out = await desk.said("products", "push", path, "--yes")
        assert "60 rows: 59 unchanged, 1 confirmed." in out
        assert sorted(one["sku"] for one in desk.made(PRODUCT)) == sorted(f"B-{number}" for number in range(60))


async def test_a_booking_is_created_from_files_templates_and_earlier_ones(opened, tmp_path, monkeypatch):
    async with opened() as desk:
        body = bodies.booking(desk.box.world, special_instructions="Careful")
        path = desk.file("booking.json", body)
        _, told = await desk.run(
            "bookings", "create", path, "--set", "name=", "--set", "cargo.shipping_units=[]", code=2
        )
        assert "flexportd: /name: name is empty" in told
        assert "flexportd: /cargo/shipping_units: " in told
        shown = await desk.said("bookings", "create", path, "--dry-run")
        assert shown.startswith("POST /bookings\n{\n")
        assert (await desk.json("bookings", "create", path, "--dry-run"))["kind"] == "booking.create"
        assert desk.made(BOOKING) == []
        told = await desk.said("bookings", "create", path, "--idempotency-key", "po-1", "--set", "name=4711")
        assert "(Create booking 4711) is confirmed; its ID is " in told
        assert await desk.said("bookings", "create", path, "--idempotency-key", "po-1", "--set", "name=4711") == told
        [booking] = desk.made(BOOKING)
        assert booking["name"] == "4711"

        desk.file("templates/bookings/lamps.json", body)
        monkeypatch.setattr(
            sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"notify_party": "Us", "cargo": {"marks_and_numbers": "M"}}'))
        )
        made = await desk.json(
            "bookings", "create", "-", "--template", "lamps", "--set", "special_instructions=null", "--wait", "9"
        )
        assert (made["state"], made["created_by"].count("@")) == ("confirmed", 1)
        assert desk.made(BOOKING)[1]["notify_party"] == "Us"
        assert desk.made(BOOKING)[1]["special_instructions"].startswith("flexportd:")
        _, told = await desk.run("bookings", "create", "--template", "lamp", code=4)
        assert "did you mean lamps?" in told
        for wrong, words in (("{", "no valid JSON"), ("[]", "but a list"), ('{"a": NaN}', "NaN")):
            assert words in (await desk.run("bookings", "create", desk.file("w.json", wrong), code=2))[1]
        assert "Specify a FILE" in (await desk.run("bookings", "create", code=2))[1]

        out, told = await desk.run("bookings", "copy", str(booking["id"]), "--dry-run", code=2)
        assert "/cargo_ready_date: cargo_ready_date is required" in told
        assert {**json.loads(out), "cargo_ready_date": body["cargo_ready_date"]} == {**body, "name": "4711"}
        told = await desk.said(
            "bookings", "copy", str(booking["id"]), "--cargo-ready-date", "2026-05-01", "--set", "name=Again"
        )
        assert "(Create booking Again) is confirmed" in told
        _, told = await desk.run("bookings", "copy", "1", code=4)
        assert "booking" in told


class Typed(io.StringIO):
    """What a person types on a terminal."""

    def isatty(self):
        return True


async def test_a_number_that_is_too_large_is_named(opened):
    async with opened() as desk:
        text = json.dumps(bodies.booking(desk.box.world)).replace(
            '"cargo": {', '"cargo": {"weight": {"value": 1e400}, '
        )
        _, told = await desk.run("bookings", "create", desk.file("large.json", text), code=2)
        assert "large.json is no valid JSON in UTF-8: 1e400 is too large a number" in told
        path = desk.file("booking.json", bodies.booking(desk.box.world))
        _, told = await desk.run("bookings", "create", path, "--set", "cargo.weight.value=1e400", code=2)
        assert '/cargo/weight/value: value is "1e400"; a number greater than 0 is allowed' in told


async def test_an_amendment_shows_the_difference_before_it_is_sent(opened, monkeypatch):
    async with opened() as desk:
        await desk.said("bookings", "create", desk.file("booking.json", bodies.booking(desk.box.world)))
        [booking] = desk.made(BOOKING)
        key, change = str(booking["id"]), ("--set", "new_name=Lamps", "--set", "new_cargo_ready_date=2026-04-09")
        told = await desk.said("bookings", "amend", key, *change, "--dry-run")
        assert told == "new_name: PO 4711 lamps → Lamps\nnew_cargo_ready_date: 2026-04-01 → 2026-04-09\n"
        _, told = await desk.run("bookings", "amend", key, *change, code=2)
        assert "Specify --yes to send it" in told
        _, told = await desk.run("bookings", "amend", key, "--set", "new_nmae=x", "--yes", code=2)
        assert "/new_nmae: " in told
        monkeypatch.setattr(sys, "stdin", Typed("n\ny\n"))
        _, told = await desk.run("bookings", "amend", key, *change, code=130)
        assert f"Send this amendment of booking {key} to Flexport?" in told
        assert len(desk.box.writes) == 1
        assert "is confirmed" in await desk.said("bookings", "amend", key, *change)
        assert desk.box.world.rows(BOOKING)[key]["name"] == "Lamps"
        desk.box.fault("pending_amendment", "amendments")
        told = await desk.said("bookings", "amend", key, "--set", "new_name=More", "--yes")
        assert "Flexport still has to apply it." in told


async def test_invoices_documents_and_metadata(opened, tmp_path):
    async with opened() as desk:
        invoice = bodies.commercial_invoice(desk.box.world)
        told = await desk.said("invoices", "file", desk.file("invoice.json", invoice))
        assert "(Create commercial invoice CI-2026-1) is confirmed" in told
        [made] = desk.made(COMMERCIAL_INVOICE)
        told = await desk.said(
            "invoices", "file", desk.file("c.json", {"invoice_number": "CI-2"}), "--update", str(made["id"])
        )
        assert "(Update commercial invoice" in told
        assert desk.box.world.rows(COMMERCIAL_INVOICE)[str(made["id"])]["invoice_number"] == "CI-2"

        shipment = bodies.rows(desk.box.world, SHIPMENT)[0]
        paper = tmp_path / "origin.pdf"
        paper.write_bytes(b"%PDF-1.4 test")
        upload = ("documents", "upload", str(paper), "--shipment", f"FLEX-{shipment['id']}")
        assert "is confirmed" in await desk.said(*upload, "--type", "certificate_of_origin", "--memo", "For customs")
        [document] = desk.made(DOCUMENT)
        assert document["memo"].startswith("For customs\nflexportd:")
        _, told = await desk.run(*upload, "--type", "certificate_of_orign", code=2)
        assert "/document_type: document_type is" in told
        assert "no shipment" in (await desk.run(*upload[:-1], "5", "--type", "x", code=4))[1]

        named = ("shipments", "set", f"FLEX-{shipment['id']}")
        keys = list(shipment["metadata"])
        assert "is confirmed" in await desk.said(*named, f"{keys[0]}=a", f"{keys[0]}=b=c")
        after = desk.box.world.rows(SHIPMENT)[str(shipment["id"])]["metadata"]
        assert after == {**shipment["metadata"], keys[0]: ["a", "b=c"]}
        assert "is confirmed" in await desk.said(*named, "--remove", keys[0])
        assert keys[0] not in desk.box.world.rows(SHIPMENT)[str(shipment["id"])]["metadata"]
        for wrong, words in (
            (("x",), "is not KEY=VALUE"),
            ((), "Specify one or more"),
            (("a=1", "--remove", "a"), "set and removed"),
        ):
            assert words in (await desk.run(*named, *wrong, code=2))[1]


async def test_operations_are_listed_shown_and_decided(opened):
    async with opened(**{"writes.approval": ["bookings"]}) as desk:
        path = desk.file("booking.json", bodies.booking(desk.box.world))
        told = await desk.said("bookings", "create", path)
        assert "awaits approval by another person: `flexportd operations approve 1`." in told
        _, told = await desk.run("operations", "approve", "1", code=1)
        assert "somebody else must approve it" in told
        await desk.daemon.call("/operations/1/approve")
        await settled(desk, "1")
        assert desk.made(BOOKING)[0]["name"] == "PO 4711 lamps"
        assert "Create booking PO 4711 lamps" in await desk.said("operations", "list", "--state", "confirmed")
        shown = await desk.said("operations", "show", "1")
        assert f"booking {desk.made(BOOKING)[0]['id']}\n" in shown
        for part in ("confirmed", "Attempts", "/bookings", "operation.approve", '"cargo_ready_date": "2026-04-01"'):
            assert part in shown

        await desk.said("bookings", "create", path)
        assert "is cancelled" in await desk.said("operations", "cancel", "2", "--reason", "wrong day")
        assert await desk.json("operations", "show", "2") == await desk.daemon.get("/operations/2")

        product = {"rows": [{"sku": "C-1", "name": "Part"}]}
        desk.box.fault("write_forbidden", "^/products", times=1)
        _, _ = await desk.daemon.call("/products/push", product), None
        await settled(desk, "3")
        listed = await desk.json("operations", "list", "--state", "failed")
        assert [row["id"] for row in listed["data"]] == ["3"]
        await desk.said("operations", "retry", "3")
        await settled(desk, "3")
        assert (await desk.json("operations", "show", "3"))["state"] == "confirmed"
        for wrong, code, words in (
            (("resolve", "3", "--reason", "x"), 2, "exactly one of"),
            (("resolve", "3", "--reason", "x", "--resend", "--cancel"), 2, "exactly one of"),
            (("resolve", "3", "--reason", "x", "--resend"), 1, "only one that is unknown"),
            (("show", "99"), 4, "no operation 99"),
            (("cancel", "3"), 2, "--reason"),
            (("list", "--state", "confirmd"), 2, "did you mean confirmed"),
        ):
            assert words in (await desk.run("operations", *wrong, code=code))[1]


async def test_several_operations_are_retried_at_once(opened):
    async with opened() as desk:
        desk.box.fault("write_forbidden", "^/products", times=3)
        rows = [{"sku": f"C-{number}", "name": "Part"} for number in range(1, 5)]
        await desk.daemon.call("/products/push", {"rows": rows})
        for number in "1234":
            await settled(desk, number)
        failed = [row["id"] for row in (await desk.json("operations", "list", "--state", "failed"))["data"]]
        assert len(failed) == 3
        [other] = {"1", "2", "3", "4"} - set(failed)
        out, notes = await desk.run("operations", "retry", *failed, other, "99", failed[0], code=1)
        assert out.count("is pending") == 3
        assert f"flexportd: operation {other}: " in notes
        assert "flexportd: operation 99: " in notes
        for number in failed:
            await settled(desk, number)
            assert (await desk.json("operations", "show", number))["state"] == "confirmed"
        _, notes = await desk.run("operations", "cancel", "98", "99", "--reason", "x", code=4)
        assert notes.count("no operation") == 2
        assert len(desk.made(PRODUCT)) == 4
        assert "Missing argument" in (await desk.run("operations", "retry", code=2))[1]


async def settled(desk, number):
    """Wait until an operation has ended or needs a person."""
    async with asyncio.timeout(20):
        while (await desk.daemon.get(f"/operations/{number}"))["state"] in ("pending", "sending"):
            await asyncio.sleep(0.01)


async def test_an_unknown_outcome_is_resolved_by_a_person(opened):
    async with opened() as desk:
        body = bodies.booking(desk.box.world)
        path = desk.file("booking.json", body)
        first = bodies.rows(desk.box.world, BOOKING)[0]
        similar = {name: body[name] for name in ("name", "cargo_ready_date")} | {
            "id": 777, "created_at": desk.box.world.now.isoformat(), "special_instructions": None
        }  # fmt: skip
        desk.box.put({**first, **similar})
        desk.box.fault("dropped_before_accepting", "^/bookings", times=2, method="POST")
        for number in ("1", "2"):
            told = await desk.said("bookings", "create", path, "--wait", "0.1", code=1)
            assert "has an unknown outcome, and more look-ups follow: " in told
            shown = " ".join((await desk.said("operations", "show", number)).split())
            assert "777 no has the same name and cargo-ready date" in shown
        resolve = ("operations", "resolve", "1", "--confirmed-as", "777", "--reason", "seen in Flexport")
        assert "(Create booking PO 4711 lamps) is confirmed; its ID is 777." in await desk.said(*resolve)
        told = await desk.said("operations", "resolve", "2", "--resend", "--reason", "not there")
        assert "is pending" in told
        await settled(desk, "2")
        shown = await desk.json("operations", "show", "2")
        assert (shown["state"], shown["reason"]) == ("confirmed", "not there")
        assert len(desk.made(BOOKING)) == 1


async def test_a_read_only_installation_cannot_be_talked_into_writing(opened):
    async with opened(**{"writes.enabled": False}) as desk:
        path = desk.file("p.json", [{"sku": "D-1", "name": "Part"}])
        on_terminal = Output(terminal=True, columns=80)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Output, "standard", lambda **_: on_terminal)
            out, told = await desk.run("products", "push", path)
        assert "row 1: D-1: create: name: Part\n1 row: 1 create." in out
        assert "Nothing was sent; use --yes to send it." in told
        _, told = await desk.run("products", "push", path, "--yes", code=1)
        assert "[writes] enabled" in told
        booking = desk.file("booking.json", bodies.booking(desk.box.world))
        assert "[writes] enabled" in (await desk.run("bookings", "create", booking, code=1))[1]
        assert len(desk.box.writes) == 0


def test_a_copied_booking_has_what_a_request_needs_and_no_more():
    booking = {
        "name": "Lamps ", "shipper_entity": {"ref": "a"}, "consignee_entity": {"ref": None}, "origin_address": None,
        "cargo_ready_date": "2026-01-01", "special_instructions": "Careful\nflexportd:0123456789abcdef",
        "metadata": {"PO #": ["1"], "marker": ["flexportd:0123456789abcdef"]},
        "air_booking": {
            "_object": "/air/booking", "incoterm": "FOB", "wants_delivery_service": None,
            "origin_port": {"address": {"unlocode": None}, "details": [{"iata_code": "HKG", "port_code": "58201"}]},
            "destination_port": {"address": {"unlocode": "us lax"}},
            "product_descriptions": [{"description": "x", "hs_code": {"code": "0101.21", "_object": "/hs_code"}}],
        },
        "trucking_booking": {"is_ftl": True, "payment_terms": "prepaid"},
        "ocean_booking": {"container_counts": {"_object": "c", "fourty_ft": "2", "twenty_ft": None}},
        "cargo": {
            "weight": {"value": "250.50", "unit": "kg"}, "volume": {"value": 0, "unit": "cbm"}, "contains_hazmat": False,
            "shipping_units": [{"count": "3", "unit_type": "pallet", "weight": {"value": 0, "unit": "kg"}, "name": ""}],
        },
    }  # fmt: skip
    assert copy_booking(booking) == {
        "name": "Lamps ",
        "shipper_entity_ref": "a",
        "special_instructions": "Careful",
        "metadata": {"PO #": ["1"]},
        "air_booking": {
            "incoterm": "FOB", "origin_port_iata_code": "HKG", "destination_port_loc_code": "USLAX",
            "product_descriptions": [{"description": "x", "hs_code": "0101.21"}],
        },
        "trucking_booking": {"is_ltl": False, "payment_terms": "prepaid"},
        "ocean_booking": {
            "container_counts": {"twenty_ft": 0, "forty_ft": 2, "forty_ft_hc": 0, "forty_five_ft_hc": 0},
            "product_descriptions": [],
        },
        "cargo": {
            "weight": {"value": 250.5, "unit": "kg"}, "contains_hazmat": False,
            "shipping_units": [{"count": 3, "unit_type": "pallet"}],
        },
    }  # fmt: skip
    assert copy_booking({"cargo": [], "metadata": 3, "ocean_booking": "x"}) == {"cargo": {"shipping_units": []}}
