"""A Flexport of a test's own: a real server on loopback that answers what a script says, and a clock that never waits."""

import asyncio
import json
from collections import deque
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from aiohttp import web

from tests.under_test import DatedClock


class HurriedClock(DatedClock):
    """A dated clock plus what was slept: `sleep` returns at once, and time has passed."""

    def __init__(self):
        super().__init__()
        self.turned = timedelta()
        self.slept = []

    @property
    def machine(self):
        return self  # retries and the pace of requests do not wait either

    def now(self):
        return super().now() + self.turned

    def turn(self, **by):
        self.turned += timedelta(**by)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.turned += timedelta(seconds=seconds)
        await asyncio.sleep(0)


class StillClock(HurriedClock):
    """No time passes but what is slept or turned."""

    def now(self):
        return datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC) + self.turned


def envelope(data, error=None, version=2):
    return {"_object": "/api/response", "self": "https://x/", "version": version, "data": data, "error": error}


def listing(rows, following=None, total=None):
    page = {
        "_object": "/api/collections/paginated",
        "prev": None,
        "next": following,
        "total_count": total,
        "data": rows,
    }
    return envelope(page)


def answer(value, status=200, **headers):
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    named.setdefault("Content-Type", "application/json")
    return lambda request: web.Response(body=body, status=status, headers=named)


def html(status=200):
    return answer(b"<html>maintenance</html>", status, Content_Type="text/html")


async def reset(request):
    request.transport.abort()
    return web.Response()


async def cut_short(request):
    """Promises more bytes than it sends."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"_object"')
    request.transport.close()
    return response


class FlexportDouble:
    """`script` holds answers (functions of the request) that come first; then `usual`. Everything asked is kept."""

    def __init__(self):
        self.script = deque()
        self.usual = answer(listing([]))
        self.asked = []
        self.token_script = deque()
        self.token_bodies = []
        self.tokens = 0
        self.life = 86400
        self.accepts = None  # a set of bearers, None: any
        self.busy = 0
        self.busiest = 0
        self.gate = None  # an Event that answers wait for

    async def _token(self, request):
        body = await request.read()
        self.token_bodies.append((request.headers["Content-Type"], body))
        if self.token_script:
            return await self._told(self.token_script.popleft(), request)
        self.tokens += 1
        return web.json_response({"access_token": f"token-{self.tokens}", "expires_in": self.life})

    async def _any(self, request):
        await request.read()
        self.asked.append(request)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.accepts is not None and request.headers.get("Authorization", "")[7:] not in self.accepts:
                return web.json_response({"errors": [{"code": "bad_token", "message": "Bad token"}]}, status=401)
            return await self._told(self.script.popleft() if self.script else self.usual, request)
        finally:
            self.busy -= 1

    async def _told(self, told, request):
        found = told(request)
        return await found if asyncio.iscoroutine(found) else found

    @property
    def token_requests(self):
        return len(self.token_bodies)

    @asynccontextmanager
    async def running(self, tls=None):
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/oauth/token", self._token)
        app.router.add_route("*", "/{tail:.*}", self._any)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}" if tls is None else f"https://localhost:{self.port}"
        try:
            yield self
        finally:
            await runner.cleanup()
