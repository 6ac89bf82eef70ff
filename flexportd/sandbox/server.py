"""The sandbox: a simulated world behind Flexport's API, which moves with time and sends signed webhooks.

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
from typing import Any, Self, TypeVar

from aiohttp import web

from flexportd.clock import Clock
from flexportd.errors import ConflictError, NotFoundError
from flexportd.sandbox.catalog import wire_objects
from flexportd.sandbox.catalog.kinds import CONTAINER, CONTAINER_LEG, INVOICE, LEG, SHIPMENT, Wire
from flexportd.sandbox.faults import FaultInjector, Faults, ScriptedFault, faults_from
from flexportd.sandbox.http.api import Api
from flexportd.sandbox.http.middleware import ApiMiddleware, Authenticator, RequestLog
from flexportd.sandbox.http.write_log import WriteLog
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.options import SandboxOptions
from flexportd.sandbox.scripts.world_events import ObjectRef
from flexportd.sandbox.webhook_sender import DeliveryCounters, UndeliveredEvent, WebhookSender
from flexportd.sandbox.world.world import World, WorldPlan, check_fields
from flexportd.tasks import Tasks

_TICK, _SHORT_TICK = 1.0, 0.25  # seconds between steps of the world; short where a clock follows it
_WEBHOOK_WAIT = 1.0  # seconds that a list of events may wait for webhooks
# The resource by the prefix of an event type, which is not always the resource's own name.
_RESOURCES = {
    "/shipment": SHIPMENT,
    "/shipments": SHIPMENT,
    "/shipment_leg": LEG,
    "/ocean/shipment_leg": LEG,
    "/ocean/shipment_container": CONTAINER,
    "/shipment_container_leg": CONTAINER_LEG,
    "/ocean/shipment_container_leg": CONTAINER_LEG,
}
_AT_DESTINATION = ("arrived", "updated_estimated_time_of_arrival", "deliver", "unloaded", "available")
Part = TypeVar("Part")


class Sandbox:
    """A Flexport simulator. It starts with `async with` or `start`; `stop` is safe before that and twice."""

    def __init__(
        self, options: SandboxOptions, clock: Clock, on_step: Callable[[datetime], None] | None = None
    ) -> None:
        """`on_step` is called with the present of the world after each step, before its events are sent."""
        self.options = options
        self._on_step = on_step
        self.api_key = options.api_key
        self.tasks = Tasks()
        self._clock = clock
        faults = options.faults
        self._faults = FaultInjector(faults if isinstance(faults, Faults) else faults_from(faults), options.seed)
        self._listener: socket.socket | None = None
        self._url: str | None = None
        self._world: World | None = None
        self._middleware: ApiMiddleware | None = None
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
        """Bind the port, make the world, serve the API, and start moving. Raises OSError when the port is in use."""
        options = self.options
        self._listener = _listen(options.host, options.port)
        self._url = _url_of(self._listener)
        plan = WorldPlan(self._clock.now(), options.seed, options.shipments, self._url)
        self._world = await asyncio.to_thread(World, plan)
        authenticator = Authenticator(options, self._clock)
        self._middleware = ApiMiddleware(self._world, authenticator, self._faults, self._clock, self._wait_for_webhooks)
        api = Api(
            self._world, authenticator, self._middleware, self._send_events, complete_lists=options.complete_lists
        )
        app = api.application()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()
        if options.webhook_url and options.webhook_secret:
            url, secret = options.webhook_url, options.webhook_secret
            self._deliveries = WebhookSender(url, secret, self._clock, self._faults, in_flight=options.in_flight)
        self.tasks.start("sandbox_world", self._run, vital=False)

    async def stop(self) -> None:
        """Stop moving, abandon webhooks in flight, and close the port."""
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
        """The base URL of the API."""
        return _started(self._url)

    @property
    def world(self) -> World:
        """Everything that the API lists."""
        return _started(self._world)

    @property
    def requests(self) -> RequestLog:
        """The requests so far, with token requests counted separately."""
        return _started(self._middleware).requests

    @property
    def writes(self) -> WriteLog:
        """The requests so far that write, and what each made."""
        return _started(self._middleware).writes

    @property
    def deliveries(self) -> DeliveryCounters:
        """Counters of the webhooks so far."""
        return self._sender().counters

    @property
    def undelivered(self) -> deque[UndeliveredEvent]:
        """Events whose ten attempts all failed, the last thousand."""
        return self._sender().undelivered

    async def wait_delivered(self) -> None:
        """Wait until every webhook so far, the backlog included, is accepted or abandoned."""
        sender = self._sender()
        await self._caught_up.wait()
        await sender.wait_delivered()

    async def send(self, event: Wire) -> int:
        """Send one event once, now, without faults; returns the response status, 0 for no response."""
        self.world.record(event)
        return await self._sender().attempt(event)

    async def step(self, seconds: float) -> list[Wire]:
        """Move the world by simulated seconds and deliver the events to the receiver, if there is one."""
        events = self.world.advance(self.world.now + timedelta(seconds=seconds))
        self._notify_stepped()
        if self._deliveries is not None:
            await self._deliveries.submit(events)
            await self._deliveries.wait_delivered()
        return events

    def event(self, shipment_id: int, kind: str, at: datetime | None = None, **fields: Any) -> Wire:
        """Make an event of type `kind` about a shipment whose `fields` differ, recorded at `at` (default: now).

        The world does not change (see `edit_shipment`) and nothing is sent (see `send`); the event may be edited.
        `about=ID` selects the leg, container or container leg. Raises NotFoundError, InvalidError.
        """
        return copy.deepcopy(_make_event(self.world, shipment_id, kind, at or self.world.now, fields))

    def fault(
        self, kind: str, path: str = "^/(?!oauth)", *, times: int | None = 1, method: str | None = None
    ) -> ScriptedFault:
        """Inject a fault into the next `times` responses (None: all) whose path and query match a regular expression.

        `kind` is one of `ANSWER_FAULTS` or `WRITE_FAULTS`. Earlier scripts go first; a fault of lists waits for a list,
        `repeat` for a page with a previous one, and a fault of writes for a write. The returned script counts its
        faults in `made`. Raises InvalidError.
        """
        script = ScriptedFault(kind, path, times, method)
        self._faults.scripts.append(script)
        return script

    def clear_faults(self) -> None:
        """Remove all scripted faults (see `fault`)."""
        self._faults.scripts.clear()

    def put(self, wire: Mapping[str, Any]) -> None:
        """Add or replace an object of any kind, without an event: see `World.put`."""
        self.world.put(dict(wire))

    def delete(self, kind: str, key: int | str) -> None:
        """Delete an object without an event: see `World.delete`."""
        self.world.delete(kind, key)

    def override(self, kind: str, key: int | str, **fields: Any) -> Wire:
        """Change fields of any object, without an event or a new time stamp: see `World.override`."""
        return self.world.override(kind, key, fields)

    def edit_shipment(self, shipment_id: int, fields: Mapping[str, Any]) -> Wire:
        """Change a shipment without an event: see `World.edit_shipment`."""
        return self.world.edit_shipment(shipment_id, dict(fields))

    def apply_amendments(self) -> int:
        """Apply all pending amendments to their bookings now; returns their number. See `World.amendments`."""
        return self.world.make_scheduled_changes()

    async def _send_events(self, events: list[Wire]) -> None:
        """Send the webhooks of events that a request caused."""
        if self._deliveries is not None:
            await self._deliveries.submit(events)

    async def _run(self) -> None:
        if self.options.send_backlog and self._deliveries is not None:
            await self._deliveries.submit(self.world.backlog())
            await self._deliveries.wait_delivered()
        self._caught_up.set()
        last = self._clock.now()
        self._notify_stepped()
        while self.options.speed:
            await self._clock.sleep(_TICK if self._on_step is None else _SHORT_TICK)
            now = self._clock.now()
            events = self.world.advance(self.world.now + (now - last) * self.options.speed)
            last = now
            self._notify_stepped()
            if self._deliveries is not None:
                await self._deliveries.submit(events)

    def _notify_stepped(self) -> None:
        if self._on_step is not None:
            self._on_step(self.world.now)

    async def _wait_for_webhooks(self) -> None:
        """Wait a short time until the webhook of every event was sent once."""
        if self._deliveries is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WEBHOOK_WAIT):
                    await self._deliveries.wait_attempted()

    def _sender(self) -> WebhookSender:
        if self._deliveries is None:
            raise ConflictError("This sandbox sends no webhooks: set webhook_url and webhook_secret, and start it.")
        return self._deliveries


def _started(part: Part | None) -> Part:
    if part is None:
        raise ConflictError("The sandbox has not been started.")
    return part


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket: the port must be known before the world is made, whose links contain it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _url_of(listener: socket.socket) -> str:
    """The URL of this socket; a wildcard address is reached over loopback."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (the wildcard is replaced)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _make_event(world: World, shipment_id: int, kind: str, at: datetime, fields: Wire) -> Wire:
    """An event of type `kind` recorded at `at`, with other `fields` of the shipment, or of the invoice it is about.

    An unknown prefix is about the shipment: new types may arrive at any time. The field `about` is the id of the leg,
    container, container leg or invoice; without it the first one is used. Raises NotFoundError, InvalidError.
    """
    fields = dict(fields)
    about = fields.pop("about", None)
    if kind.startswith(f"{INVOICE}#"):
        invoices = world.collections[INVOICE].for_shipment(shipment_id)
        resource = next((row for row in invoices if about in (None, row["id"])), None)
        if resource is None:
            raise NotFoundError(f"Shipment {shipment_id} has no such {INVOICE}.")
        check_fields("An invoice", resource, fields)
        shipment = None if resource["type"] == "Client" else world.journey(shipment_id).shipment
        data: Wire = {"resource": {**resource, **fields}, "shipment": shipment, "location": None, "containers": []}
        return wire_objects.event(world.event_id(), kind, (at, at), data)
    journey = world.journey(shipment_id)
    ref = _object_ref(journey, kind, about)
    check_fields("A shipment", journey.shipment, fields)
    shipment = wire_objects.with_deprecated({**journey.shipment, "updated_at": wire_objects.utc(at), **fields})
    data = {
        "resource": shipment if ref.kind == SHIPMENT else journey.objects[ref],
        "shipment": shipment,
        "location": _location(journey, ref, kind),
        "containers": [] if ref.kind == SHIPMENT else journey.containers(),
    }
    return wire_objects.event(world.event_id(), kind, (at, at), data)


def _object_ref(journey: ShipmentState, kind: str, about: int | None) -> ObjectRef:
    of = _RESOURCES.get(kind.partition("#")[0], SHIPMENT)
    for ref, wire in journey.objects.items():
        if ref.kind == of and about in (None, wire["id"]):
            return ref
    suffix = "" if about is None else f" {about}"
    raise NotFoundError(f"Shipment {journey.id} has no {of}{suffix}.")


def _location(journey: ShipmentState, ref: ObjectRef, kind: str) -> Wire | None:
    """The end of the leg that the event is about; events about shipments and containers have none."""
    if ref.kind not in {LEG, CONTAINER_LEG}:
        return None
    leg = journey.objects[ref]
    if ref.kind == CONTAINER_LEG:
        leg_id = leg["leg"]["id"]
        leg = next(wire for wire in journey.objects.values() if wire["_object"] == LEG and wire["id"] == leg_id)
    name = kind.partition("#")[2]
    end: Wire = leg["destination" if name.startswith(_AT_DESTINATION) else "origin"]
    return end
