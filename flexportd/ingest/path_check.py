"""The path check: a signed, marked event goes to the public URL of the webhook and must come back to this daemon.

It names the step that fails, before Flexport's webhooks are missed. Its event is never stored: the receiver recognises
it by a random token that only this process knows, and by the mark at the beginning of its body.
"""

import asyncio
import hmac
import os
import re
import secrets
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog
from aiohappyeyeballs import start_connection
from aiohttp import hdrs

from flexportd import __version__
from flexportd.clock import Clock
from flexportd.core.system_conditions import ABSENT, UNKNOWN, ConditionState, PathCheckResult, PathCheckStep
from flexportd.escape import escape_control
from flexportd.flexport.webhook_signature import SHA256_HEADER, sign
from flexportd.settings import Settings

log = structlog.get_logger(__name__)

CHECK_HEADER = "X-Flexportd-Check"
"""Carries the token, so that the limits on networks do not apply to the check, which comes from this machine."""

MARK = b'{"flexportd_check":'
"""The beginning of the body. It is no event, so only the path of unusual deliveries looks for it."""

MAX_CHECK_BODY = 4096  # bytes

TIMEOUT = 15.0  # seconds for all steps together
_RETRY_INTERVAL = 60.0  # seconds after a failure
_FAILURES = 2  # in a row, until it is a condition: one lost packet is none
_MAX_RESPONSE = 64 << 10  # bytes of a response that are read
_CREDENTIALS = re.compile(r"//[^/]*@")
_PROBLEM = "urn:flexportd:problem:"
_SECRET_PROBLEMS = frozenset({"signature-missing", "signature-invalid", "sha1-signature", "webhook-secret-missing"})


_OFF = PathCheckResult("off", detail="The path check is off; see [webhook] self_check")
_PENDING = PathCheckResult("pending", detail="The path has not been checked yet")


@dataclass(frozen=True, slots=True)
class PathCheckRules:
    """Where the event goes, how it is signed, and the seconds between checks."""

    url: str
    secret: str
    interval: float

    @classmethod
    def from_settings(cls, settings: Settings, path: str) -> "PathCheckRules | None":
        """What `[webhook]` and `[server] public_url` say, for a webhook at this path; None if the check is off."""
        webhook, base = settings.webhook, settings.server.public_url
        if webhook.self_check is None or base is None or not webhook.secrets:
            return None
        url, secret = f"{base}{path}", webhook.secrets[0].get_secret_value()
        return cls(url, secret, webhook.self_check.total_seconds())


class _FailedStepError(Exception):
    """A step that fails, and why."""

    def __init__(self, step: PathCheckStep, detail: str) -> None:
        self.step: PathCheckStep = step
        super().__init__(detail)


class PathCheck:
    """Sends the event, and recognises it when it arrives. `result` is that of the last check."""

    def __init__(self, clock: Clock, settings: Settings) -> None:
        self._clock = clock
        self._path = settings.webhook.path  # cannot change while running
        self._rules = PathCheckRules.from_settings(settings, self._path)
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()  # one check at a time: there is one token
        self._failures = 0
        self._token = ""
        self._body = b""
        self._has_arrived = False
        self.result = _OFF if self._rules is None else _PENDING

    def reload(self, settings: Settings) -> None:
        """Apply the settings that can change while running; other ones check again."""
        rules = PathCheckRules.from_settings(settings, self._path)
        if rules != self._rules:
            self._rules, self._failures = rules, 0
            self.result = _OFF if rules is None else _PENDING
            self._wake.set()

    def condition(self) -> ConditionState:
        """Whether the path is broken: after two failures in a row."""
        if self.result.state == "pending" or 0 < self._failures < _FAILURES:
            return UNKNOWN
        if self.result.state == "off":
            return ConditionState(False, "The path check is off")
        return ConditionState(True, self.result.problem or "") if self._failures else ABSENT

    def is_expected(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries the token of the check that is under way."""
        claimed = headers.get(CHECK_HEADER)
        return (
            claimed is not None and bool(self._token) and _equal(claimed.encode(errors="replace"), self._token.encode())
        )

    def accept(self, body: bytes) -> bool:
        """Note that a body with a valid signature arrived; False if it is not that of the check under way."""
        if not self._token or not _equal(body, self._body):
            return False
        self._has_arrived = True
        return True

    async def run(self, on_result: Callable[[], None]) -> None:
        """Check at once, then in intervals, sooner after a failure, until cancelled; `on_result` follows each check."""
        while True:
            self._wake.clear()
            rules = self._rules
            delay = None
            if rules is not None:
                result = await self.check()
                on_result()
                delay = rules.interval if result.state == "ok" else min(rules.interval, _RETRY_INTERVAL)
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def check(self) -> PathCheckResult:
        """Check the path once; the result, also of what was found to fail."""
        async with self._turn:
            return await self._check()

    async def _check(self) -> PathCheckResult:
        rules = self._rules
        if rules is None:
            return _OFF
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._token, self._has_arrived = secrets.token_hex(16), False
        self._body = msgspec.json.encode({"flexportd_check": self._token, "sent_at": self._clock.stamp()})
        try:
            await self._send(rules)
            result = PathCheckResult(
                "ok", "accepted", f"The marked event came back in {loop.time() - began:.2f} s", self._clock.stamp()
            )
        except _FailedStepError as error:
            result = PathCheckResult("failed", error.step, str(error), self._clock.stamp())
        finally:
            self._token, self._body = "", b""
        if rules is self._rules:
            self._record(result)
        return result

    def _record(self, result: PathCheckResult) -> None:
        if result.state == "ok" and self._failures:
            log.info("path_check_recovered", failures=self._failures)
        elif result.state == "failed" and (not self._failures or result.step != self.result.step):
            log.warning("path_check_failed", step=result.step, reason=result.detail)
        self._failures = 0 if result.state == "ok" else self._failures + 1
        self.result = result

    async def _send(self, rules: PathCheckRules) -> None:
        """Raises _FailedStepError for the first step that fails."""
        parts = urlsplit(rules.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        at = SimpleNamespace(step="dns")
        try:
            async with asyncio.timeout(TIMEOUT):
                await _connect(host, port, at)
                at.step = "tls" if parts.scheme == "https" else "proxy"
                await self._post(rules, at)
        except TimeoutError:
            raise _FailedStepError(
                at.step, f"{_TIMED_OUT[at.step]} within {TIMEOUT:g} s ({_name(host, port)})"
            ) from None

    async def _post(self, rules: PathCheckRules, at: SimpleNamespace) -> None:
        headers = {
            hdrs.CONTENT_TYPE: "application/json",
            hdrs.USER_AGENT: f"flexportd/{__version__} (path check)",
            SHA256_HEADER: sign(self._body, rules.secret),
            CHECK_HEADER: self._token,
        }
        tls: Any = await asyncio.to_thread(ssl.create_default_context) if at.step == "tls" else True
        connector = aiohttp.TCPConnector(ssl=tls, force_close=True, use_dns_cache=False)
        trace = aiohttp.TraceConfig()

        async def connected(*_: object) -> None:
            at.step = "proxy"

        trace.on_connection_create_end.append(connected)
        # Without trust_env, the proxies of the environment are not used.
        async with aiohttp.ClientSession(
            connector=connector, trace_configs=[trace], cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as http:
            try:
                async with http.post(rules.url, data=self._body, headers=headers, allow_redirects=False) as response:
                    text = await _read(response.content)
            except aiohttp.ClientConnectorCertificateError as error:
                raise _FailedStepError(
                    "tls", f"The certificate is not valid: {_reason(error.certificate_error)}"
                ) from None
            except (aiohttp.ClientSSLError, ssl.SSLError) as error:
                raise _FailedStepError("tls", f"The TLS handshake fails: {_reason(error)}") from None
            except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError):  # their texts are for programmers
                raise _FailedStepError(at.step, _BROKEN[at.step]) from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise _FailedStepError(at.step, f"{_BROKEN[at.step]}: {_reason(error)}") from None
        self._judge(response.status, response.headers, text)

    def _judge(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raises _FailedStepError unless the event arrived here, and its response is ours."""
        slug, detail = _problem(body)
        if slug in _SECRET_PROBLEMS:
            raise _FailedStepError("secret", f"flexportd refused the signature: {detail}")
        if self._has_arrived and status == 200:
            return
        if slug == "conflict":
            raise _FailedStepError("proxy", "Another flexportd answered; public_url does not lead to this one")
        if slug is not None and status in (404, 405):
            raise _FailedStepError("proxy", f"flexportd was reached, but not at the path of its webhook: {detail}")
        if slug is not None:
            raise _FailedStepError("accepted", f"flexportd answered {status}: {detail}")
        place = _location(headers.get(hdrs.LOCATION)) if 300 <= status < 400 else ""
        raise _FailedStepError("proxy", f"Something other than flexportd answered, with status {status}{place}")


_TIMED_OUT: Mapping[str, str] = {
    "dns": "The name was not resolved",
    "connect": "No connection was made",
    "tls": "The TLS handshake did not end",
    "proxy": "A connection was made, but no response came",
}
_BROKEN: Mapping[str, str] = {
    "tls": "The TLS handshake fails",
    "proxy": "A connection was made, but no valid HTTP response came",
}


async def _connect(host: str, port: int, at: SimpleNamespace) -> None:
    """Resolve the name and connect, to tell these two steps from those that follow."""
    loop = asyncio.get_running_loop()
    try:
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _FailedStepError("dns", f"The name {escape_control(host)} cannot be resolved: {_reason(error)}") from None
    at.step = "connect"
    try:
        # As aiohttp does it for the request. uvloop has no such option.
        sock = await start_connection(addresses, happy_eyeballs_delay=0.25)
    except OSError as error:
        raise _FailedStepError("connect", f"No connection to {_name(host, port)}: {_reason(error)}") from None
    sock.close()


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The beginning of a response; the rest is not needed."""
    pieces, size = list[bytes](), 0
    while size < _MAX_RESPONSE and (piece := await content.read(_MAX_RESPONSE - size)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _problem(body: bytes) -> tuple[str | None, str]:
    """The slug and the sentence of a problem document of flexportd's; None for anything else."""
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None, ""
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or not kind.startswith(_PROBLEM):
        return None, ""
    return kind.removeprefix(_PROBLEM), escape_control(str(document.get("detail", ""))).rstrip(".")


def _location(target: str | None) -> str:
    """Where a redirect leads, without credentials and query: `, and redirects to https://sso.example.com/login`."""
    shown = _CREDENTIALS.sub("//", (target or "").partition("?")[0].partition("#")[0], count=1)
    return f", and redirects to {escape_control(shown)}" if shown else ""


def _name(host: str, port: int) -> str:
    return escape_control(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _reason(error: BaseException) -> str:
    text = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
    if isinstance(error, ConnectionError) and error.errno:  # asyncio's own text is for programmers
        text = os.strerror(error.errno)
    return escape_control(str(text)).rstrip(".") or type(error).__name__


def _equal(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)
