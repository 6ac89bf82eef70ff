"""What handlers may ask of the part that talks to Flexport; the composition root gives one, or none without a key."""

from collections.abc import Mapping
from typing import Any, Protocol

from flexportd.core.domain import Domain
from flexportd.errors import ConflictError
from flexportd.storage.resources import Key
from flexportd.storage.sync import ListState


class Upstream(Protocol):
    """The way to Flexport, as readers of the mirror see it: they never wait for it, but may have it used."""

    def state(self) -> dict[str, Any]:
        """How the client is: breaker, sign-in, pace, calls."""

    def forecast(self, states: Mapping[str, ListState]) -> dict[str, Any]:
        """Requests and seconds of the next full sync, and the lists that were never read."""

    async def refresh(self, domain: Domain, key: Key) -> str:
        """Fetch one object now: `new`, `changed`, `unchanged` or `removed`. Raises FlexportdError."""

    async def carbon(self, shipment_id: int) -> list[dict[str, Any]]:
        """Have the carbon figures of a shipment's legs calculated now; the legs that got none, `leg_id` and `reason`.

        Raises FlexportdError when none came.
        """

    async def begin_sync(self) -> int:
        """Begin a full sync, or join the one that runs; the number of its run."""

    async def accept(self, domain: Domain) -> int:
        """What a list lacks is gone, says a person: how many objects were removed. Raises ConflictError."""


def needed(upstream: Upstream | None) -> Upstream:
    """The way to Flexport. Raises ConflictError when no key is configured."""
    if upstream is None:
        raise ConflictError(
            "no key for Flexport's API is configured: set [flexport] api_key, or client_id and client_secret"
        )
    return upstream
