"""Every resource's list as it was, through the front door."""

import csv
import io
from datetime import timedelta

import pytest

from flexportd.core.resources.registry import Registry
from flexportd.expose.api.resources import list_definition
from tests.events import container, event, leg, shipment
from tests.wire_goods import invoice, product

REGISTRY = Registry()
LATER = "2026-04-05T10:00:00.000Z"


async def _live(daemon, clock, *events):
    """Receive and apply; the time at which that was known."""
    await daemon.receive(*events)
    await daemon.settled()
    at = clock.stamp()
    clock.turn(hours=1)
    return at


async def test_what_belongs_to_shipments_is_listed_as_it_was(daemon, clock):
    at = await _live(
        daemon, clock,
        event(leg(1), shipment=shipment(), containers=[container(5)], type="/shipment_leg#departed"),
        event(leg(2, transportation_mode="truck"), type="/shipment_leg#departed"),
    )  # fmt: skip
    shown = {name: await daemon.get(f"/{name}") for name in ("legs", "containers", "shipments/910233/documents")}
    await _live(
        daemon, clock,
        event(leg(1, transportation_mode="air"), type="/shipment_leg#departed", created_at=LATER),
        event(leg(3), type="/shipment_leg#departed", created_at=LATER),
        event(leg(2), type="/shipment_leg#departed", created_at=LATER, containers=[container(5, seal_number="S1")]),
    )  # fmt: skip
    assert len((await daemon.get("/legs"))["data"]) == 3
    for name, before in shown.items():
        assert (await daemon.get(f"/{name}?as_of={at}"))["data"] == before["data"], name
    assert [row["id"] for row in (await daemon.get(f"/legs?as_of={at}&mode=truck"))["data"]] == [2]
    assert (await daemon.get(f"/legs?as_of={at}&mode=air"))["data"] == []


async def test_a_list_of_the_past_is_followed_and_exported_like_any_other(daemon, clock):
    at = await _live(daemon, clock, *(event(product(number)) for number in range(1, 8)))
    await _live(daemon, clock, *(event(product(number, name="x"), created_at=LATER) for number in range(1, 12)))
    found, cursor = [], ""
    while True:
        page = await daemon.get(f"/products?as_of={at}&limit=2&sort=name{cursor}")
        found += [(row["id"], row["name"]) for row in page["data"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
        await daemon.receive(event(product(len(found), name=str(len(found))), created_at=LATER))
        await daemon.settled()
    assert sorted(found) == [(number, "AC Adapter 12V") for number in range(1, 8)]
    async with daemon.http.get(f"{daemon.url}/api/v1/products?as_of={at}&format=csv&fields=id,name") as answer:
        rows = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
    assert sorted(int(row["id"]) for row in rows) == list(range(1, 8))


async def test_what_follows_from_the_day_is_that_of_the_day(daemon, clock):
    noon = (clock.now() + timedelta(days=1)).replace(hour=12, minute=0)
    clock.turn(seconds=(noon - clock.now()).total_seconds())  # far from midnight
    day = (clock.now() + timedelta(days=30)).date().isoformat()
    at = await _live(daemon, clock, event(invoice(status="outstanding", due_date=day)))
    (before,) = (await daemon.get("/invoices"))["data"]
    clock.turn(days=10)
    (now,) = (await daemon.get("/invoices"))["data"]
    (then,) = (await daemon.get(f"/invoices?as_of={at}"))["data"]
    assert then == before
    assert then["days_until_due"] - now["days_until_due"] == 10


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/purchase-orders?shipment=1", "shipment"),
        ("/company-entities?company=1", "company"),
        ("/products?hs_code=8504", "hs_code"),
        ("/commercial-invoices?sku=1", "sku"),
        ("/commercial-invoices?po=1&format=csv", "po"),
    ],
)
async def test_a_filter_that_looks_at_more_than_the_objects_is_refused_by_name(daemon, path, name):
    document = await daemon.get(f"{path}&as_of=2026-03-04", status=400)
    assert document["parameter"] == name
    assert f"{name} cannot be combined with as_of" in document["detail"]


@pytest.mark.parametrize("domain", [one for one in REGISTRY if one.name != "shipments"], ids=lambda one: one.name)
async def test_every_list_takes_as_of_and_says_what_does_not_go_with_it(daemon, domain):
    assert await daemon.get(f"/{domain.route}?as_of=2026-03-04") == {"data": [], "next": None, "as_of": None}
    for sort in list_definition(domain, REGISTRY).rules.sorts:
        assert (await daemon.get(f"/{domain.route}?as_of=2026-03-04&sort=-{sort}"))["data"] == []
    assert (await daemon.get(f"/{domain.route}?as_of=2026-03-04&include=raw", status=400))["parameter"] == "include"
    assert (await daemon.get(f"/{domain.route}?as_of=2999-03-04", status=400))["parameter"] == "as_of"
    assert (await daemon.get(f"/{domain.route}?as_of=x", status=400))["parameter"] == "as_of"
