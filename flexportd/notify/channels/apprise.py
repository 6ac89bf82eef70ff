"""Apprise: every other service, such as Microsoft Teams, Discord, ntfy, Telegram or SMS.

Apprise is an optional package, and is imported in the thread that uses it. Its calls block, so each attempt runs in a
thread of its own, which does not keep the process alive. The URLs contain tokens: what Apprise and its libraries log is
not passed on, and what goes into an error is cleaned.
"""

import asyncio
import contextlib
import hashlib
import importlib.util
import logging
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from flexportd.escape import escape_control
from flexportd.http.redaction import Secrets
from flexportd.notify.channels.channel import Channel, ChannelContext, ChannelError, OutgoingMessage, SendReceipt
from flexportd.notify.render import render_text
from flexportd.settings.notify import AppriseChannelSettings

if TYPE_CHECKING:
    from apprise import NotifyBase

LOCAL_SCHEMES = {
    "blink1": "lights a USB device",
    "dbus": "shows a message on a desktop",
    "gio": "shows a message on a desktop",
    "glib": "shows a message on a desktop",
    "gnome": "shows a message on a desktop",
    "kde": "shows a message on a desktop",
    "macosx": "shows a message on a desktop",
    "qt": "shows a message on a desktop",
    "syslog": "writes to the system log",
    "windows": "shows a message on a desktop",
}
"""Services that act on this machine: nobody would see their messages, and a service of systemd may not use most."""

_SILENT_LOGGERS = ("apprise", "urllib3", "requests")  # urllib3 logs paths, which contain tokens
_SERVICE_TIMEOUT = 20.0  # seconds for one service
_MAX_REASON = 200  # characters
_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all)\b)|<(?=[@!#&])")
_ANSWERED = re.compile(r"\berror=\d{3}\b")  # in what Apprise says of a service that answered and refused
_WORD_JOINER = "\u2060"
_TYPES = {"critical": "failure", "warning": "warning", "good": "success"}


def missing_package() -> str | None:
    """What to install to use channels of type `apprise`; None if it is installed."""
    if importlib.util.find_spec("apprise") is not None:
        return None
    return "channels of type apprise need the package apprise: install flexportd[apprise]"


def url_problem(url: str) -> str | None:
    """Why this URL is not used; None if nothing is known against it. The sentence names only its scheme."""
    scheme = _scheme(url)
    if scheme in LOCAL_SCHEMES:
        return f"{scheme}:// {LOCAL_SCHEMES[scheme]} on this machine and notifies nobody else; use a network service"
    if scheme in ("file", "include"):
        return f"{scheme}:// names a file; give the URL of the service itself"
    return None


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a service did not accept a message."""

    text: str
    may_have_arrived: bool = False


_Outcomes = dict[str, _Failure | None]
"""What became of a message, for each URL by its digest: None for success."""


class AppriseChannel(Channel[AppriseChannelSettings]):
    """Sends title and text to each URL. After a failure, only the URLs that failed get the message again."""

    timeout: float = 60.0
    attempt_timeout: float = 50.0
    """Seconds that one attempt may take."""

    @classmethod
    def problems(cls, settings: AppriseChannelSettings) -> Iterable[str]:
        """A missing package, and URLs that act on this machine only."""
        found = (missing_package(), *(url_problem(url.get_secret_value()) for url in settings.url))
        return filter(None, found)

    def __init__(self, name: str, settings: AppriseChannelSettings, context: ChannelContext) -> None:
        super().__init__(name, settings, context)
        self._urls = [secret.get_secret_value() for secret in settings.url]
        self._secrets = Secrets(sorted({part for url in self._urls for part in _secret_parts(url)}, key=len)[::-1])
        self._ended = threading.Event()  # the thread of the last attempt
        self._ended.set()
        self._last: tuple[str, _Outcomes] = "", {}
        self._lock = asyncio.Lock()

    @property
    def destination(self) -> str:
        """The services, by the schemes of their URLs."""
        return ", ".join(dict.fromkeys(f"{_scheme(url)}://***" for url in self._urls))

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Send one message to each URL that has not accepted it yet. Raises ChannelError."""
        async with self._lock:
            return await self._send(message)

    async def _send(self, message: OutgoingMessage) -> SendReceipt:
        problem = next(filter(None, map(url_problem, self._urls)), None)
        if problem is not None:
            raise ChannelError(problem)
        if not self._ended.is_set():
            raise ChannelError("the last attempt has not ended yet: the service does not answer")
        content = message.content
        text = render_text(content, self.context.url)
        if message.is_repeated:
            text += "\n\nSent again after an interruption"
        accepted = {str(digest) for digest in message.progress.get("accepted", ())}
        if self._last[0] == message.key:  # a service may have accepted it after the attempt had ended
            accepted |= {digest for digest, failure in self._last[1].items() if failure is None}
        waiting = {digest: url for url in self._urls if (digest := _digest(url)) not in accepted}
        outcomes: _Outcomes = {}
        self._last = message.key, outcomes
        kind = _TYPES.get(content.severity or "", "info")
        with contextlib.suppress(TimeoutError):  # those without an outcome have not answered
            async with asyncio.timeout(self.attempt_timeout):
                await self._run(waiting, (content.title, text, kind), outcomes)
        ended = dict(outcomes)
        accepted |= {digest for digest, failure in ended.items() if failure is None}
        failed = [(url, ended.get(digest)) for digest, url in waiting.items() if digest not in accepted]
        if failed:
            late = f"no answer within {self.attempt_timeout:g} seconds"
            sentences = (f"{_scheme(url)}://: {failure.text if failure else late}" for url, failure in failed)
            raise ChannelError(
                escape_control("Apprise could not send to " + "; ".join(sentences), 1000),
                progress={"accepted": sorted(accepted)},
                may_have_arrived=any(failure is None or failure.may_have_arrived for _, failure in failed),
            )
        return SendReceipt()

    async def _run(self, urls: dict[str, str], message: tuple[str, str, str], outcomes: _Outcomes) -> None:
        """Send in a thread, and wait for it. The thread starts nothing when the attempt has ended."""
        loop = asyncio.get_running_loop()
        done, is_over = asyncio.Event(), threading.Event()
        self._ended = ended = threading.Event()

        def run() -> None:
            try:
                for digest, url in urls.items():
                    if is_over.is_set():
                        break
                    outcomes[digest] = self._notify(url, *message)
            finally:
                ended.set()
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(done.set)

        threading.Thread(target=run, name=f"apprise-{self.name}", daemon=True).start()
        try:
            await done.wait()
        finally:
            is_over.set()

    def _notify(self, url: str, title: str, text: str, kind: str) -> _Failure | None:
        """Why a service did not accept the message; None if it did. Blocks."""
        try:
            _silence_loggers()
            from apprise import Apprise, AppriseAsset  # noqa: PLC0415 (optional, and large)

            asset = AppriseAsset(
                async_mode=False,
                storage_mode="memory",
                pgp_autogen=False,
                pem_autogen=False,
                service_timeout=_SERVICE_TIMEOUT,
                app_id="flexportd",
                app_desc=self.context.title,
                app_url=self.context.public_url or "https://github.com/caronc/apprise",
            )
            service = Apprise.instantiate(url, asset=asset)
            if service is None:
                return _Failure("Apprise does not know this kind of URL, or a part of it is missing")
            sender = Apprise(asset=asset)
            sender.add(service)
            title = _neutral(title)
            if 0 < service.title_maxlen < len(title):
                title = f"{title[: service.title_maxlen - 1]}…"
            text = _fit(_neutral(text), title, service)
            result = sender.notify(body=text, title=title, notify_type=kind, body_format="text")
            return None if result else self._failure(result)
        except ImportError:
            return _Failure(missing_package() or "Apprise cannot be imported")
        except Exception as error:  # noqa: BLE001 (a plugin may raise anything, and its text may hold a token)
            return _Failure(f"{type(error).__name__} in Apprise", may_have_arrived=True)

    def _failure(self, result: Any) -> _Failure:
        messages = [str(entry.message) for entry in result.logs()]
        text = " ".join(dict.fromkeys(messages)) or "the service refused the message"
        is_refused = _ANSWERED.search(text) is not None
        text = escape_control(self._secrets.clean_text(" ".join(text.split())), _MAX_REASON)
        return _Failure(text, may_have_arrived=not is_refused)


def _scheme(url: str) -> str:
    return escape_control(url.partition("://")[0].lower(), 40)


def _digest(url: str) -> str:
    """Recognises a URL in the progress of a message without revealing it: too short to confirm a guess."""
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def _secret_parts(url: str) -> Iterator[str]:
    """A URL and those of its parts that may be secrets."""
    yield url
    for part in re.split(r"[/?&=:@#,;]+", url.partition("://")[2]):
        yield from (part, unquote(part))


def _silence_loggers() -> None:
    for name in _SILENT_LOGGERS:
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _neutral(text: str) -> str:
    """Text that mentions nobody: chat services read @everyone and <@id> in it."""
    return _MENTION.sub(lambda match: match[0] + _WORD_JOINER, text)


def _fit(text: str, title: str, service: "NotifyBase") -> str:
    """Text within the limit of a service, cut after a line."""
    limit = service.body_maxlen - (len(title) + 2 if service.title_maxlen <= 0 else 0)
    if len(text) <= limit:
        return text
    lines = text.splitlines()
    kept = list(_lines_within(lines, limit - len(f"and {len(lines)} more lines")))
    return "\n".join([*kept, f"and {len(lines) - len(kept)} more lines"]) if kept else text[: max(limit, 1)]


def _lines_within(lines: Iterable[str], limit: int) -> Iterator[str]:
    for line in lines:
        limit -= len(line) + 1
        if limit < 0:
            return
        yield line
