"""Freight invoices from Flexport to the messages: each fact once, in the values of its time, and the expected amount."""

import json

from flexportd.core.changes.stream_messages import StreamPosition, read_messages
from flexportd.core.resources.registry import REGISTRY
from tests.events import shipment
from tests.small_flexport import SmallFlexport, mirroring, synced
from tests.wire_goods import invoice, money

MONEY = ("old_total", "new_total", "old_currency", "currency", "difference")


async def told(daemon, after=None):
    """The messages about invoices besides `updated`, each by its topic, with the amounts it names."""
    place = after or StreamPosition(0)
    batch = await daemon.daemon.db.read(lambda tx: read_messages(tx, REGISTRY, place))
    documents = [json.loads(one.data) for one in batch.messages if one.topic.startswith("invoice.")]
    found = [
        (one["topic"].removeprefix("invoice."), *(one[name] for name in MONEY if name in one)) for one in documents
    ]
    return [one for one in found if one[0] not in ("created", "updated")]


async def test_what_happens_to_an_invoice_is_told_once_in_the_values_of_its_time(tmp_path, clock):
    flexport = SmallFlexport(shipment(910233), invoice(due_date=None))
    async with mirroring(flexport, tmp_path, clock) as daemon:
        first = await told(daemon)
        assert first == [("shared",)]
        steps = (
            {"total": money("620.14")},
            {"total": money("620.14", "EUR")},
            {"total": money("620.14", "EUR"), "status": "void"},
            {"total": money("0", "EUR"), "status": "void", "voided_at": "2026-03-05T00:00:00.000Z"},
            {"total": money("620.14", "EUR")},
            {"total": money("620.14", "EUR"), "status": "void"},
            {"total": money("700.14", "EUR"), "status": "paid"},
        )
        expected = [
            ("shared",),
            ("total_changed", "612.14", "620.14", "USD", "USD", "8"),
            ("total_changed", "620.14", "620.14", "USD", "EUR", None),
            ("voided",),
            ("total_changed", "0", "620.14", "EUR", "EUR", "620.14"),
            ("voided",),
            ("paid",),
            ("total_changed", "620.14", "700.14", "EUR", "EUR", "80"),
        ]
        for number, step in enumerate(steps):
            flexport.put(invoice(due_date=None, last_updated_at=f"2026-03-06T0{number}:00:00.000Z", **step))
            await synced(daemon)
            so_far = await told(daemon)
            assert so_far == expected[: len(so_far)], number
        assert await told(daemon) == expected


async def test_the_freight_cost_is_the_expected_amount_everywhere(tmp_path, clock):
    flexport = SmallFlexport(
        shipment(910233, freight_cost=512.14),
        shipment(910234),
        invoice(),
        invoice("other", name="FLEX-910234-1"),
    )
    async with mirroring(flexport, tmp_path, clock) as daemon:
        key = "gwdpaYrhTI-T1ljn1M7o7w"
        compared = {"expected_amount": "512.14", "expected_currency": "USD", "difference": "100"}
        rows = {one["id"]: one for one in (await daemon.get("/invoices"))["data"]}
        assert compared.items() <= rows[key].items()
        assert compared.items() <= (await daemon.get(f"/invoices/{key}")).items()
        assert compared.items() <= (await daemon.get("/shipments/910233/invoices"))["data"][0].items()
        assert compared.items() <= (await daemon.call(f"/invoices/{key}/refresh")).items()
        assert set(await daemon.get(f"/invoices/{key}?fields=difference")) == {"difference"}
        assert rows["other"]["expected_amount"] is rows["other"]["difference"] is None
        async with daemon.http.get(f"{daemon.url}/invoices/{key}", headers={"Accept": "text/html"}) as answer:
            page = await answer.text()
        assert "512.14" in page
        assert "expected amount" in page.lower()
        assert "difference" in page.lower()
