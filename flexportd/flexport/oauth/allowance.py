"""Whether a token may be asked for now. Pure.

Ten requests in any 24 hours are all there is. Automatic ones stop at eight, so that a person has two; those that a
401 causes stop at six, so that one resource that is refused for good cannot use up what the daily renewal needs.
After a failure the next request waits, longer each time, so that eight last for a day.
"""

from datetime import datetime, timedelta

from flexportd.clock import stamp
from flexportd.flexport.errors import ErrorDetails, FlexportError, FlexportUnavailableError, TokensExhaustedError
from flexportd.flexport.oauth.token_store import WINDOW, RenewalReason, TokenState

REQUESTS_ALLOWED = 10
_LIMITS: dict[RenewalReason, int] = {"start": 8, "age": 8, "refused": 6, "person": REQUESTS_ALLOWED}
_BETWEEN_REFUSED = timedelta(minutes=10)
_RETRY_DELAYS = (5, 60, 600, 3_600, 10_800, 10_800, 21_600)  # seconds after one failure, two, three ...


def refusal_reason(kept: TokenState, why: RenewalReason, now: datetime) -> FlexportError | None:
    """Why no token may be asked for now; None when one may. `retry_after` says when."""
    asked = kept.requests_within_day(now)
    limit = _LIMITS[why]
    if len(asked) >= limit:
        free = asked[-limit].at + WINDOW
        message = (
            f"{len(asked)} token requests in the last 24 hours (Flexport allows {REQUESTS_ALLOWED}); "
            f"the next is possible at {stamp(free)}"
        )
        return TokensExhaustedError(message, _retry_details(free - now), sent=False)
    if why == "refused":
        last = max((one.at for one in asked if one.why == "refused"), default=None)
        if last is not None and now < last + _BETWEEN_REFUSED:
            free = last + _BETWEEN_REFUSED
            message = f"the token was renewed after a 401 at {stamp(last)}; not again before {stamp(free)}"
            return FlexportUnavailableError(message, _retry_details(free - now), sent=False)
    failed = [one.at for one in asked if kept.token is None or one.at > kept.token.obtained]
    if failed and why != "person":
        free = failed[-1] + timedelta(seconds=_RETRY_DELAYS[min(len(failed), len(_RETRY_DELAYS)) - 1])
        if now < free:
            message = f"the token request at {stamp(failed[-1])} brought none; the next is due at {stamp(free)}"
            return FlexportUnavailableError(message, _retry_details(free - now), sent=False)
    return None


def _retry_details(span: timedelta) -> ErrorDetails:
    return ErrorDetails(retry_after=max(0.0, span / timedelta(seconds=1)))
