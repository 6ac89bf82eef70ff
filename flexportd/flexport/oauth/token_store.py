"""The token and the count of token requests on disk, because ten a day is all that Flexport gives.

Two files, both 0600: the token (`token.json`, replaced as a whole) and beside it the requests (`token.requests`, one
line each, on the disk before the request is sent). A token file that is damaged or belongs to other credentials is as
if absent; the requests are counted all the same, those of each credentials apart. Everything here blocks: call it
through `asyncio.to_thread`.
"""

import contextlib
import fcntl
import os
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from flexportd.clock import parse, stamp

RenewalReason = Literal["start", "age", "refused", "person"]  # none there, near its end, answered 401, somebody asked

WINDOW = timedelta(hours=24)
_KEPT_FOR = timedelta(days=7)
_MAX_BYTES = 1 << 20  # bytes that are read of either file


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; its text is in no repr."""

    text: str = field(repr=False)
    obtained: datetime
    expires: datetime

    def is_due(self, now: datetime) -> bool:
        """Whether nine tenths of its life are over."""
        return now >= self.obtained + (self.expires - self.obtained) * 0.9


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One token request that was counted."""

    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class TokenState:
    """What the disk knows: the token if there is a usable one, the body form that worked, requests, oldest first."""

    token: Token | None
    form: str | None
    requests: tuple[TokenRequest, ...]

    def requests_within_day(self, now: datetime) -> list[TokenRequest]:
        """The requests of the last 24 hours; one that is dated in the future counts too."""
        return [one for one in self.requests if one.at > now - WINDOW]


class _Stored(msgspec.Struct):
    bound: str
    access_token: str
    obtained: str
    expires: str
    form: str


class TokenFile:
    """The two files of one data folder, for the credentials that `bound` (a hash) stands for."""

    def __init__(self, path: Path, bound: str) -> None:
        self.path = path
        self._requests = path.with_suffix(".requests")
        self._lock = path.with_suffix(".lock")
        self._bound = bound

    def load(self, now: datetime) -> TokenState:
        """What is there. A request dated in the future is dated now, for good: our clock was set back.

        Raises OSError when the requests exist and cannot be read: then none may be sent.
        """
        token, form = self._token()
        lines = self._lines()
        asked = [(name, min(at, now), why) for name, at, why in lines]
        if asked != lines:
            self._write_lines(asked)
        mine = sorted((TokenRequest(at, why) for name, at, why in asked if name == self._bound), key=lambda one: one.at)
        return TokenState(token, form, tuple(mine))

    def count(self, now: datetime, why: RenewalReason) -> None:
        """Count one request, before it is sent. It is on the disk when this returns; raises OSError otherwise."""
        lines = [line for line in self._lines() if line[1] > now - _KEPT_FOR]
        self._write_lines([*lines, (self._bound, now, why)])

    def uncount(self) -> None:
        """Take the newest request back: it is certain that it never left. Raises OSError."""
        lines = self._lines()
        mine = [number for number, line in enumerate(lines) if line[0] == self._bound]
        if mine:
            del lines[mine[-1]]
            self._write_lines(lines)

    def save(self, token: Token, form: str) -> None:
        """Replace the token; `form` is the body form that worked. Raises OSError."""
        stored = _Stored(self._bound, token.text, stamp(token.obtained), stamp(token.expires), form)
        _replace(self.path, msgspec.json.encode(stored))

    def lock(self) -> "FileLock":
        """What keeps two processes from asking at once."""
        return FileLock(self._lock)

    def _token(self) -> tuple[Token | None, str | None]:
        try:
            with self.path.open("rb") as file:
                stored = msgspec.json.decode(file.read(_MAX_BYTES), type=_Stored)
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


class FileLock:
    """A lock on a file, held by one across processes; safe against a taker that was cancelled while it took it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._held: int | None = None
        self._over = False

    def acquire(self) -> bool:
        """Try once; False when somebody else has it. Raises OSError when there can be no lock file."""
        with self._guard:
            if self._over:
                return False
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(file)
                if isinstance(error, BlockingIOError):
                    return False
                raise
            self._held = file
            return True

    def release(self) -> None:
        """Let go, for good; safe without having it."""
        with self._guard:
            self._over = True
            if self._held is not None:
                os.close(self._held)
                self._held = None


def is_usable(token: str) -> bool:
    """Whether a text can stand in an Authorization header."""
    return bool(token) and token.isascii() and all("!" <= char <= "~" for char in token)


def _replace(path: Path, text: bytes) -> None:
    """Put a file of these bytes, 0600, in the place of the old one, whole or not at all, and durably."""
    fresh = path.with_name(path.name + ".new")
    number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(number, "wb") as file:
        os.fchmod(number, 0o600)  # one that was left lying may have had other rights
        file.write(text)
        file.flush()
        os.fsync(number)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
