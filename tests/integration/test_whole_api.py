"""schemathesis over the whole description, with keys and without: no failure on any route, with all checks on."""

import asyncio
import os
import sys
from pathlib import Path

import aiohttp
import pytest

from flexportd.clock import Clock
from flexportd.expose.streaming import sse
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.settings import Rate
from tests.integration.test_daemon_sync import configured, ended
from tests.mirrored import KEY
from tests.under_test import start

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "2")
SEED = os.environ.get("SCHEMATHESIS_SEED", "1")
"""The same cases in every run, so that a run says something about the change; others by hand, with more examples."""
ALIKE = (
    "^/api/v1/(legs|container-legs|booking-line-items|purchase-order-line-items|company-entities|contacts|locations|"
    "ports|customs-entries|companies)"
    "|^/api/v1/(products|invoices|commercial-invoices|bookings|purchase-orders|containers)/[^/]+/(history|refresh)$"
    "|^/api/v1/(shipments|products|bookings|purchase-orders|containers)/[^/]+/(bookings|commercial-invoices|"
    "container-legs|customs-entries|documents|legs|lines|purchase-orders|purchase-order-line-items)$"
)
"""Resources without routes of their own, and lists below one resource: the code is that of the others, whose every
parameter is tried."""
WRITES_ALIKE = (
    "booking_create", "booking_amend", "commercial_invoice_create", "commercial_invoice_update", "document_upload",
    "product_update",
)  # fmt: skip
"""Writes whose bodies tests/unit/test_write_validation.py tries; the rest of their code is that of the others."""
CONFIG = Path(__file__).parent / "schemathesis.toml"


async def schemathesis(folder, url, phases, *arguments):
    """Everything it says, and its exit code."""
    process = await asyncio.create_subprocess_exec(
        SCHEMATHESIS, "--no-color", "--config-file", CONFIG, "run", f"{url}/api/v1/openapi.json",
        "--checks", "all", "--phases", phases, "--max-examples", EXAMPLES, "--seed", SEED, "--continue-on-failure",
        "--suppress-health-check", "all", "--warnings", "off", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()


@pytest.fixture(autouse=True)
def brief_streams(monkeypatch):
    """A stream never ends by itself, and schemathesis waits for the end of every answer."""
    told = sse._SseConnection.run

    async def run(self):
        follower = self._subscriber

        def end():
            follower.stopped = True
            follower.wake()

        asyncio.get_running_loop().call_later(0.02, end)
        await told(self)

    monkeypatch.setattr(sse._SseConnection, "run", run)


async def open_key(daemon):
    path = str(daemon.daemon.settings.storage.control_socket)
    body = {"name": "schemathesis", "scope": "admin", "rate_limit": "off"}
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as http,
        http.post("http://flexportd/api/v1/keys", json=body) as answer,
    ):
        return (await answer.json())["token"]


@pytest.mark.parametrize("keys", [False, True], ids=["open", "with keys"])
async def test_no_check_of_schemathesis_fails_on_any_route(tmp_path, keys, monkeypatch):
    monkeypatch.setattr(
        "flexportd.expose.security.authentication.FAILURE_RATE", Rate(1_000_000, 60)
    )  # it tries wrong keys, many of them
    async with (
        Sandbox(SandboxOptions(speed=0, shipments=6, api_key=KEY), Clock()) as sandbox,
        start(configured(tmp_path / "d", sandbox.url, **{"api.require_key": keys}), Clock()) as daemon,
    ):
        token = await open_key(daemon)
        daemon.http.headers["Authorization"] = f"Bearer {token}"
        await ended(daemon, (await daemon.call("/sync/run", status=202))["id"])
        left_out = [option for name in WRITES_ALIKE for option in ("--exclude-operation-id", name)]
        headers = (
            ("--header", f"Authorization: Bearer {token}", "--exclude-path-regex", ALIKE, *left_out) if keys else ()
        )
        # The cases of each phase are the same with keys and without: once is enough.
        phases = "coverage" if keys else "examples,fuzzing"
        code, said = await schemathesis(tmp_path, daemon.url, phases, *headers)
        assert code == 0, said[-20_000:]
        assert daemon.daemon.tasks.dead == {}
