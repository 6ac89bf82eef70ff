"""The description is good enough for others' tools: a client that one of them makes of it reads a running daemon."""

import asyncio
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from flexportd.settings import Settings
from tests.events import event, leg, shipment
from tests.under_test import start

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def client_package(tmp_path_factory):
    """Made of what `flexportd openapi` prints, by openapi-python-client."""
    folder = tmp_path_factory.mktemp("made")
    printed = subprocess.run([BIN / "flexportd", "openapi"], capture_output=True, timeout=60, check=True, cwd=folder)
    description = folder / "openapi.json"
    description.write_bytes(printed.stdout)
    config = folder / "config.yml"
    config.write_text("post_hooks: []")  # no linter
    made = subprocess.run(
        [
            BIN / "openapi-python-client", "generate", "--path", description, "--config", config,
            "--meta", "none", "--output-path", "made_client",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    sys.path.insert(0, str(folder))
    yield importlib.import_module("made_client")
    sys.path.remove(str(folder))


async def test_a_generated_client_lists_shipments(client_package, tmp_path, clock):
    list_shipments = importlib.import_module("made_client.api.shipments.list_shipments")
    get_shipment = importlib.import_module("made_client.api.shipments.get_shipment")
    search = importlib.import_module("made_client.api.search.search")
    async with start(Settings.for_tests(tmp_path), clock) as daemon:
        await daemon.receive(*(event(shipment(number), id=number) for number in range(1, 6)), event(leg(7, 5), id=7))
        await daemon.settled()

        def ask():
            with client_package.Client(base_url=daemon.url, raise_on_unexpected_status=True) as client:
                first = list_shipments.sync(client=client, limit=3, status=["seller_location"])
                rest = list_shipments.sync(client=client, limit=3, status=["seller_location"], cursor=first.next_)
                one = get_shipment.sync("FLEX-5", client=client)
                wrong = list_shipments.sync(client=client, limit=3, cursor=first.next_)
                found = search.sync(client=client, q="MAEU")
                return first, rest, one, wrong, found

        first, rest, one, wrong, found = await asyncio.to_thread(ask)
        assert sorted(shipment.id for shipment in (*first.data, *rest.data)) == [1, 2, 3, 4, 5]
        assert rest.next_ is None
        assert one.flex_id == "FLEX-5"
        assert one.estimated_arrival_date.isoformat() == "2026-03-21"
        assert (wrong.status, wrong.parameter) == (400, "cursor")
        assert found.query == "MAEU"


def test_the_description_needs_no_daemon_and_names_the_public_address(tmp_path):
    config = tmp_path / "flexportd.toml"
    config.write_text('[server]\npublic_url = "https://freight.example.com/"\n', encoding="utf-8")
    command = [BIN / "flexportd", "--config", config, "openapi"]
    printed = subprocess.run(command, capture_output=True, timeout=60, check=True, cwd=tmp_path)
    document = json.loads(printed.stdout)
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "https://freight.example.com"}]
    assert "/api/v1/shipments/{id}" in document["paths"]
