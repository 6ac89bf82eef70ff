"""Every resource over HTTP: its list, one object, its history, what belongs to it, and fetching it again."""

import csv
import gzip
import io
import json
from urllib.parse import quote

import pytest

from flexportd.core.resources.registry import Registry
from tests.events import container, event, leg, shipment
from tests.small_flexport import SmallFlexport, mirroring, one_of_each, synced
from tests.wire_goods import invoice, product
from tests.wire_orders import (
    booking,
    company,
    document,
    link,
    purchase_order,
)

OTHERS = [domain for domain in Registry() if domain.name != "shipments"]


@pytest.fixture
async def small():
    return SmallFlexport(*one_of_each())


@pytest.fixture
async def daemon(small, tmp_path, clock):
    async with mirroring(small, tmp_path, clock) as found:
        yield found


async def rows(daemon, path):
    return (await daemon.get(path))["data"]


async def ids(daemon, path):
    return [row["id"] for row in await rows(daemon, path)]


async def test_every_resource_is_listed_shown_and_has_a_history(daemon):
    for domain in OTHERS:
        page = await daemon.get(f"/{domain.route}")
        [row] = page["data"]
        assert (page["next"], page["as_of"]) == (None, row["as_of"])
        path = f"/{domain.route}/{quote(str(row['id']), safe='')}"
        one = await daemon.get(path)
        assert one == row
        assert set(domain.derived_value_names) < set(one)
        assert (one["source"], one["removed_at"]) == ("sync", None)
        [first] = await rows(daemon, f"{path}/history")
        assert (first["field"], first["new"], first["event_id"]) == ("id", row["id"], None)
        assert first["run_id"] == (await daemon.get("/sync/runs?kind=full"))["data"][0]["id"]


async def test_what_is_not_there_is_a_404_that_names_the_resource(daemon):
    for domain in OTHERS:
        for path in (f"/{domain.route}/999", f"/{domain.route}/999/history"):
            found = await daemon.get(path, status=404)
            assert found["type"] == "urn:flexportd:problem:not-found"
            assert domain.label in found["detail"]
            assert "999" in found["detail"]


async def test_an_id_of_an_impossible_form_is_not_there(daemon):
    for key in ("abc", "-1", "9" * 20, "%00", "1.5", "x" * 300, "FLEX-1"):
        assert "id or reference" in (await daemon.get(f"/legs/{key}", status=404))["detail"]
    for key in ("%00", "x" * 300, "%FF", "..%2F..", "%2E%2E"):
        await daemon.get(f"/documents/{key}", status=404)


STRANGE = [
    "-Zz58WVXSuGn6xmLLhYTKQ",
    "_x",
    "a/b",
    "a b",
    "a%2Fb",
    "{x}",
    "ü",
    "history",
    "a+b",
    "?q",
    "#",
    "'--",
]


async def test_an_id_may_hold_anything(small, tmp_path, clock):
    for key in STRANGE:
        small.put(document(key, memo=key))
    async with mirroring(small, tmp_path, clock) as daemon:
        for key in STRANGE:
            named = quote(key, safe="")
            assert (await daemon.get(f"/documents/{named}?fields=id,memo"))["id"] == key
            assert len(await rows(daemon, f"/documents/{named}/history")) == 1
            assert (await daemon.call(f"/documents/{named}/refresh"))["refresh"] == "unchanged", key


PRODUCTS = [
    product(1, sku="A-1", name="Lamp", country_of_origin="China", suppliers=[]),
    product(2, sku="a_2", name="Lamp 100%", description=None, archived_at="2026-02-01T00:00:00Z", suppliers=[]),
    product(3, sku=None, name=None, description=None, country_of_origin="Vietnam"),
    product(
        4, sku="B", name="Sofa", description=None, country_of_origin=None, suppliers=[], classifications=[], hs_codes=[]
    ),
    product("x-5", sku="C", name="Rug", description=None, country_of_origin=None, suppliers=[]),
]
INVOICES = [
    invoice("a", name="FLEX-910233-1", status="outstanding", due_date="2026-03-31"),
    invoice("B", name="FLEX-7-1", status="paid", due_date="2026-03-01"),
    invoice("c", name="FLEX-7-2", status="past_due", due_date=None, issued_at="2026-01-01T00:00:00Z"),
]


@pytest.fixture
async def filled(small, tmp_path, clock):
    small.objects["/products"].clear()
    small.objects["/invoices"].clear()
    for found in (*PRODUCTS, *INVOICES):
        small.put(found)
    small.put(purchase_order(26_089, name="PO 2", must_arrive_date="2026-09-01", status="closed"))
    async with mirroring(small, tmp_path, clock) as found:
        yield found


FILTERS = [
    ("/products?sort=id", [1, 2, 3, 4, "x-5"]),
    ("/products?sort=-id", ["x-5", 4, 3, 2, 1]),
    ("/products?sort=-sku", [2, "x-5", 4, 1, 3]),
    ("/products?sku=a-1", [1]),
    ("/products?archived=true", [2]),
    ("/products?archived=false&sort=id&limit=2", [1, 3]),
    ("/products?country=vn", [3]),
    ("/products?hs_code=0301:00&sort=id&limit=1", [1]),
    ("/products?q=lamp&sort=id", [1, 2]),
    ("/products?q=100%25", [2]),
    ("/products?q=A_2", [2]),
    ("/invoices?status=paid,past_due&sort=id", ["B", "c"]),
    ("/invoices?shipment=910233", ["a"]),
    ("/invoices?shipment=FLEX-7&sort=-id", ["c", "B"]),
    ("/invoices?open=true&sort=id", ["a", "c"]),
    ("/invoices?open=false", ["B"]),
    ("/invoices?due_before=2026-03-31", ["B"]),
    ("/invoices?due_after=2026-03-31", ["a"]),
    ("/invoices?issued_before=2026-02-01", ["c"]),
    ("/purchase-orders?status=closed", [26_089]),
    ("/purchase-orders?must_arrive_after=2026-08-31&must_arrive_before=2026-09-02", [26_089]),
    ("/purchase-orders?shipment=910233", [26_088]),
    ("/company-entities?company=K67EZV1K8cQ5afQErZwk1Q", [77]),
    ("/company-entities?company=other", []),
    ("/contacts?company=K67EZV1K8cQ5afQErZwk1Q", ["FHLKEFHHoW8nwh9UVOMpw"]),
    ("/legs?shipment=910233", [8_800_412]),
    ("/legs?shipment=1", []),
    ("/container-legs?container=555001&leg=8800412", [661]),
    ("/products?updated_since=2099-01-01", []),
    ("/products?removed=true", []),
    ("/shipments?removed=false", [910_233]),
    ("/shipments?removed=true", []),
]


async def test_filters_and_sorts(filled):
    for query, expected in FILTERS:
        assert await ids(filled, query) == expected, query


SORTS = ["updated_at", "-updated_at", "id", "-id", "sku", "-sku", "name", "-name"]


async def test_pages_cover_every_row_once_whatever_their_ids_are(filled):
    for sort in SORTS:
        found, path = [], f"/products?sort={sort}&limit=2"
        while True:
            page = await filled.get(path)
            found += [row["id"] for row in page["data"]]
            if page["next"] is None:
                break
            path = f"/products?sort={sort}&limit=2&cursor={page['next']}"
        assert found == await ids(filled, f"/products?sort={sort}"), sort
        assert len(found) == len(set(found)) == len(PRODUCTS)


BAD = [
    ("/products?limit=0", "limit"),
    ("/products?colour=red", "colour"),
    ("/products?sort=weight", "sort"),
    ("/products?fields=id,nope", "fields"),
    ("/products?include=all", "include"),
    ("/products?archived=maybe", "archived"),
    ("/products?removed=all", "removed"),
    ("/products?sku=", "sku"),
    ("/products?updated_since=soon", "updated_since"),
    ("/invoices?due_before=2026-02-30", "due_before"),
    ("/invoices?due_before=2026-02-03T00:00:00Z", "due_before"),
    ("/invoices?shipment=abc", "shipment"),
    ("/invoices?status=", "status"),
    ("/contacts?company=", "company"),
    ("/products?cursor=x", "cursor"),
    ("/products?cursor=WyJpZCIsZmFsc2UsMSx0cnVlXQ", "cursor"),
    ("/legs?cursor=WyJ1cGRhdGVkX2F0Iix0cnVlLCJ4IiwieCJd", "cursor"),
    ("/products/1?fields=nope", "fields"),
    ("/products/1?limit=1", "limit"),
    ("/products/1/history?field=", "field"),
    ("/shipments/910233/invoices?shipment=7", "shipment"),
]


async def test_a_bad_parameter_is_named(filled):
    for query, parameter in BAD:
        found = await filled.get(query, status=400)
        assert found["parameter"] == parameter, query
        assert found["detail"]


async def test_the_cursor_of_text_ids_works_and_one_of_numbers_takes_no_text(filled):
    page = await filled.get("/invoices?sort=-id&limit=1")
    assert [row["id"] for row in page["data"]] == ["c"]
    assert await ids(filled, f"/invoices?sort=-id&cursor={page['next']}") == ["a", "B"]


async def test_what_follows_from_the_fields_is_shown(filled):
    found = await filled.get("/bookings/31001?fields=stage_known,open")
    assert found == {"stage_known": True, "open": True}


async def test_fields_raw_csv_and_ndjson(filled):
    [row] = await rows(filled, "/products?sku=A-1&fields=sku,id&include=raw")
    assert list(row) == ["sku", "id", "raw"]
    assert row["raw"] == PRODUCTS[0]
    assert await filled.get("/products/1?fields=sku&include=raw") == {"sku": "A-1", "raw": PRODUCTS[0]}
    async with filled.http.get(filled.url + "/api/v1/products?format=csv") as answer:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="products.csv"'
        table = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
    assert [row["id"] for row in table] == ["x-5", "4", "3", "2", "1"]
    assert "raw" not in table[0]
    async with filled.http.get(filled.url + "/api/v1/bookings?format=ndjson&fields=id,stage_known") as answer:
        assert [json.loads(line) for line in (await answer.text()).splitlines()] == [
            {"id": 31_001, "stage_known": True}
        ]


async def test_an_etag_spares_the_body_and_gzip_the_line(filled):
    for path in (
        "/api/v1/products",
        "/api/v1/products/1",
        "/api/v1/purchase-orders",
        "/api/v1/shipments/910233/invoices",
    ):
        async with filled.http.get(filled.url + path) as answer:
            etag = answer.headers["ETag"]
        async with filled.http.get(filled.url + path, headers={"If-None-Match": etag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
    headers = {"Accept-Encoding": "gzip"}
    async with filled.http.get(filled.url + "/api/v1/products", headers=headers, auto_decompress=False) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(json.loads(gzip.decompress(await answer.read()))["data"]) == 5


async def test_what_belongs_to_an_object_is_a_list_of_its_own(filled):
    expected = {
        "/shipments/FLEX-910233/documents": ["-Zz58WVXSuGn6xmLLhYTKQ"],
        "/shipments/910233/invoices": ["a"],
        "/shipments/910233/commercial-invoices": ["abcxyz-23456-def"],
        "/shipments/910233/customs-entries": ["abcdefg-1234567-hijk"],
        "/shipments/910233/bookings": [31_001],
        "/shipments/910233/purchase-orders": [26_088],
        "/shipments/910233/container-legs": [661],
        "/shipments/910233/legs": [8_800_412],
        "/shipments/910233/containers": [555_001],
        "/containers/555001/legs": [661],
        "/legs/8800412/container-legs": [661],
        "/purchase-orders/26088/lines": [900],
        "/purchase-orders/26089/lines": [],
        "/bookings/31001/lines": [501],
        "/purchase-order-line-items/900/booking-line-items": [501],
        "/companies/K67EZV1K8cQ5afQErZwk1Q/entities": [77],
        "/companies/K67EZV1K8cQ5afQErZwk1Q/contacts": ["FHLKEFHHoW8nwh9UVOMpw"],
        "/companies/K67EZV1K8cQ5afQErZwk1Q/locations": ["_8Rq_ua5RRZQ_Rp41dPC9w"],
    }
    for path, found in expected.items():
        assert await ids(filled, path) == found, path
    assert await ids(filled, "/shipments/910233/invoices?status=paid") == []
    one = await filled.get("/purchase-orders/26088")
    assert (await filled.get("/purchase-orders/26088/lines"))["as_of"] == one["as_of"]
    assert "shipment" in (await filled.get("/shipments/5/documents", status=404))["detail"]
    assert "purchase order" in (await filled.get("/purchase-orders/5/lines?format=csv", status=404))["detail"]


async def test_an_invoice_for_two_shipments_belongs_to_both(small, tmp_path, clock):
    small.objects["/invoices"].clear()
    small.put(shipment(5))
    small.put(invoice("one", name="FLEX-5-1"))
    small.put(invoice("two", name="Storage", shipments=[link("/shipment", 5), link("/shipment", 910_233)]))
    async with mirroring(small, tmp_path, clock) as daemon:
        assert await ids(daemon, "/shipments/910233/invoices") == ["two"]
        assert await ids(daemon, "/shipments/5/invoices?sort=id") == ["one", "two"]
        assert await ids(daemon, "/invoices?shipment=FLEX-910233") == ["two"]
        found = await daemon.get("/invoices/two?fields=shipment_id,shipment_ids")
        assert found == {"shipment_id": None, "shipment_ids": [5, 910_233]}
        for path, links in (("/shipments/910233", ["/invoices/two"]), ("/invoices/two", ["/shipments/5"])):
            async with daemon.http.get(daemon.url + path) as page:
                shown = await page.text()
            assert all(f'href="{one}"' in shown for one in links), path


async def test_a_wrong_container_number_is_marked(small, tmp_path, clock):
    small.put(shipment(5))
    small.put(container(556, 5, container_number="CSQU3054384"))
    async with mirroring(small, tmp_path, clock) as daemon:
        found = await daemon.get("/shipments/5/containers")
        assert [(row["container_number_valid"], row["container_iso_type"]) for row in found["data"]] == [
            (False, "45G1")
        ]
        async with daemon.http.get(daemon.url + "/api/v1/containers?format=csv&sort=id") as answer:
            table = list(csv.DictReader(io.StringIO(await answer.text())))
        assert [row["container_number_valid"] for row in table] == ["false", "true"]
        for number, is_marked in ((5, True), (910_233, False)):
            async with daemon.http.get(daemon.url + f"/shipments/{number}") as page:
                assert ("Not a valid ISO 6346 number" in await page.text()) is is_marked


async def test_a_change_shows_at_once_in_every_list_that_it_is_in(daemon, small):
    paths = ["/documents", "/documents/-Zz58WVXSuGn6xmLLhYTKQ", "/shipments/910233/documents", "/products",
             "/commercial-invoices?sku=new-sku", "/purchase-orders?shipment=910233",
             "/company-entities?company=K67EZV1K8cQ5afQErZwk1Q"]  # fmt: skip
    before = [await daemon.get(path) for path in paths]
    small.put(document(document_type="bill_of_lading"))
    small.put(product(sku="NEW-SKU"))
    small.put(company(entities=[]))
    small.put(booking(shipment=link("/shipment", 7)))
    await synced(daemon)
    after = [await daemon.get(path) for path in paths]
    for path, old, new in zip(paths, before, after, strict=True):
        assert old != new, path
    assert after[0]["data"][0]["document_type"] == after[1]["document_type"] == "bill_of_lading"
    assert len(after[4]["data"]) == 1
    assert after[5]["data"] == []
    field = (await rows(daemon, "/documents/-Zz58WVXSuGn6xmLLhYTKQ/history?field=document_type"))[0]
    assert (field["old"], field["new"]) == ("packing_list", "bill_of_lading")


async def test_a_container_leg_learns_its_shipment_from_what_comes_later(tmp_path, clock):
    whole = one_of_each()
    small = SmallFlexport(*(one for one in whole if one["_object"] == "/ocean/shipment_container_leg"))
    async with mirroring(small, tmp_path, clock) as daemon:
        assert (await daemon.get("/container-legs/661"))["shipment_id"] is None
        assert await ids(daemon, "/container-legs?shipment=910233") == []
        await daemon.receive(event(leg(), shipment=shipment(), containers=[container()], type="/shipment_leg#departed"))
        await daemon.settled()
        assert (await daemon.get("/container-legs/661"))["shipment_id"] == 910_233
        assert await ids(daemon, "/container-legs?shipment=910233") == [661]
        assert await ids(daemon, "/shipments/910233/container-legs") == [661]


async def test_what_follows_from_the_day_is_that_of_today(small, tmp_path, clock):
    small.put(purchase_order(must_arrive_date=clock.now().date().isoformat()))
    async with mirroring(small, tmp_path, clock) as daemon:
        paths = ["/purchase-orders", "/purchase-orders/26088", "/shipments/910233/purchase-orders"]

        async def told():
            found = [await daemon.get(path) for path in paths]
            return [one.get("data", [one])[0]["days_until_must_arrive"] for one in found]

        today = clock.now().date()
        before = await told()
        clock.turn(days=1)
        assert clock.now().date() > today
        assert [day - 1 for day in before] == await told()
    assert before[0] in (0, -1)  # midnight may have passed


async def test_a_refresh_tells_what_flexport_has_now(daemon, small):
    path = "/products/84291"
    assert (await daemon.call(f"{path}/refresh"))["refresh"] == "unchanged"
    small.put(product(name="AC Adapter 24V"))
    found = await daemon.call(f"{path}/refresh")
    assert (found["refresh"], found["name"]) == ("changed", "AC Adapter 24V")
    assert (await daemon.get(path))["name"] == "AC Adapter 24V"
    small.put(product(9))
    found = await daemon.call("/products/9/refresh?fields=id&include=raw")
    assert (found["refresh"], found["id"], found["raw"]) == ("new", 9, product(9))
    small.take(product(9))
    found = await daemon.call("/products/9/refresh")
    assert found["refresh"] == "removed"
    assert found["removed_at"] is not None
    assert (await daemon.call("/products/9/refresh"))["refresh"] == "unchanged"  # it was gone before
    assert await ids(daemon, "/products?removed=true") == [9]
    assert await ids(daemon, "/products?removed=false") == [84_291]
    assert sorted(await ids(daemon, "/products")) == [9, 84_291]
    small.put(shipment(status="arrival_port", updated_at="2026-03-09T00:00:00Z"))
    found = await daemon.call("/shipments/FLEX-910233/refresh")
    assert (found["refresh"], found["status"], found["flex_id"]) == ("changed", "arrival_port", "FLEX-910233")


async def test_a_refresh_that_cannot_be_says_why(daemon, small, settings, monkeypatch):
    monkeypatch.setattr("flexportd.flexport.retry.backoff", lambda *_: 60.0)  # longer than a request may take
    assert "product" in (await daemon.call("/products/7/refresh", status=404))["detail"]
    assert "id or reference" in (await daemon.call("/legs/x/refresh", status=404))["detail"]
    assert (await daemon.call("/products/84291/refresh?x=1", status=400))["parameter"] == "x"
    for told, status, slug in (
        (401, 502, "flexport-unauthorised"),
        (403, 502, "flexport-forbidden"),
        (422, 502, "flexport-rejected"),
    ):
        small.failing["/products"] = told
        found = await daemon.call("/products/84291/refresh", status=status)
        assert found["type"] == f"urn:flexportd:problem:{slug}"
        assert found["detail"].startswith("Flexport ")
        assert "told so" in found["detail"]
    small.failing["/products"] = 500
    async with daemon.http.post(daemon.url + "/api/v1/products/84291/refresh") as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
    assert (await daemon.get("/products/84291"))["removed_at"] is None


async def test_without_a_key_a_refresh_is_a_conflict(tmp_path, clock, settings):
    from tests.under_test import start

    async with start(settings, clock) as daemon:
        found = await daemon.call("/products/1/refresh", status=409)
        assert "api_key" in found["detail"]


def test_every_error_of_flexports_has_a_status_and_a_sentence():
    from flexportd.flexport import errors
    from flexportd.http.problems import FLEXPORT_PROBLEMS

    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.FlexportError)]
    assert {one.slug for one in kinds if one is not errors.FlexportError} == set(FLEXPORT_PROBLEMS)


def test_names_do_not_collide():
    from flexportd.expose import serialize
    from flexportd.expose.api.resources import filters_of

    registry = Registry()
    for domain in registry:
        names = serialize.field_names(domain.table, domain.derived_value_names)
        assert len(names) == len(set(names)), domain.name
        taken = {"limit", "cursor", "sort", "fields", "include", "format"}
        assert not taken & set(filters_of(domain, registry))
        assert domain.derived_values is None or domain.derived_value_names
