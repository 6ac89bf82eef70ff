"""A server on loopback that channels send to: it records requests and answers from a script, and messages for them."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web

from flexportd.notify.channels.channel import ChannelContext, OutgoingMessage
from flexportd.notify.content import Content, Line, Section
from tests.flexport_double import StillClock

CREATED = datetime(2026, 3, 4, 11, 59, 30, tzinfo=UTC)


class HttpTarget:
    """`script` holds the first answers (functions of the request, which may be coroutines), then comes `usual`."""

    def __init__(self, usual=None):
        self.script = deque()
        self.usual = usual or reply("ok")
        self.requests = []
        self.bodies = []

    async def _handle(self, request):
        self.bodies.append(await request.read())
        self.requests.append(request)
        found = (self.script.popleft() if self.script else self.usual)(request)
        return await found if asyncio.iscoroutine(found) else found

    @asynccontextmanager
    async def running(self, tls=None):
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        try:
            yield self
        finally:
            await runner.cleanup()


def reply(text="", status=200, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("Content-Type", "text/plain")
    return lambda request: web.Response(
        body=text if isinstance(text, bytes) else text.encode(), status=status, headers=named
    )


def endless(status=200):
    async def answer(request):
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    return answer


async def silent(request):
    await asyncio.Event().wait()


def context(**more):
    return ChannelContext(StillClock(), **more)


def message(content=None, **more):
    return OutgoingMessage(**{"key": "msg_1", "content": content or delay(), "created_at": CREATED, **more})


def delay():
    return Content(
        title="Two shipments arrive later",
        summary="Ever Given 042W is late",
        severity="warning",
        topic="shipment.eta_changed",
        data={"shipment_id": 1042, "days_later": 4, "name": "Ünïcode"},
        path="/shipments/1042",
        sections=[
            Section(
                title="Later",
                lines=[
                    Line(
                        "FLEX-1042 · Winter jackets",
                        ["ETA 3 Dec → 7 Dec", "4 days later"],
                        "critical",
                        "/shipments/1042",
                    ),
                    Line("FLEX-1043 · Boots", ["ETA 4 Dec → 6 Dec"], "warning", "/shipments/1043"),
                ],
                note="and 12 more",
            )
        ],
        notes=["The template of the rule failed"],
        rules=["ETA slips"],
    )
