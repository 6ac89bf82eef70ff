"""Sends signed webhooks, a few at a time, and retries until the response is 200.

Flexport's own count and spacing of retries are undocumented (https://apidocs.flexport.com/v2/tag/Webhook-Endpoints);
here they are ten attempts, from one second to a minute apart.
"""

import asyncio
import functools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import aiohttp
import msgspec

from flexportd.clock import Clock
from flexportd.flexport.webhook_signature import SHA1_HEADER, SHA256_HEADER, sign, sign_sha1
from flexportd.sandbox.catalog.kinds import Wire
from flexportd.sandbox.faults import FaultInjector
from flexportd.tasks import Tasks

ATTEMPTS = 10
_LONGEST_WAIT = 60.0
_TIMEOUT = aiohttp.ClientTimeout(total=10)
# Events that may wait for a slot or a retry before `submit` has to wait.
_MAX_OUTSTANDING = 1000
_UNDELIVERED_KEPT = 1000


@dataclass(slots=True)
class DeliveryCounters:
    """Counters of webhooks; `outstanding` are neither accepted nor abandoned yet."""

    attempts: int = 0
    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    retried: int = 0
    undelivered: int = 0
    outstanding: int = 0
    duplicated: int = 0
    reordered: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class UndeliveredEvent:
    """An event whose attempts all failed; `status` is the last response, 0 for none."""

    event: Wire
    attempts: int
    status: int


def backoff(attempt: int, jitter: float) -> float:
    """Seconds to wait after that many failed attempts: doubling, plus up to half by a jitter from 0 to 1."""
    return min(_LONGEST_WAIT, 2.0 ** (attempt - 1) * (1 + jitter / 2))


class WebhookSender:
    """Delivers events to one receiver, with retries."""

    def __init__(self, url: str, secret: str, clock: Clock, faults: FaultInjector, *, in_flight: int) -> None:
        """At most `in_flight` webhooks are sent concurrently."""
        self.counters = DeliveryCounters()
        self.undelivered: deque[UndeliveredEvent] = deque(maxlen=_UNDELIVERED_KEPT)
        self._url = url
        self._secret = secret
        self._clock = clock
        self._faults = faults
        self._tasks = Tasks()
        self._jitter = Random(url)  # noqa: S311 (jitter)
        self._slots = asyncio.Semaphore(in_flight)
        self._room = asyncio.Semaphore(_MAX_OUTSTANDING)
        self._idle = asyncio.Event()
        self._idle.set()
        self._untried = 0
        self._all_tried = asyncio.Event()
        self._all_tried.set()
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)

    async def submit(self, events: Sequence[Wire]) -> None:
        """Queue events, with faults injected; waits only while very many are outstanding."""
        perturbed = self._faults.perturb(events)
        injected = self._faults.counters
        self.counters.duplicated, self.counters.reordered = injected.duplicated, injected.reordered
        self.counters.dropped = injected.dropped
        for event in perturbed:
            await self._room.acquire()
            self.counters.outstanding += 1
            self._idle.clear()
            self._untried += 1
            self._all_tried.clear()
            self._tasks.start(
                f"deliver {event['id']}", functools.partial(self._deliver_with_retries, event), vital=False
            )

    async def wait_delivered(self) -> None:
        """Wait until nothing is outstanding."""
        await self._idle.wait()

    async def wait_attempted(self) -> None:
        """Wait until each event submitted so far was sent once, whatever the response."""
        await self._all_tried.wait()

    async def attempt(self, event: Wire) -> int:
        """Send one event once, now, and return the response status; 0 for no response."""
        return await self._attempt(msgspec.json.encode(event))

    async def stop(self) -> None:
        """Abandon outstanding events."""
        await self._tasks.stop()
        await self._session.close()
        self.counters.outstanding = self._untried = 0
        self._idle.set()
        self._all_tried.set()

    async def _deliver_with_retries(self, event: Wire) -> None:
        try:
            body, status = msgspec.json.encode(event), 0
            for attempt in range(1, ATTEMPTS + 1):
                async with self._slots:
                    status = await self._attempt(body)
                if attempt == 1:
                    self._mark_attempted()
                if status == 200:
                    return
                if attempt < ATTEMPTS:
                    self.counters.retried += 1
                    await self._clock.sleep(backoff(attempt, self._jitter.random()))
            self.counters.undelivered += 1
            self.undelivered.append(UndeliveredEvent(event, ATTEMPTS, status))
        finally:
            self._room.release()
            self.counters.outstanding -= 1
            if not self.counters.outstanding:
                self._idle.set()

    def _mark_attempted(self) -> None:
        self._untried -= 1
        if not self._untried:
            self._all_tried.set()

    async def _attempt(self, body: bytes) -> int:
        self.counters.attempts += 1
        headers = {
            "Content-Type": "application/json",
            SHA256_HEADER: sign(body, self._secret),
            SHA1_HEADER: sign_sha1(body, self._secret),
        }
        try:
            # A redirect is a response other than 200.
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            self.counters.unanswered += 1
            return 0
        if status == 200:
            self.counters.accepted += 1
        else:
            self.counters.refused += 1
        return status
