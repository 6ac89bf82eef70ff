"""Notifications over the whole way: a webhook from Flexport arrives, and a mail leaves for a real SMTP server."""

import pytest

from flexportd.settings import Settings
from tests.events import event, shipment
from tests.mail_server import email_channel, mail_server
from tests.under_test import start

SLIPS = {"name": "ETA slips", "on": "shipment.eta_changed", "when": {"days_later": 2}}


@pytest.fixture
async def box():
    async with mail_server() as found:
        yield found


def configured(tmp_path, box, *rules, **fields):
    return Settings.for_tests(
        tmp_path, **{"notify.gather": "0s", "notify.rules": list(rules), **email_channel(box), **fields}
    )


def slipped(number: int, day: str, at: str, **fields):
    return event(shipment(number, estimated_arrival_date=f"{day}T12:00:00.000-07:00", updated_at=at, **fields))


async def test_a_slip_of_the_arrival_is_a_mail_that_names_shipment_dates_and_days(tmp_path, box, clock):
    async with start(configured(tmp_path, box, SLIPS), clock) as daemon:
        await daemon.receive(event(shipment(42)))
        await daemon.settled()
        await daemon.receive(slipped(42, "2026-03-25", "2026-03-05T00:00:00Z"))
        await box.wait_for(1)
        assert box.subjects == ["FLEX-42 · PO 42: ETA 4 days later"]
        assert "25 Mar" in box.text()
        assert "4 days later than 21 Mar" in box.text()
