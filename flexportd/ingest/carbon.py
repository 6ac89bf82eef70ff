"""Having Flexport calculate carbon figures because a person asks: one leg after the other, each answer kept at once.

leg ─ core.carbon.question ─▶ POST /carbon_calculation ─▶ carbon_figures
"""

import asyncio
from typing import Any, Protocol

import structlog

from flexportd.clock import Clock
from flexportd.core.carbon import CarbonRequest, carbon_requests, is_current
from flexportd.core.reads import Reads
from flexportd.core.resources.money import format_number
from flexportd.core.resources.registry import Registry
from flexportd.errors import ConflictError, FlexportdError, NotFoundError, UnavailableError
from flexportd.flexport.client import FetchedObject
from flexportd.flexport.errors import (
    FlexportUnavailableError,
    ForbiddenAtFlexportError,
    RateLimitedError,
    TokensExhaustedError,
    UnauthorisedError,
    UnknownOutcomeError,
)
from flexportd.flexport.models.carbon import CarbonCalculation
from flexportd.flexport.usage import Purpose
from flexportd.storage.database import Database
from flexportd.storage.repositories.carbon import CarbonFigure
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

PATH = "/carbon_calculation"

MAX_LEGS = 20  # legs of one shipment that are asked for at once; Flexport allows 1 000 calculations an hour
_TOTAL_TIMEOUT = 20.0  # seconds that a person waits for all legs together

# What stands in the way of every leg alike.
_GLOBAL_ERRORS = (
    UnauthorisedError, ForbiddenAtFlexportError, RateLimitedError, TokensExhaustedError, FlexportUnavailableError,
)  # fmt: skip


class CarbonSender(Protocol):
    """The client, as far as calculations go."""

    async def send(self, method: str, path: str, body: bytes, purpose: Purpose) -> FetchedObject:
        """Send something. Raises FlexportError."""


class CarbonCalculator:
    """Asks for carbon figures and keeps them."""

    def __init__(self, client: CarbonSender, db: Database, registry: Registry, clock: Clock) -> None:
        self._client = client
        self._db = db
        self._mirror = Reads(registry)
        self._shipments = registry["shipments"]
        self._clock = clock
        self._busy: set[int] = set()

    async def calculate(self, shipment_id: int) -> list[dict[str, Any]]:
        """Have every leg of a shipment calculated; `leg_id` and `reason` of those that got no figure now.

        Raises NotFoundError, ConflictError when there is nothing to ask or it is being asked already, and the first
        failure when nothing came.
        """
        if shipment_id in self._busy:
            raise ConflictError(f"the carbon figures of shipment {shipment_id} are already being calculated")
        self._busy.add(shipment_id)
        try:
            return await self._calculate(shipment_id)
        finally:
            self._busy.discard(shipment_id)

    async def _calculate(self, shipment_id: int) -> list[dict[str, Any]]:
        asked = await self._db.read(lambda tx: self._requests(tx, shipment_id))
        reasons = {one.leg_id: one.reason for one in asked if one.body is None}
        open_ones = [one for one in asked if one.body is not None]
        if not open_ones:
            told = "; ".join(dict.fromkeys(reasons.values())) or "it has no legs"
            raise ConflictError(f"shipment {shipment_id} has no leg that can be calculated: {told}")
        reasons |= {one.leg_id: f"not calculated: at most {MAX_LEGS} legs at once" for one in open_ones[MAX_LEGS:]}
        failures = await self._calculate_legs(open_ones[:MAX_LEGS], shipment_id)
        if len(failures) == len(open_ones[:MAX_LEGS]):
            raise next(iter(failures.values()))
        reasons |= {leg_id: str(error) for leg_id, error in failures.items()}
        return [{"leg_id": leg_id, "reason": reasons[leg_id]} for leg_id in reasons]

    def _requests(self, tx: Transaction, shipment_id: int) -> list[CarbonRequest]:
        """In order of travel, those whose figure is not current first where there are more than are asked at once."""
        shipment = self._mirror.get(tx, self._shipments, shipment_id)
        if shipment is None:
            raise NotFoundError(f"there is no shipment {shipment_id}")
        found = carbon_requests(self._mirror.children(tx, "legs", shipment_id), shipment)
        if len(found) > MAX_LEGS:
            figures = tx.carbon.of_shipment(shipment_id)
            found.sort(key=lambda one: is_current(figures.get(one.leg_id), one))
        return found

    async def _calculate_legs(self, asked: list[CarbonRequest], shipment_id: int) -> dict[int, FlexportdError]:
        """Ask one after the other; the failures by leg."""
        failures: dict[int, FlexportdError] = {}
        deadline = asyncio.get_running_loop().time() + _TOTAL_TIMEOUT
        for place, one in enumerate(asked):
            try:
                await self._calculate_leg(one, shipment_id, deadline)
            except FlexportdError as error:
                # A calculation changes nothing: that its fate is not known is no more than that it failed.
                cause = error.__cause__ if isinstance(error, UnknownOutcomeError) else None
                failures[one.leg_id] = cause if isinstance(cause, FlexportdError) else error
                log.warning("carbon_calculation_failed", shipment_id=shipment_id, leg_id=one.leg_id, reason=str(error))
                if isinstance(error, _GLOBAL_ERRORS):
                    return failures | {rest.leg_id: error for rest in asked[place + 1 :]}
        return failures

    async def _calculate_leg(self, asked: CarbonRequest, shipment_id: int, deadline: float) -> None:
        """Have one leg calculated. Raises FlexportError, MalformedError, UnavailableError past the deadline."""
        assert asked.body is not None
        try:
            async with asyncio.timeout_at(deadline):
                found = await self._client.send("POST", PATH, asked.body, "interactive")
        except TimeoutError:
            raise UnavailableError(f"Flexport did not calculate it within {_TOTAL_TIMEOUT:g} s") from None
        calculation, _ = CarbonCalculation.load(found.text)
        figure = CarbonFigure(
            asked.leg_id,
            shipment_id,
            asked.mode,
            format_number(calculation.kilograms()),
            asked.body.decode(),
            found.text.decode("utf-8", "replace"),
            found.date,
            self._clock.stamp(),
        )
        await self._db.write(lambda tx: tx.carbon.put(figure))
