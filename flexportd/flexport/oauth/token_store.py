"""The token and the count of token requests on disk, because Flexport allows only ten requests a day.

Two files, both 0600: the token (`token.json`, replaced as a whole) and the requests (`token.requests`, one line each,
written before the request is sent). A token file that is damaged or belongs to other credentials is ignored; the
requests are counted all the same, separately for each credentials. Only the daemon that has locked the data directory
uses them. Everything here blocks: call it through `asyncio.to_thread`.
"""

import contextlib
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from flexportd.clock import parse, stamp
from flexportd.flexport.errors import ErrorDetails, FlexportError, FlexportUnavailableError, TokensExhaustedError
from flexportd.type_lock import decode_as

RenewalReason = Literal["start", "age", "refused"]  # there is no token, it expires soon, it was answered 401

REQUESTS_ALLOWED = 10  # in any 24 hours
AUTOMATIC_REQUESTS = 8  # so that a person with the same credentials has two
# Fewer after a 401: a resource that is refused for good must not use up the requests that the daily renewal needs.
_LIMITS: dict[RenewalReason, int] = {"start": AUTOMATIC_REQUESTS, "age": AUTOMATIC_REQUESTS, "refused": 6}
_BETWEEN_REFUSED = timedelta(minutes=10)
_RETRY_DELAYS = (5, 60, 600, 3_600, 10_800, 10_800, 21_600)  # seconds after one failure, two ...: eight last for a day
_WINDOW = timedelta(hours=24)
_KEPT_FOR = timedelta(days=7)
_MAX_BYTES = 1 << 20  # bytes that are read of either file


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; its text is in no repr."""

    text: str = field(repr=False)
    obtained: datetime
    expires: datetime

    def is_due(self, now: datetime) -> bool:
        """Whether nine tenths of its lifetime are over."""
        return now >= self.obtained + (self.expires - self.obtained) * 0.9


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One counted token request."""

    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class TokenState:
    """The state on disk: the token if there is a usable one, the body form that worked, the requests, oldest first."""

    token: Token | None
    form: str | None
    requests: tuple[TokenRequest, ...]

    def requests_within_day(self, now: datetime) -> list[TokenRequest]:
        """The requests of the last 24 hours, including any that are dated in the future."""
        return [request for request in self.requests if request.at > now - _WINDOW]


class _Stored(msgspec.Struct):
    bound: str
    access_token: str
    obtained: str
    expires: str
    form: str


class TokenFile:
    """The two files of a data directory, for the credentials with the fingerprint `bound`."""

    def __init__(self, path: Path, bound: str) -> None:
        self.path = path
        self._requests = path.with_suffix(".requests")
        self._bound = bound

    def load(self, now: datetime) -> TokenState:
        """Read both files. A request that is dated in the future (our clock was set back) is dated now, for good.

        Raises OSError if the requests exist and cannot be read: then none may be sent.
        """
        token, form = self._token()
        lines = self._lines()
        corrected = [(name, min(at, now), why) for name, at, why in lines]
        if corrected != lines:
            self._write_lines(corrected)
        requests = (TokenRequest(at, why) for name, at, why in corrected if name == self._bound)
        return TokenState(token, form, tuple(sorted(requests, key=lambda request: request.at)))

    def count(self, now: datetime, why: RenewalReason) -> None:
        """Count one request, before it is sent. It is on the disk when this returns; raises OSError otherwise."""
        lines = [line for line in self._lines() if line[1] > now - _KEPT_FOR]
        self._write_lines([*lines, (self._bound, now, why)])

    def uncount(self) -> None:
        """Remove the newest request: it certainly never left. Raises OSError."""
        lines = self._lines()
        mine = [number for number, line in enumerate(lines) if line[0] == self._bound]
        if mine:
            del lines[mine[-1]]
            self._write_lines(lines)

    def save(self, token: Token, form: str) -> None:
        """Replace the token; `form` is the body form that worked. Raises OSError."""
        stored = _Stored(self._bound, token.text, stamp(token.obtained), stamp(token.expires), form)
        _replace(self.path, msgspec.json.encode(stored))

    def _token(self) -> tuple[Token | None, str | None]:
        try:
            with self.path.open("rb") as file:
                stored = decode_as(file.read(_MAX_BYTES), _Stored)
            token = Token(stored.access_token, parse(stored.obtained), parse(stored.expires))
        except (OSError, ValueError, RecursionError):
            return None, None
        if stored.bound != self._bound or not is_usable(stored.access_token):
            return None, None
        return token, stored.form if stored.form in ("json", "form") else None

    def _lines(self) -> list[tuple[str, datetime, str]]:
        try:
            with self._requests.open("rb") as file:
                text = file.read(_MAX_BYTES).decode("ascii", "replace")
        except FileNotFoundError:
            return []
        lines = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                name, at, why = line.split(" ")
                lines.append((name, parse(at), why))
        return lines

    def _write_lines(self, lines: list[tuple[str, datetime, str]]) -> None:
        _replace(self._requests, "".join(f"{name} {stamp(at)} {why}\n" for name, at, why in lines).encode("ascii"))


def is_usable(token: str) -> bool:
    """Whether a text is valid in an Authorization header."""
    return bool(token) and token.isascii() and all("!" <= char <= "~" for char in token)


def _replace(path: Path, text: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(number, "wb") as file:
        os.fchmod(number, 0o600)  # an old file may have had other permissions
        file.write(text)
        file.flush()
        os.fsync(number)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def refusal_reason(state: TokenState, why: RenewalReason, now: datetime) -> FlexportError | None:
    """Why no token may be requested now, with `retry_after`; None if one may."""
    requests = state.requests_within_day(now)
    limit = _LIMITS[why]
    if len(requests) >= limit:
        free = requests[-limit].at + _WINDOW
        message = (
            f"{len(requests)} token requests in the last 24 hours (Flexport allows {REQUESTS_ALLOWED}); "
            f"the next is possible at {stamp(free)}"
        )
        return TokensExhaustedError(message, _retry_details(free - now), sent=False)
    last = max((request.at for request in requests if request.why == "refused"), default=None)
    if why == "refused" and last is not None and now < last + _BETWEEN_REFUSED:
        free = last + _BETWEEN_REFUSED
        message = f"the token was renewed after a 401 at {stamp(last)}; not again before {stamp(free)}"
        return FlexportUnavailableError(message, _retry_details(free - now), sent=False)
    failed = [request.at for request in requests if state.token is None or request.at > state.token.obtained]
    if failed:
        free = failed[-1] + timedelta(seconds=_RETRY_DELAYS[min(len(failed), len(_RETRY_DELAYS)) - 1])
        if now < free:
            message = f"the token request at {stamp(failed[-1])} failed; the next is due at {stamp(free)}"
            return FlexportUnavailableError(message, _retry_details(free - now), sent=False)
    return None


def _retry_details(span: timedelta) -> ErrorDetails:
    return ErrorDetails(retry_after=max(0.0, span / timedelta(seconds=1)))
