"""Options of a sandbox."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from flexportd.errors import InvalidError
from flexportd.sandbox.faults import Faults


def _secret() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """Address, world, credentials, faults and webhooks of a sandbox.

    `speed` is simulated seconds per real second; 0 stops time. `rate_limit` is requests per second. Without
    `webhook_url` no webhooks are sent. `faults` may be a mapping such as `{"429": "5%"}`. Lists of shipments have less
    data than single shipments, as in recorded accounts, unless `complete_lists` is set.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 7
    shipments: int = 40
    speed: float = 3600.0
    api_key: str = field(default_factory=_secret, repr=False)
    client_id: str = "sandbox-client"
    client_secret: str = field(default_factory=_secret, repr=False)
    rate_limit: float | None = None
    faults: Faults | Mapping[str, str] = field(default_factory=Faults)
    webhook_url: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    send_backlog: bool = True
    in_flight: int = 8
    complete_lists: bool = False

    def __post_init__(self) -> None:
        """Check the values. Raises InvalidError."""
        if self.shipments < 0:
            raise InvalidError(f"shipments is {self.shipments}: it must be 0 or more.", "shipments")
        if not 0 <= self.speed < 1e7:
            raise InvalidError(f"speed is {self.speed:g}: it must be from 0 to 10,000,000.", "speed")
        if self.rate_limit is not None and self.rate_limit <= 0:
            raise InvalidError(f"rate_limit is {self.rate_limit:g}: it must be above 0.", "rate_limit")
        if self.in_flight < 1:
            raise InvalidError(f"in_flight is {self.in_flight}: it must be 1 or more.", "in_flight")
        if self.webhook_url is None:
            return
        if not self.webhook_url.startswith(("http://", "https://")):
            raise InvalidError(
                f"webhook_url is {self.webhook_url!r}: it must begin with http:// or https://.", "webhook_url"
            )
        if not self.webhook_secret:
            raise InvalidError("webhook_url needs a webhook_secret: Flexport signs every webhook.", "webhook_secret")
