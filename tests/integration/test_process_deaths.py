"""What ends the process each time it is worked on becomes a dead letter, and nothing else does: real processes that die."""

import asyncio
import contextlib
import json
import signal

import aiohttp
import pytest

from flexportd.queue.queue import MAX_DEATHS
from tests.events import event, shipment
from tests.flexport_double import FlexportDouble, answer
from tests.integration.test_crash import Process, send
from tests.small_flexport import SmallFlexport
from tests.under_test import look_again


class Deadly(Process):
    """A daemon in which some items are deadly."""

    module = "tests.deadly"

    def __init__(self, tmp_path, port, extra=""):
        super().__init__(tmp_path, port)
        config = self.dir / "flexportd.toml"
        config.write_text(extra + config.read_text())

    async def survive(self, http, is_done):
        """Start it again each time it dies, until `is_done`; how often it died."""
        deaths = 0
        async with asyncio.timeout(100):
            while True:
                try:
                    while not await is_done():
                        await look_again()
                except (aiohttp.ClientError, OSError, AssertionError):
                    assert await self.wait() == -signal.SIGKILL, self.log
                    deaths += 1
                    with contextlib.suppress(AssertionError):  # it may die before it has started
                        await self.start()
                else:
                    return deaths

    async def resume(self, http):
        with contextlib.suppress(aiohttp.ClientError, OSError):  # it may die before it answers
            await self.call(http, "POST", "/queue/resume")

    async def call(self, http, method, path):
        async with http.request(method, self.url + "/api/v1" + path) as found:
            return await found.json()


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_an_event_that_ends_the_process_is_a_dead_letter_and_all_others_are_applied(
    tmp_path, unused_tcp_port, http
):
    one = Deadly(tmp_path, unused_tcp_port)
    await one.start()
    try:
        await one.call(http, "POST", "/queue/pause")
        events = [event(shipment(n, name="deadly" if n == 17 else "good")) for n in range(1, 41)]
        for body in events:
            assert await send(http, one.url, json.dumps(body).encode()) == 200
        await one.resume(http)

        async def is_done():
            queue = await one.call(http, "GET", "/queue")
            return not queue["paused"] and not queue["ready"] + queue["leased"]

        assert await one.survive(http, is_done) == MAX_DEATHS + 1  # the first among others, which blames none
        [letter] = (await one.call(http, "GET", "/dead-letters"))["data"]
        assert letter["event_id"] == str(events[16]["id"])
        assert letter["error"] == f"the process ended {MAX_DEATHS} times while it worked on this item"
        states = (await one.call(http, "GET", "/status"))["events"]["by_state"]
        assert (states["applied"], states["dead"]) == (39, 1)
        assert await one.end(signal.SIGTERM) == 0
    finally:
        await one.kill()


async def test_a_file_that_ends_the_process_is_a_dead_letter_and_the_files_beside_it_are_fetched(
    tmp_path, unused_tcp_port, http
):
    flexport, double = SmallFlexport(), FlexportDouble()
    pdf = answer(b"%PDF-1.4\n%%EOF\n", Content_Type="application/pdf")
    double.usual = lambda request: pdf(request) if "download" in request.path else flexport.answer(request)
    async with double.running():
        extra = f'[flexport]\nbase_url = "{double.url}"\napi_key = "key"\n[documents]\narchive = true\n'
        one = Deadly(tmp_path, unused_tcp_port, extra)
        await one.start()
        try:
            await one.call(http, "POST", "/queue/pause")
            for key in ("good-1", "deadly-1", "good-2", "good-3"):
                document = {"_object": "/document", "id": key, "document_type": "commercial_invoice"}
                assert await send(http, one.url, json.dumps(event(document)).encode()) == 200
            await one.resume(http)

            async def is_done():
                return (await one.call(http, "GET", "/dead-letters"))["data"]

            assert await one.survive(http, is_done) == MAX_DEATHS + 1  # the first among others, which blames none
            [letter] = await is_done()
            assert letter["kind"] == "document_file"
            assert letter["error"] == f"the process ended {MAX_DEATHS} times while it worked on this item"

            async def state(key):
                [file] = (await one.call(http, "GET", f"/documents/{key}/files"))["data"]
                return file["state"]

            async with asyncio.timeout(30):
                while [await state(f"good-{number}") for number in (1, 2, 3)] != ["fetched"] * 3:
                    await look_again()
            assert await state("deadly-1") == "failed"
        finally:
            await one.kill()
