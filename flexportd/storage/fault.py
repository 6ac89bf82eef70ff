"""Why the database cannot be written, from the first failure until a write as large as a few events succeeds."""

from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why writing fails, until `Writer.prove` succeeds; `count` failed groups so far."""

    reason: str
    count: int


def record_failure(before: Fault | None, error: BaseException) -> Fault:
    """The fault after one more failure. The log gets the first alone, not each miss until the disk works again."""
    if before is None:
        log.error("storage_failed", reason=str(error))
    return Fault(str(error), before.count + 1 if before else 1)


def record_recovery(fault: Fault) -> None:
    """Tell the log that writing works again."""
    log.info("storage_recovered", failed_transactions=fault.count, reason=fault.reason)
