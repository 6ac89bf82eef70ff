"""The sandbox itself: a world behind a look-alike API, that moves with time and sends signed webhooks.

async with Sandbox(SandboxOptions(shipments=40), Clock()) as box:
    print(box.url, box.api_key)
"""

import asyncio
import contextlib
import copy
import socket
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from flexportd.clock import Clock
from flexportd.errors import ConflictError
from flexportd.sandbox.catalog.wire_objects import Wire
from flexportd.sandbox.custom_event import make_event
from flexportd.sandbox.faults.injector import FaultInjector, ScriptedFault
from flexportd.sandbox.faults.kinds import Faults, faults_from
from flexportd.sandbox.http.api import Api
from flexportd.sandbox.http.auth import Authenticator
from flexportd.sandbox.http.middleware import ApiMiddleware
from flexportd.sandbox.http.request_log import RequestLog
from flexportd.sandbox.options import SandboxOptions
from flexportd.sandbox.webhook_sender import DeliveryCounters, UndeliveredEvent, WebhookEndpoint, WebhookSender
from flexportd.sandbox.world.world import World, WorldPlan
from flexportd.tasks import Tasks

_TICK, _SHORT_TICK = 1.0, 0.25  # seconds between two steps of the world; short where a clock follows it
_WEBHOOK_WAIT = 1.0  # seconds that a list of events may wait for webhooks
_NOT_STARTED = "The sandbox has not been started."


class Sandbox:
    """A Flexport look-alike. It starts with `async with` or `start`; `stop` is safe before that and twice."""

    def __init__(
        self, options: SandboxOptions, clock: Clock, stepped: Callable[[datetime], None] | None = None
    ) -> None:
        """`stepped` is called with the present of the world whenever it has moved, before anybody hears of events."""
        self.options = options
        self._stepped = stepped
        self.api_key = options.api_key
        self.tasks = Tasks()
        self._clock = clock
        faults = options.faults
        self._dice = FaultInjector(faults if isinstance(faults, Faults) else faults_from(faults), options.seed)
        self._listener: socket.socket | None = None
        self._url: str | None = None
        self._world: World | None = None
        self._gate: ApiMiddleware | None = None
        self._runner: web.AppRunner | None = None
        self._deliveries: WebhookSender | None = None
        self._caught_up = asyncio.Event()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Take the port, make the world, answer, and begin to move. Raises OSError when the port is taken."""
        options = self.options
        self._listener = _listen(options.host, options.port)
        self._url = _url_of(self._listener)
        plan = WorldPlan(self._clock.now(), options.seed, options.shipments, self._url)
        self._world = await asyncio.to_thread(World, plan)
        access = Authenticator(options, self._clock)
        self._gate = ApiMiddleware(self._world, access, self._dice, self._clock, self._wait_for_webhooks)
        app = Api(self._world, access, self._gate, complete_lists=options.complete_lists).application()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()
        if options.webhook_url and options.webhook_secret:
            target = WebhookEndpoint(options.webhook_url, options.webhook_secret, options.in_flight)
            self._deliveries = WebhookSender(target, self._clock, self._dice)
        self.tasks.start("sandbox_world", self._run, vital=False)

    async def stop(self) -> None:
        """Stop moving, give up what is on its way, and close the port."""
        await self.tasks.stop()
        self._caught_up.set()
        if self._deliveries is not None:
            await self._deliveries.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._listener is not None:
            self._listener.close()

    @property
    def url(self) -> str:
        """Where the look-alike answers."""
        if self._url is None:
            raise ConflictError(_NOT_STARTED)
        return self._url

    @property
    def world(self) -> World:
        """What the look-alike knows."""
        if self._world is None:
            raise ConflictError(_NOT_STARTED)
        return self._world

    @property
    def requests(self) -> RequestLog:
        """What was asked so far, tokens counted apart."""
        if self._gate is None:
            raise ConflictError(_NOT_STARTED)
        return self._gate.requests

    @property
    def deliveries(self) -> DeliveryCounters:
        """What became of the webhooks so far."""
        return self._sender().counters

    @property
    def undelivered(self) -> deque[UndeliveredEvent]:
        """Events that ten attempts did not get through, the last thousand."""
        return self._sender().undelivered

    async def wait_delivered(self) -> None:
        """Wait until every webhook caused so far, the backlog included, is accepted or given up."""
        sender = self._sender()
        await self._caught_up.wait()
        await sender.wait_delivered()

    async def send(self, event: Wire) -> int:
        """Send one event once, now, without faults; returns the status of the answer, 0 for none."""
        self.world.record(event)
        return await self._sender().attempt(event)

    async def step(self, seconds: float) -> list[Wire]:
        """Move the world by simulated seconds and see the events through to the receiver, if there is one."""
        events = self.world.advance(self.world.now + timedelta(seconds=seconds))
        self._notify_stepped()
        if self._deliveries is not None:
            await self._deliveries.submit(events)
            await self._deliveries.wait_delivered()
        return events

    def event(self, shipment_id: int, kind: str, at: datetime | None = None, **fields: Any) -> Wire:
        """Forge an event of type `kind` about a shipment whose `fields` differ, recorded at `at` (else now).

        The world does not change (see `amend`) and nothing is sent (see `send`); the event is yours to edit.
        `about=ID` chooses which leg, container or container leg it is about. Raises NotFoundError, InvalidError.
        """
        return copy.deepcopy(make_event(self.world, shipment_id, kind, (at or self.world.now, fields)))

    def fault(
        self, kind: str, path: str = "^/(?!oauth)", *, times: int | None = 1, method: str | None = None
    ) -> ScriptedFault:
        """Spoil the next `times` answers (None: all) whose path and query match a regular expression.

        `kind` is one of `ANSWER_FAULTS`. Earlier faults go first; one that suits lists only waits for a list, `repeat`
        for one with a page before. The script returned counts what it `made`. Raises InvalidError.
        """
        script = ScriptedFault(kind, path, times, method)
        self._dice.scripts.append(script)
        return script

    def clear_faults(self) -> None:
        """Forget all faults that were asked for with `fault`."""
        self._dice.scripts.clear()

    def put(self, wire: Mapping[str, Any]) -> None:
        """Add or replace an object of any kind, silently: see `World.put`."""
        self.world.put(dict(wire))

    def delete(self, kind: str, key: int | str) -> None:
        """Take an object out of list and show, silently: see `World.delete`."""
        self.world.delete(kind, key)

    def override(self, kind: str, key: int | str, **fields: Any) -> Wire:
        """Change fields of any object, silently and without moving a stamp: see `World.alter`."""
        return self.world.override(kind, key, fields)

    def edit_shipment(self, shipment_id: int, fields: Mapping[str, Any]) -> Wire:
        """Change a shipment in the world without any event, as with an ETA change nobody asked to be told of."""
        return self.world.edit_shipment(shipment_id, dict(fields))

    async def _run(self) -> None:
        """Send the backlog, then let the world keep up with the clock."""
        if self.options.send_backlog and self._deliveries is not None:
            await self._deliveries.submit(self.world.backlog())
            await self._deliveries.wait_delivered()
        self._caught_up.set()
        last = self._clock.now()
        self._notify_stepped()
        while self.options.speed:
            await self._clock.sleep(_TICK if self._stepped is None else _SHORT_TICK)
            now = self._clock.now()
            events = self.world.advance(self.world.now + (now - last) * self.options.speed)
            last = now
            self._notify_stepped()
            if self._deliveries is not None:
                await self._deliveries.submit(events)

    def _notify_stepped(self) -> None:
        if self._stepped is not None:
            self._stepped(self.world.now)

    async def _wait_for_webhooks(self) -> None:
        """Wait, but not for long, until every event's webhook was sent once."""
        if self._deliveries is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WEBHOOK_WAIT):
                    await self._deliveries.wait_attempted()

    def _sender(self) -> WebhookSender:
        if self._deliveries is None:
            raise ConflictError("This sandbox sends no webhooks: give it webhook_url and webhook_secret, and start it.")
        return self._deliveries


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket: the port must be known before the world, whose links lead to it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _url_of(listener: socket.socket) -> str:
    """A URL that leads here; a wildcard address is reached over loopback."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (the wildcard is replaced)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
