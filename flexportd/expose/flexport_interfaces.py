"""What handlers may ask of the part that talks to Flexport; the composition root gives one, or none without a key."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, TypedDict

from msgspec import Meta

from flexportd.core.json_types import Stamp
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import ConflictError
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.sync import ListState


class FlexportBreaker(TypedDict):
    """Circuit breaker: requests are sent (closed), stopped after failures (open), or tried once (half_open)."""

    state: Literal["closed", "open", "half_open"]
    since: Stamp
    reason: str | None
    detail: Annotated[str | None, Meta(description="The failed request, and the error of the library or protocol.")]
    retry_at: Stamp | None
    failures: int


class FlexportAuth(TypedDict):
    """Whether Flexport accepts the configured key or credentials; null before its first answer."""

    kind: Literal["api_key", "oauth"]
    authorised: bool | None
    reason: str | None
    expires_at: Annotated[Stamp | None, Meta(description="When the token expires; null for a key.")]
    token_requests: Annotated[int, Meta(description="Tokens requested in the last 24 hours.")]
    token_requests_limit: int


class FlexportRateLimit(TypedDict):
    """Request rate limit towards Flexport, in requests per second, and waiting requests by purpose."""

    current: float
    configured: float
    in_flight: int
    waiting: dict[str, int]


class FlexportCalls(TypedDict):
    """Requests for one purpose since the start; `recent_average_seconds` is how long one took lately."""

    calls: int
    errors: int
    retries: int
    bytes: int
    seconds: float
    recent_average_seconds: float | None


class FlexportClock(TypedDict):
    """Offset of Flexport's clock from the daemon's in seconds; null before the first response."""

    offset_seconds: float | None
    responses: int
    ignored: int
    note: str | None


class FlexportState(TypedDict):
    """State of the client of Flexport's API."""

    breaker: FlexportBreaker
    auth: FlexportAuth
    rate_limit: FlexportRateLimit
    calls: Annotated[dict[str, FlexportCalls], Meta(description="By purpose.")]
    clock: FlexportClock
    proxy: Annotated[
        str | None,
        Meta(
            description="The proxy for every request ([flexport] proxy), as host and port; null without one. "
            "HTTP_PROXY and HTTPS_PROXY of the environment are not used."
        ),
    ]


class SyncForecast(TypedDict):
    """Forecast for the next full sync; `never_synced`: lists without a forecast."""

    requests: int
    seconds: float
    never_synced: list[str]


class Upstream(Protocol):
    """The way to Flexport, as readers of the mirror see it: they never wait for it, but may have it used."""

    def state(self) -> dict[str, Any]:
        """How the client is: a `FlexportState`."""

    def forecast(self, states: Mapping[str, ListState]) -> dict[str, Any]:
        """What the next full sync will take: a `SyncForecast`."""

    async def refresh(self, domain: ResourceType, key: Key) -> str:
        """Fetch one object now: `new`, `changed`, `unchanged` or `removed`. Raises FlexportdError."""

    async def calculate_carbon(self, shipment_id: int) -> list[dict[str, Any]]:
        """Have the carbon figures of a shipment's legs calculated now; the legs that got none, `leg_id` and `reason`.

        Raises FlexportdError when none came.
        """

    async def begin_sync(self) -> int:
        """Begin a full sync, or join the one that runs; the number of its run."""

    async def confirm_removals(self, domain: ResourceType) -> int:
        """What a list lacks is gone, says a person: how many objects were removed. Raises ConflictError."""


def require_flexport(upstream: Upstream | None) -> Upstream:
    """The way to Flexport. Raises ConflictError when no key is configured."""
    if upstream is None:
        raise ConflictError(
            "no key for Flexport's API is configured: set [flexport] api_key, or client_id and client_secret"
        )
    return upstream
