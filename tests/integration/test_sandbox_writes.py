"""Writes to the sandbox over real HTTP: what is made, found again and refused, and what each fault leaves behind."""

import asyncio
import contextlib
import io
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

import aiohttp
import pytest
from aiohttp import web

from flexportd.clock import Clock
from flexportd.core.resources.registry import Registry
from flexportd.errors import NotFoundError
from flexportd.sandbox import WRITE_FAULTS, Sandbox, SandboxOptions
from flexportd.sandbox.catalog.kinds import (
    ALL_PATHS,
    BOOKING,
    BOOKING_LINE,
    COMMERCIAL_INVOICE,
    COMPANY,
    CONTACT,
    DOCUMENT,
    ENTITY,
    LOCATION,
    ORDER_LINE,
    PRODUCT,
    SHIPMENT,
)
from tests import write_bodies as bodies
from tests.unit.test_sandbox_shapes import SCHEMAS, faults_of

CREATES = [
    (PRODUCT, bodies.product),
    (BOOKING, bodies.booking),
    (BOOKING, bodies.air_booking),
    (BOOKING, bodies.trucking_booking),
    (BOOKING_LINE, bodies.booking_line_item),
    (COMMERCIAL_INVOICE, bodies.commercial_invoice),
    (DOCUMENT, bodies.document),
    (COMPANY, bodies.company),
    (ENTITY, bodies.company_entity),
    (CONTACT, bodies.contact),
    (LOCATION, bodies.location),
]
BODY_OF = dict(reversed(CREATES))


class Account:
    """A sandbox with a client of it that holds its key."""

    def __init__(self, box, client, clock):
        self.box = box
        self.clock = clock
        self.world = box.world
        self.client = client

    async def write(self, path, body, method="POST"):
        """(status, data, error) of a write."""
        async with self.client.request(method, path, data=io.BytesIO(json.dumps(body).encode())) as answer:
            document = await answer.json()
            return answer.status, document["data"], document["error"]

    async def create(self, kind, **changes):
        status, data, error = await self.write(ALL_PATHS[kind], BODY_OF[kind](self.world, **changes))
        assert status == 200, error
        return data

    async def listed(self, kind, **filters):
        query = urlencode({f"f.{name.replace('__', '.')}": value for name, value in filters.items()} | {"per": 100})
        async with self.client.get(f"{ALL_PATHS[kind]}?{query}") as answer:
            assert answer.status == 200
            return (await answer.json())["data"]["data"]


@pytest.fixture
async def opened():
    closing = []

    async def start(**options):
        clock = HastyClock()
        box = Sandbox(SandboxOptions(speed=0, shipments=12, complete_lists=True, **options), clock)
        await box.start()
        client = aiohttp.ClientSession(box.url, headers={"Authorization": f"Bearer {box.api_key}"})
        closing.append((box, client))
        return Account(box, client, clock)

    yield start
    for box, client in closing:
        await client.close()
        await box.stop()


class HastyClock(Clock):
    """Stands still; sleepers wait for `released` alone."""

    def __init__(self):
        self.asleep, self.released = asyncio.Event(), asyncio.Event()
        self.released.set()

    def now(self):
        return datetime(2026, 3, 4, 8, tzinfo=UTC)

    async def sleep(self, seconds):
        self.asleep.set()
        await self.released.wait()


@pytest.mark.parametrize(("kind", "body"), CREATES)
async def test_what_is_made_is_listed_and_read_by_the_importer(opened, kind, body):
    account = await opened()
    before = len(await account.listed(kind))
    sent = body(account.world)
    status, made, error = await account.write(ALL_PATHS[kind], sent)
    assert (status, error) == (200, None)
    async with account.client.get(f"{ALL_PATHS[kind]}/{made['id']}") as answer:
        assert (await answer.json())["data"] == made
    rows = await account.listed(kind)
    assert made in rows
    assert len(rows) == before + 1
    assert account.world.rows(kind)[str(made["id"])] == made
    assert account.box.writes.created(kind) == [made["id"]]
    (write,) = account.box.writes
    assert (write.method, write.path, write.status) == ("POST", ALL_PATHS[kind], 200)
    assert write.body == {name: value for name, value in sent.items() if name != "document"}

    domain = next(one for one in Registry() if one.object_name == kind)
    loaded, problems = domain.wire.load(json.dumps(made).encode())
    assert problems == []
    assert domain.normalise(loaded)
    published = {
        name: value for name, value in made.items() if (kind, name) not in {(DOCUMENT, "memo"), (DOCUMENT, "file_name")}
    }
    assert list(faults_of(published, SCHEMAS[kind], kind)) == []


async def test_look_ups_find_what_was_made_and_nothing_else(opened):
    account = await opened()
    since = account.world.now.isoformat()
    lamp = await account.create(PRODUCT)
    assert await account.listed(PRODUCT, sku="LAMP-01", archived_at__exists="false") == [lamp]
    assert await account.listed(PRODUCT, sku="LAMP-01", archived_at__exists="true") == []
    entity = await account.create(ENTITY, ref="acme-legal")
    booked = await account.create(BOOKING, shipper_entity_ref="acme-legal", consignee_entity_ref="self")
    assert booked["shipper_entity"] == entity
    found = await account.listed(BOOKING, created_at__gte=since, name="PO 4711 lamps")
    assert found == [booked]
    assert (found[0]["special_instructions"], found[0]["status"]) == ("flexportd:key-1", "submitted")
    line = await account.create(BOOKING_LINE, booking_id=booked["id"])
    order = account.world.find(ORDER_LINE, str(line["purchase_order_line_item"]["id"]))["purchase_order"]["id"]
    assert line in await account.listed(BOOKING_LINE, purchase_order__id=order)
    link = urlsplit(booked["booking_line_items"]["link"])
    async with account.client.get(f"{link.path}?{link.query}") as answer:
        assert (await answer.json())["data"]["data"] == [line]
    parties = [{"type": "seller", "company_entity_ref": "acme-legal"}]
    invoice = await account.create(COMMERCIAL_INVOICE, involved_parties=parties)
    by_number = {"invoice_number": "CI-2026-1", "involved_party_seller_ref": "acme-legal"}
    assert await account.listed(COMMERCIAL_INVOICE, **by_number) == [invoice]
    assert invoice in await account.listed(COMMERCIAL_INVOICE, shipment__id=invoice["shipment"]["id"])
    paper = await account.create(DOCUMENT)
    shipment = {"shipment__id": paper["shipment"]["id"], "document_type": "certificate_of_origin"}
    assert [row["memo"] for row in await account.listed(DOCUMENT, uploaded_at__gte=since, **shipment)] == [
        "flexportd:key-1"
    ]
    for kind in (COMPANY, LOCATION):
        made = await account.create(kind)
        assert await account.listed(kind, ref=made["ref"]) == [made]
    assert await account.listed(ENTITY, ref="acme-legal") == [entity]


async def test_what_was_made_can_be_named_by_later_writes(opened):
    account = await opened()
    firm = await account.create(COMPANY)
    (first,) = firm["entities"]
    assert first["ref"] == f"id-{first['id']}"
    entity = await account.create(ENTITY, company_id=None, company_ref="zoomit", ref=None)
    assert [one["id"] for one in account.world.find(COMPANY, firm["id"])["entities"]] == [first["id"], entity["id"]]
    dock = await account.create(LOCATION, company_id=firm["id"])
    await account.create(CONTACT, company_id=firm["id"])
    booked = await account.create(BOOKING, shipper_entity_ref=entity["ref"], origin_address_ref=dock["ref"])
    assert booked["origin_address"] == dock["address"]
    await account.create(PRODUCT, suppliers=[{"ref": entity["ref"], "country_of_origin": "GB"}])
    line = {**bodies.commercial_invoice(account.world)["line_items"][0], "product_sku": "LAMP-01"}
    ref = f"FLEX-{max(account.world.tables[SHIPMENT])}"
    invoice = await account.create(
        COMMERCIAL_INVOICE, shipment_id=None, shipment_ref=ref, line_items=[line, line], manufacturer_refs=["dock-4"],
        metadata=[{"name": "PO #", "value": "1"}],
    )  # fmt: skip
    assert (invoice["total_value"]["amount"], invoice["total_unit_count"]) == ("241.00", "20")
    assert (invoice["total_weight"]["value"], invoice["manufacturer_addresses"]) == (80, [dock["address"]])
    assert (invoice["metadata"], invoice["shipment"]["id"]) == ({"PO #": ["1"]}, int(ref.removeprefix("FLEX-")))


OCEAN, CARGO, LINE = "ocean_booking", "cargo", "line_items"
UNITS = [{"count": 1, "unit_type": "pallet"}]
CHINA = {"description": "Lamps", "hs_code": "9405", "description_for_export_customs": "灯"}
ZEROES = {"twenty_ft": 0, "forty_ft": 0, "forty_ft_hc": 0, "forty_five_ft_hc": 0}
REFUSALS = [
    *((PRODUCT, {name: None}, f"{name} is required") for name in ("name", "sku")),
    (PRODUCT, {"suppliers": [{"ref": "nobody", "country_of_origin": "VN"}]}, "suppliers[0].ref is 'nobody'"),
    (PRODUCT, {"classifications": [{"region": "US"}]}, "classifications[0].codes is required"),
    *(
        (BOOKING, {name: None}, f"{name} is required")
        for name in (
            "name",
            "shipper_entity_ref",
            "consignee_entity_ref",
            "origin_address_ref",
            "destination_address_ref",
            "cargo_ready_date",
            "wants_export_customs_service",
            "cargo",
        )
    ),
    (BOOKING, {OCEAN: None}, "Exactly one of ocean_booking, air_booking, trucking_booking"),
    (BOOKING, {"shipper_entity_ref": "nobody"}, "shipper_entity_ref is 'nobody'"),
    (BOOKING, {"origin_address_ref": "nowhere"}, "origin_address_ref is 'nowhere'"),
    (BOOKING, {"cargo_ready_date": "1.4.2026"}, "cargo_ready_date must be a date"),
    (BOOKING, {"metadata": {"PO": "1"}}, "metadata must be an object whose values are lists of texts"),
    (BOOKING, {OCEAN: {"incoterm": "XXX"}}, "ocean_booking.incoterm must be one of EXW"),
    (BOOKING, {OCEAN: {"product_descriptions": []}}, "ocean_booking.product_descriptions must be a list of 1 or more"),
    (BOOKING, {OCEAN: {"container_counts": {"forty_ft": 1}}}, "ocean_booking.container_counts.twenty_ft is required"),
    (BOOKING, {OCEAN: {"container_counts": ZEROES}}, "above 0 for FCL"),
    (BOOKING, {OCEAN: {"is_lcl": True}}, "must be 0 for LCL"),
    (BOOKING, {OCEAN: {"origin_port_loc_code": None}}, "ocean_booking.origin_port_loc_code is required"),
    (BOOKING, {OCEAN: {"origin_port_loc_code": "XXYYY"}}, "there is no such port"),
    (
        BOOKING,
        {OCEAN: {"origin_port_us_cbp_port_code": "58309"}},
        "At most one of ocean_booking.origin_port_us_cbp_port_code",
    ),
    (BOOKING, {OCEAN: {"origin_port_loc_code": "CNYTN"}}, "description_for_export_customs is required"),
    (
        BOOKING,
        {OCEAN: {"origin_port_loc_code": "CNYTN", "product_descriptions": [CHINA]}},
        "description_for_export_customs_locale is required",
    ),
    (BOOKING, {CARGO: {"contains_magnets": None}}, "cargo.contains_magnets is required"),
    (BOOKING, {CARGO: {"contains_li_ion": True}}, "cargo.lithium_batteries_packing_types is required"),
    (BOOKING, {CARGO: {"lithium_batteries_packing_types": ["loose"]}}, "must hold only packed_loose"),
    (BOOKING, {CARGO: {"weight": None}}, "cargo.weight is required where a shipping unit has none"),
    (BOOKING, {CARGO: {"volume": {"value": 3, "unit": "m3"}}}, "cargo.volume.unit must be one of cbm, cbft"),
    (BOOKING, {CARGO: {"shipping_units": []}}, "cargo.shipping_units must be a list of 1 or more"),
    (BOOKING, {CARGO: {"shipping_units": UNITS}}, "cargo.shipping_units[0].atomic_count is required"),
    *((BOOKING_LINE, {n: None}, f"{n} is required") for n in ("purchase_order_line_item_id", "booking_id", "units")),
    (BOOKING_LINE, {"booking_id": 1}, "booking_id is '1': there is no such /booking"),
    (BOOKING_LINE, {"units": 0}, "units must be a whole number of 1 or more"),
    *(
        (COMMERCIAL_INVOICE, {name: None}, f"{name} is required")
        for name in ("invoice_number", "currency_code", "proration_amount", "line_items")
    ),
    (COMMERCIAL_INVOICE, {"shipment_id": None}, "Exactly one of shipment_id, shipment_ref"),
    (COMMERCIAL_INVOICE, {"shipment_id": 1}, "shipment_id is '1'"),
    (COMMERCIAL_INVOICE, {LINE: []}, "line_items must be a list of 1 or more"),
    (COMMERCIAL_INVOICE, {LINE: {"product_sku": "NONE"}}, "line_items[0].product_sku is 'NONE'"),
    (COMMERCIAL_INVOICE, {LINE: {"price_per_unit": None}}, "line_items[0].price_per_unit is required"),
    (COMMERCIAL_INVOICE, {LINE: {"value": {"amount": "x", "currency_code": "USD"}}}, "line_items[0].value.amount"),
    (COMMERCIAL_INVOICE, {LINE: {"value": {"amount": "1", "currency_code": "EUR"}}}, "on an invoice in USD"),
    (COMMERCIAL_INVOICE, {"manufacturer_refs": ["nowhere"]}, "manufacturer_refs holds 'nowhere'"),
    *(
        (DOCUMENT, {name: None}, f"{name} is required")
        for name in ("file_name", "mime_type", "document_type", "document", "shipment_id")
    ),
    (DOCUMENT, {"document": "JVBE\nRi0="}, "document must be Base64 without line breaks"),
    (DOCUMENT, {"mime_type": "pdf"}, "mime_type is 'pdf'"),
    (COMPANY, {"name": None}, "name is required"),
    *((ENTITY, {name: None}, f"{name} is required") for name in ("name", "mailing_address")),
    (ENTITY, {"company_id": None}, "Exactly one of company_id, company_ref"),
    (ENTITY, {"company_ref": "x"}, "Exactly one of company_id, company_ref"),
    (ENTITY, {"mailing_address": {"city": "Albany"}}, "mailing_address.street_address is required"),
    *((CONTACT, {name: None}, f"{name} is required") for name in ("name", "email", "phone_number")),
    *((LOCATION, {name: None}, f"{name} is required") for name in ("name", "company_id", "address")),
    (LOCATION, {"contact_ids": ["nobody"]}, "contact_ids holds 'nobody'"),
]


def changed(body, changes):
    """The body with fields replaced, also one level down; the lines of an invoice all alike."""
    for name, value in changes.items():
        if name in {OCEAN, CARGO} and isinstance(value, dict):
            body[name] = {**body[name], **value}
        elif name == LINE and isinstance(value, dict):
            body[name] = [{**line, **value} for line in body[name]]
        else:
            body[name] = value
    return body


async def test_a_body_that_breaks_a_rule_is_refused_and_makes_nothing(opened):
    account = await opened()
    before = account.world.export()
    for kind, changes, message in REFUSALS:
        body = changed(BODY_OF[kind](account.world), changes)
        status, data, error = await account.write(ALL_PATHS[kind], body)
        assert (status, data, error["status"], error["code"]) == (400, None, 400, "bad_request"), (kind, changes)
        assert message in error["message"], (kind, changes, error["message"])
    for text in (b"{", b"[]"):
        async with account.client.post("/products", data=text) as answer:
            assert answer.status == 400
    assert account.world.export() == before
    assert {write.made for write in account.box.writes} == {None}


async def test_a_port_must_suit_the_mode_of_the_booking(opened):
    account = await opened()
    body = bodies.air_booking(account.world)
    body["air_booking"]["origin_port_loc_code"] = "CNYTN"
    status, _, error = await account.write("/bookings", body)
    assert (status, error["message"]) == (
        400,
        "air_booking.origin_port_loc_code is 'CNYTN', which is no port for a booking by air.",
    )


@pytest.mark.parametrize("kind", [PRODUCT, COMMERCIAL_INVOICE, COMPANY, ENTITY, LOCATION])
async def test_a_duplicate_is_refused(opened, kind):
    account = await opened()
    made = await account.create(kind)
    status, _, error = await account.write(ALL_PATHS[kind], BODY_OF[kind](account.world))
    assert status == 400
    assert "already" in error["message"]
    if kind == PRODUCT:
        account.box.override(PRODUCT, made["id"], archived_at="2026-01-01T00:00:00.000Z")
        await account.create(kind)
    elif kind == COMMERCIAL_INVOICE:
        other = [{"type": "seller", "company_entity_ref": bodies.rows(account.world, ENTITY)[-2]["ref"]}]
        await account.create(kind, involved_parties=other)


async def test_names_of_bookings_and_files_are_not_unique(opened):
    account = await opened()
    for kind in (BOOKING, DOCUMENT):
        one, other = await account.create(kind), await account.create(kind)
        assert one["id"] != other["id"]
        assert account.box.writes.created(kind) == [one["id"], other["id"]]


async def test_updates_replace_what_they_name(opened):
    account = await opened()
    lamp = await account.create(PRODUCT)
    await account.create(PRODUCT, sku="LAMP-02")
    path = f"/products/{lamp['id']}"
    status, data, _ = await account.write(path, {"description": "Brass", "classifications": []}, "PATCH")
    assert (status, data) == (200, {**lamp, "description": "Brass", "classifications": [], "hs_codes": []})
    for body in ({"sku": "LAMP-02"}, {"name": ""}):
        assert (await account.write(path, body, "PATCH"))[0] == 400
    assert (await account.write("/products/1", {"name": "x"}, "PATCH"))[0] == 404

    derived = bodies.rows(account.world, COMMERCIAL_INVOICE)[0]
    for invoice in (await account.create(COMMERCIAL_INVOICE), derived):
        path = f"/commercial_invoices/{invoice['id']}"
        line = bodies.commercial_invoice(account.world)["line_items"][0]
        status, data, _ = await account.write(path, {"invoice_number": "N", "line_items": [line]}, "PATCH")
        assert (status, data["invoice_number"], data["total_value"]["amount"]) == (200, "N", "120.50")
        assert len(data["line_items"]) == 1
        assert data["involved_parties"] == invoice["involved_parties"]
        assert data in await account.listed(COMMERCIAL_INVOICE)
        assert (await account.write(path, {"currency_code": "EUR"}, "PATCH"))[0] == 400
    assert (await account.write("/commercial_invoices", {}, "PATCH"))[2]["code"] == "method_not_allowed"
    shipment = max(account.world.tables[SHIPMENT])
    await account.write(f"/shipments/{shipment}", {"metadata": {"a": ["b"]}}, "PATCH")
    assert [write.made for write in account.box.writes][-1] == (SHIPMENT, shipment)


async def test_an_amendment_is_applied_at_once(opened):
    account = await opened()
    booked = await account.create(BOOKING)
    counts = {"twenty_ft": 2, "forty_ft": 0, "forty_ft_hc": 0, "forty_five_ft_hc": 0}
    asked = {
        "booking_id": booked["id"],
        "new_name": "Renamed",
        "new_container_counts": counts,
        "new_wants_pickup_service": True,
        "new_origin_port_loc_code": "CNSHA",
        "new_destination_address_ref": bodies.location_ref(account.world, "CN"),
        "new_cargo": bodies.cargo(marks_and_numbers="Fragile"),
        "new_metadata": {"PO #": ["2"]},
        "amendment_note": "flexportd:key-2",
    }
    status, amendment, _ = await account.write("/booking_amendments", asked)
    assert (status, amendment["_object"], amendment["is_pending"]) == (200, "/booking_amendment", False)
    assert (amendment["new_name"], amendment["new_port_of_loading"]["address"]["unlocode"]) == ("Renamed", "CNSHA")
    (row,) = await account.listed(BOOKING, name="Renamed")
    assert (row["id"], row["metadata"], row["cargo"]["marks_and_numbers"]) == (booked["id"], {"PO #": ["2"]}, "Fragile")
    assert row["destination_address"]["country_code"] == "CN"
    ocean = row["ocean_booking"]
    assert (ocean["container_counts"]["twenty_ft"], ocean["wants_pickup_service"]) == (2, True)
    assert ocean["origin_port"] == amendment["new_port_of_loading"]
    assert ocean["incoterm"] == booked["ocean_booking"]["incoterm"]
    assert account.world.amendments == {amendment["id"]: amendment}

    truck = (await account.write("/bookings", bodies.trucking_booking(account.world)))[1]
    for body, message in (
        ({"new_name": "x"}, "booking_id is required"),
        ({"booking_id": 1, "new_name": "x"}, "there is no such /booking"),
        ({"booking_id": booked["id"]}, "needs a change"),
        ({"booking_id": booked["id"], "new_origin_port_loc_code": "XXYYY"}, "no such port"),
        ({"booking_id": truck["id"], "new_container_counts": counts}, "not by ocean"),
        ({"booking_id": truck["id"], "new_origin_port_loc_code": "CNSHA"}, "has no ports"),
    ):
        status, _, error = await account.write("/booking_amendments", body)
        assert (status, message in error["message"]) == (400, True), error


@pytest.mark.parametrize("how", ["asked", "waited"])
async def test_a_pending_amendment_waits(opened, how):
    account = await opened()
    booked = bodies.rows(account.world, BOOKING)[0]
    script = account.box.fault("pending_amendment")
    assert (await account.write("/products", bodies.product(account.world)))[0] == 200
    status, amendment, _ = await account.write("/booking_amendments", {"booking_id": booked["id"], "new_name": "Later"})
    assert (status, amendment["is_pending"], script.made) == (200, True, 1)
    assert account.world.find(BOOKING, str(booked["id"]))["name"] == booked["name"]
    if how == "asked":
        assert account.box.apply_amendments() == 1
    else:
        await account.box.step(3 * 3600)
        assert account.world.find(BOOKING, str(booked["id"]))["name"] == booked["name"]
        await account.box.step(3700)
    assert account.world.find(BOOKING, str(booked["id"]))["name"] == "Later"
    assert account.world.amendments[amendment["id"]]["is_pending"] is False
    assert account.box.apply_amendments() == 0


async def test_an_uploaded_file_is_downloaded_as_it_was(opened):
    account = await opened()
    file = bytes(range(256)) * 8192
    for path in ("/documents", "/documents/"):
        body = bodies.document(account.world, file, mime_type="image/png")
        status, made, _ = await account.write(path, body)
        assert (status, made["file_metadata"]["size"], made["archived_at"]) == (200, len(file), None)
        async with account.client.get(made["file_link"]) as answer:
            assert (await answer.read(), answer.content_type) == (file, "image/png")
    account.box.delete(DOCUMENT, made["id"])
    with pytest.raises(NotFoundError):
        account.world.file(made["id"])


# Status, or None for a reset; whether the object is made.
OUTCOMES = {
    "accepted_then_dropped": (None, True),
    "accepted_late": (None, True),
    "dropped_before_accepting": (None, False),
    "error_after_accepting": (500, True),
    "refused_as_duplicate": (400, False),
    "write_forbidden": (403, False),
    "slow": (200, True),
}


@pytest.mark.parametrize("how", ["share", "script"])
@pytest.mark.parametrize("fault", OUTCOMES)
async def test_a_fault_of_a_write_leaves_what_it_says(opened, fault, how):
    assert set(OUTCOMES) - {"slow"} == set(WRITE_FAULTS) - {"pending_amendment"}
    account = await opened(**({"faults": {fault: "100%"}} if how == "share" else {}))
    if how == "script":
        account.box.fault(fault, "^/bookings", method="POST")
    expected, is_made = OUTCOMES[fault]
    status = None
    with contextlib.suppress(aiohttp.ClientError):
        status, _, _ = await account.write("/bookings", bodies.booking(account.world))
    assert status == expected
    if fault in {"slow", "accepted_late"}:
        async with asyncio.timeout(10):
            await account.clock.asleep.wait()
    found = await account.listed(BOOKING, name="PO 4711 lamps")
    assert len(found) == is_made
    (write,) = account.box.writes
    assert (write.fault, write.status, write.body["name"]) == (fault, expected or 0, "PO 4711 lamps")
    assert write.made == ((BOOKING, found[0]["id"]) if is_made else None)


async def test_faults_of_writes_spare_reads_and_tokens(opened):
    shares = {"write_forbidden": "100%"}
    account = await opened(faults=shares)
    await account.listed(BOOKING)
    asked = {"transportation_mode": "air", "weight": {"value": 40, "unit": "kg"}}
    assert (await account.write("/carbon_calculation", asked))[0] == 200
    async with account.client.post("/oauth/token", json={}) as answer:
        assert (await answer.json())["error"] == "unsupported_grant_type"
    assert len(account.box.writes) == 0


async def test_a_refused_body_stays_refused_under_a_fault(opened):
    account = await opened()
    account.box.fault("error_after_accepting", "^/bookings")
    assert (await account.write("/bookings", {}))[0] == 400


@pytest.mark.parametrize("fault", [None, "slow", "accepted_late"])
async def test_a_client_that_dies_stops_nothing(opened, fault):
    """`slow` keeps the response, and `accepted_late` the work, until the client is gone."""
    account = await opened()
    clock = account.clock
    if fault:
        account.box.fault(fault)
        clock.released.clear()
    text = json.dumps(bodies.booking(account.world)).encode()
    url = urlsplit(account.box.url)
    _, connection = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST /bookings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {account.box.api_key}\r\n"
    connection.write(head.encode() + f"Content-Length: {len(text)}\r\n\r\n".encode() + text)
    async with asyncio.timeout(10):
        if fault:
            await clock.asleep.wait()
        else:
            while not len(account.box.writes):
                await asyncio.sleep(0)
    connection.transport.abort()
    clock.released.set()
    async with asyncio.timeout(10):
        while not (writes := list(account.box.writes)) or writes[0].status is None:
            await asyncio.sleep(0)
    assert account.box.writes.created(BOOKING) == [
        row["id"] for row in await account.listed(BOOKING, name="PO 4711 lamps")
    ]
    assert len(account.box.writes.created(BOOKING)) == 1


async def test_a_filed_invoice_is_announced_by_the_documented_event(opened):
    received = []

    async def hook(request):
        received.append(await request.json())
        return web.Response()

    app = web.Application(client_max_size=2**24)
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        account = await opened(webhook_url=url, webhook_secret="s", send_backlog=False)
        invoice = await account.create(COMMERCIAL_INVOICE)
        for kind in (PRODUCT, BOOKING, DOCUMENT):
            await account.create(kind)
        await account.box.wait_delivered()
    finally:
        await runner.cleanup()
    (event,) = received
    assert event["type"] == "/shipments#commercial_invoices_digitized"
    assert event["data"]["resource"] == account.world.find(SHIPMENT, str(invoice["shipment"]["id"]))
    assert account.world.events[-1] == event
    assert timedelta() <= account.world.now - datetime.fromisoformat(event["created_at"]) < timedelta(seconds=1)
