"""Requests carbon figures from Flexport on demand: one leg after the other, each result stored at once.

leg ─ core.carbon.carbon_requests ─▶ POST /carbon_calculation ─▶ carbon_figures
"""

import asyncio
from typing import Any

import structlog

from flexportd.clock import Clock
from flexportd.core.carbon import CarbonRequest, carbon_requests, is_current
from flexportd.core.reads import Reads
from flexportd.core.resources.money import format_number
from flexportd.core.resources.registry import Registry
from flexportd.errors import ConflictError, FlexportdError, NotFoundError, UnavailableError
from flexportd.flexport.client import Client
from flexportd.flexport.errors import (
    FlexportUnavailableError,
    ForbiddenAtFlexportError,
    RateLimitedError,
    TokensExhaustedError,
    UnauthorisedError,
    UnknownOutcomeError,
)
from flexportd.flexport.models.carbon import CarbonCalculation
from flexportd.storage.database import Database
from flexportd.storage.repositories.shipment_details import CarbonFigure
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

PATH = "/carbon_calculation"

MAX_LEGS = 20  # legs of one shipment in one call; Flexport allows 1 000 calculations an hour
_TOTAL_TIMEOUT = 20.0  # seconds for all legs together

# Errors that would be the same for every leg.
_GLOBAL_ERRORS = (
    UnauthorisedError, ForbiddenAtFlexportError, RateLimitedError, TokensExhaustedError, FlexportUnavailableError,
)  # fmt: skip


class CarbonCalculator:
    """Requests carbon figures and stores them."""

    def __init__(self, client: Client, db: Database, registry: Registry, clock: Clock) -> None:
        self._client = client
        self._db = db
        self._reads = Reads(registry)
        self._shipments = registry["shipments"]
        self._clock = clock
        self._busy: set[int] = set()

    async def calculate(self, shipment_id: int) -> list[dict[str, Any]]:
        """Calculate every leg of a shipment; `leg_id` and `reason` of those without a new figure.

        Raises NotFoundError, ConflictError when no leg can be calculated or a calculation is running, and the first
        error when every leg failed.
        """
        if shipment_id in self._busy:
            raise ConflictError(f"the carbon figures of shipment {shipment_id} are already being calculated")
        self._busy.add(shipment_id)
        try:
            return await self._calculate(shipment_id)
        finally:
            self._busy.discard(shipment_id)

    async def _calculate(self, shipment_id: int) -> list[dict[str, Any]]:
        requests = await self._db.read(lambda tx: self._requests(tx, shipment_id))
        reasons = {request.leg_id: request.reason for request in requests if request.body is None}
        possible = [request for request in requests if request.body is not None]
        if not possible:
            why = "; ".join(dict.fromkeys(reasons.values())) or "it has no legs"
            raise ConflictError(f"shipment {shipment_id} has no leg that can be calculated: {why}")
        sent, left_out = possible[:MAX_LEGS], possible[MAX_LEGS:]
        reasons |= {request.leg_id: f"not calculated: at most {MAX_LEGS} legs at once" for request in left_out}
        failures = await self._calculate_legs(sent, shipment_id)
        if len(failures) == len(sent):
            raise next(iter(failures.values()))
        reasons |= {leg_id: str(error) for leg_id, error in failures.items()}
        return [{"leg_id": leg_id, "reason": reasons[leg_id]} for leg_id in reasons]

    def _requests(self, tx: Transaction, shipment_id: int) -> list[CarbonRequest]:
        """In order of travel; if there are too many, those without a current figure first."""
        shipment = self._reads.get(tx, self._shipments, shipment_id)
        if shipment is None:
            raise NotFoundError(f"there is no shipment {shipment_id}")
        requests = carbon_requests(self._reads.children(tx, "legs", shipment_id), shipment)
        if len(requests) > MAX_LEGS:
            figures = tx.carbon.of_shipment(shipment_id)
            requests.sort(key=lambda request: is_current(figures.get(request.leg_id), request))
        return requests

    async def _calculate_legs(self, requests: list[CarbonRequest], shipment_id: int) -> dict[int, FlexportdError]:
        failures: dict[int, FlexportdError] = {}
        deadline = asyncio.get_running_loop().time() + _TOTAL_TIMEOUT
        for position, request in enumerate(requests):
            try:
                await self._calculate_leg(request, shipment_id, deadline)
            except FlexportdError as error:
                # A calculation changes nothing at Flexport, so an unknown outcome is a plain failure.
                cause = error.__cause__ if isinstance(error, UnknownOutcomeError) else None
                failures[request.leg_id] = cause if isinstance(cause, FlexportdError) else error
                log.warning(
                    "carbon_calculation_failed", shipment_id=shipment_id, leg_id=request.leg_id, reason=str(error)
                )
                if isinstance(error, _GLOBAL_ERRORS):
                    return failures | {rest.leg_id: error for rest in requests[position + 1 :]}
        return failures

    async def _calculate_leg(self, request: CarbonRequest, shipment_id: int, deadline: float) -> None:
        """Calculate one leg. Raises FlexportError, MalformedError, UnavailableError past the deadline."""
        assert request.body is not None
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._client.send("POST", PATH, request.body, "interactive")
        except TimeoutError:
            raise UnavailableError(f"Flexport did not calculate it within {_TOTAL_TIMEOUT:g} s") from None
        calculation, _ = CarbonCalculation.load(response.text)
        figure = CarbonFigure(
            request.leg_id,
            shipment_id,
            request.mode,
            format_number(calculation.kilograms()),
            request.body.decode(),
            response.text.decode("utf-8", "replace"),
            response.date,
            self._clock.stamp(),
        )
        await self._db.write(lambda tx: tx.carbon.put(figure))
