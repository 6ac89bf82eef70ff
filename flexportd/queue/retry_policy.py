"""When to try again: full jitter below a doubling bound. Pure."""

from dataclasses import dataclass

from flexportd.outcome import Dead, Retry
from flexportd.settings import Settings


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to go on trying; times in seconds."""

    max_attempts: int = 8
    base_delay: float = 2.0
    max_delay: float = 900.0

    @classmethod
    def from_settings(cls, settings: Settings) -> "Policy":
        """What `[queue]` says."""
        queue = settings.queue
        return cls(queue.max_attempts, queue.base_delay.total_seconds(), queue.max_delay.total_seconds())


def next_delay(attempt: int, failure: Retry, policy: Policy, jitter: float) -> float | Dead:
    """Seconds until the next try after try number `attempt` (from 1) failed, or Dead when it was the last.

    `jitter` is a random number in [0, 1). What the other side asked for with Retry-After is a floor.
    """
    if attempt >= policy.max_attempts:
        return Dead(failure.error)
    bound = min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, 64))
    return max(bound * jitter, failure.retry_after)
