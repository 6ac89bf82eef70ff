"""Mail through an SMTP server: one mail to all recipients, one connection for each."""

import asyncio
import base64
import os
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiosmtplib
from pydantic import SecretStr

from flexportd.notify.channels.channel import Channel, ChannelContext, ChannelError, OutgoingMessage, SendReceipt
from flexportd.notify.channels.mail_message import Mailbox, build_mail, message_id
from flexportd.notify.render import Origin, clean_line

CONFIGURATION_DELAY = 900.0
"""Seconds until the next attempt after a refusal that only a change of the configuration ends.

The message is kept: the circuit breaker opens, other channels report it, and what waits is sent after the change.
"""

DEFERRED_DELAY = 60.0
"""Seconds until the next attempt for recipients that a server defers; greylisting lasts some minutes."""

_QUIT_TIMEOUT = 5.0
_NAME_TIMEOUT = 5.0
_MAX_ANSWER = 200  # characters
_MAX_SHOWN = 3  # recipients in a destination

_POLICY_REFUSAL = re.compile(r"5\.7\.\d")  # enhanced status code of RFC 3463: security or policy

# By OpenSSL's codes (X509_V_ERR_*).
_TRUST = "add its certificate to the trusted ones of this machine, or name it in SSL_CERT_FILE"
_CERTIFICATE_HINTS = {
    9: "is not valid yet: check the clock of this machine",
    10: "has expired: renew it on the server",
    18: f"is self-signed: {_TRUST}",
    19: f"is signed by an unknown authority: {_TRUST}",
    20: f"is signed by an unknown authority: {_TRUST}",
    62: "is for another host name: set smtp_host to the name in the certificate",
    64: "is for another address: set smtp_host to the name in the certificate",
}


class Recipient(Mailbox, Protocol):
    """A mailbox as settings hold it."""

    @property
    def needs_smtputf8(self) -> bool: ...


class EmailSettings(Protocol):
    """The settings of `[notify.channels.NAME]` with `type = "email"`."""

    @property
    def to(self) -> Sequence[Recipient]: ...
    @property
    def sender(self) -> Recipient: ...
    @property
    def smtp_host(self) -> str: ...
    @property
    def smtp_port(self) -> int: ...
    @property
    def smtp_user(self) -> str | None: ...
    @property
    def smtp_password(self) -> SecretStr | None: ...
    @property
    def starttls(self) -> bool: ...
    @property
    def tls(self) -> bool: ...


@dataclass(slots=True)
class _Recipients:
    """What has become of each recipient: accepted, refused for good, or deferred; with the server's answers."""

    accepted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    deferred: dict[str, str] = field(default_factory=dict)
    is_policy: bool = True
    """Whether every refusal is one of policy, such as a relay that wants authentication."""
    is_transmitted: bool = False
    """Whether the message itself was sent: without an answer to it, it may have been accepted."""

    def progress(self) -> dict[str, Any]:
        """For the next attempt, which goes to the others only."""
        return {"accepted": self.accepted, "refused": self.refused}

    def error(self, sentence: str, delay: float) -> ChannelError:
        """The error that ended the session before all of them were decided."""
        return ChannelError(sentence, retry_after=delay, progress=self.progress(), may_have_arrived=self.is_transmitted)


class EmailChannel(Channel[EmailSettings]):
    """Mail. With STARTTLS or TLS required, nothing is sent over an unencrypted connection."""

    timeout = 75.0  # longer than `total_timeout` and the end of a session: the errors here are more exact
    connect_timeout = 15.0
    total_timeout = 60.0

    def __init__(self, name: str, settings: EmailSettings, context: ChannelContext) -> None:
        super().__init__(name, settings, context)
        self._local_name: str | None = None

    @property
    def destination(self) -> str:
        addresses = [each.address for each in self.settings.to]
        more = len(addresses) - _MAX_SHOWN
        return ", ".join(addresses[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Send one mail to all recipients, or to those that have not accepted it yet. Raises ChannelError."""
        recipients = _Recipients([*message.progress.get("accepted", ())], dict(message.progress.get("refused", {})))
        smtp = aiosmtplib.SMTP(
            hostname=self.settings.smtp_host,
            port=self.settings.smtp_port,
            use_tls=self.settings.tls,
            start_tls=False,
            timeout=self.total_timeout,
        )
        try:
            async with asyncio.timeout(self.total_timeout):
                await self._open(smtp)
                await self._transfer(smtp, message, recipients)
            await self._quit(smtp)
        except ChannelError as error:
            error.progress = recipients.progress()
            raise
        except aiosmtplib.SMTPResponseException as error:
            raise self._refusal(error, recipients) from None  # the cause may repeat the password
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:  # ValueError: a name that DNS cannot look up
            raise self._failure(error, recipients) from None  # an answer may repeat the password
        finally:
            abort = getattr(smtp.transport, "abort", None)
            smtp.close()
            if abort is not None:
                abort()
        return self._receipt(message, recipients)

    def _receipt(self, message: OutgoingMessage, recipients: _Recipients) -> SendReceipt:
        """The result of a complete transaction. Raises ChannelError where some or all have not accepted the message."""
        refused = _list_answers(recipients.refused)
        if recipients.deferred:
            raise ChannelError(
                f"{self._server} does not accept the message yet: {_list_answers(recipients.deferred)}",
                retry_after=DEFERRED_DELAY,
                progress=recipients.progress(),
                is_channel_working=bool(recipients.accepted or recipients.refused),
            )
        if not recipients.accepted:
            # A later attempt, which a person asks for, goes to all of them again.
            sentence = f"{self._server} refuses the message for every recipient: {refused}"
            if recipients.is_policy:
                raise self._misconfigured(f"{sentence}; check from, smtp_user and smtp_password")
            raise ChannelError(sentence, permanent=True, progress={})
        return SendReceipt(
            remote_id=message_id(message.key, self.settings.sender),
            note=f"not accepted for {refused}" if refused else None,
        )

    async def _open(self, smtp: aiosmtplib.SMTP) -> None:
        """Connect, encrypt, sign in."""
        settings = self.settings
        smtp.local_hostname = await self._helo_name()
        await smtp.connect(timeout=self.connect_timeout)
        await self._greet(smtp)
        if settings.starttls and not settings.tls:
            if not smtp.supports_extension("starttls"):
                raise self._misconfigured(
                    f"{self._server} does not offer STARTTLS, so nothing was sent: set tls = true with "
                    "the port for TLS (465), or starttls = false to send without encryption"
                )
            await smtp.starttls(timeout=self.connect_timeout)
            await self._greet(smtp)
        if settings.smtp_user is not None:
            await self._sign_in(smtp, settings.smtp_user)

    async def _greet(self, smtp: aiosmtplib.SMTP) -> None:
        try:
            await smtp.ehlo(timeout=self.connect_timeout)
        except aiosmtplib.SMTPHeloError:
            if not smtp.is_connected:
                raise
            await smtp.helo(timeout=self.connect_timeout)

    async def _sign_in(self, smtp: aiosmtplib.SMTP, user: str) -> None:
        """Sign in once: a second method with the same password would only count as another failure."""
        is_encrypted = self.settings.tls or self.settings.starttls
        known = ("plain", "login", "cram-md5") if is_encrypted else ("cram-md5", "plain", "login")
        method = next((each for each in known if each in smtp.server_auth_methods), None)
        if method is None:
            offered = clean_line(", ".join(smtp.server_auth_methods).upper(), _MAX_ANSWER)
            raise self._misconfigured(
                f"{self._server} offers the sign-in methods {offered}, of which flexportd supports none"
                if offered
                else f"{self._server} offers no sign-in: remove smtp_user and smtp_password, or use the port for "
                "clients (587 or 465)"
            )
        smtp.AUTH_METHODS = (method,)
        password = self.settings.smtp_password
        await smtp.login(user, password.get_secret_value() if password else "")

    async def _transfer(self, smtp: aiosmtplib.SMTP, message: OutgoingMessage, recipients: _Recipients) -> None:
        """One mail transaction; what the server answers for each recipient is recorded."""
        sender = self.settings.sender
        reachable = self._reachable(smtp, recipients)
        pending = [
            each.address
            for each in reachable
            if each.address not in recipients.accepted and each.address not in recipients.refused
        ]
        if not pending:
            return
        utf8 = any(each.needs_smtputf8 for each in (sender, *reachable))
        mail = await asyncio.to_thread(
            build_mail,
            message,
            sender=sender,
            recipients=reachable,
            origin=Origin(self.context.title, self.name),
            link=self.context.url,
            utf8=utf8,
        )
        options = [f"SIZE={len(mail)}"] if smtp.supports_extension("size") else []
        options += ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else []
        encoding = "utf-8" if utf8 else "ascii"
        try:
            await smtp.mail(sender.address, options=options, encoding=encoding)
        except aiosmtplib.SMTPSenderRefused as error:
            if error.code != 552:  # the message is too large
                raise
            self._record(recipients, pending, error.code, error.message, is_content=True)
            return
        named = [address for address in pending if await self._name(smtp, address, encoding, recipients)]
        if not named:
            return
        recipients.is_transmitted = True
        try:
            await smtp.data(mail)
        except aiosmtplib.SMTPDataError as error:
            self._record(recipients, named, error.code, error.message, is_content=True)
        else:
            recipients.accepted += named

    def _reachable(self, smtp: aiosmtplib.SMTP, recipients: _Recipients) -> list[Recipient]:
        """The recipients whose addresses this server can handle; the others are refused."""
        if smtp.supports_extension("smtputf8"):
            return [*self.settings.to]
        if self.settings.sender.needs_smtputf8:
            raise self._misconfigured(f"{self._server} does not support SMTPUTF8, which the address in from needs")
        others = [each.address for each in self.settings.to if each.needs_smtputf8]
        self._record(recipients, others, 550, "the server does not support SMTPUTF8, which this address needs")
        return [each for each in self.settings.to if not each.needs_smtputf8]

    async def _name(self, smtp: aiosmtplib.SMTP, address: str, encoding: str, recipients: _Recipients) -> bool:
        """Name one recipient; whether the server takes the message for it."""
        try:
            await smtp.rcpt(address, encoding=encoding)
        except aiosmtplib.SMTPRecipientRefused as error:
            if error.code == 421:  # the server ends the connection
                raise
            if 200 <= error.code < 300:  # 252: not verified, but taken
                return True
            # 552 for one recipient means too many of them (RFC 5321, 4.5.3.1.10).
            self._record(recipients, [address], 452 if error.code == 552 else error.code, error.message)
            return False
        return True

    def _record(
        self, recipients: _Recipients, addresses: Sequence[str], code: int, message: str, *, is_content: bool = False
    ) -> None:
        """What the server answered for these recipients; `is_content`: about the message itself."""
        for address in addresses:
            if 500 <= code < 600:
                recipients.refused[address] = self._answer(code, message)
                is_policy = code == 530 or _POLICY_REFUSAL.match(message) is not None
                recipients.is_policy = recipients.is_policy and is_policy and not is_content
            else:
                recipients.deferred[address] = self._answer(code, message)

    async def _quit(self, smtp: aiosmtplib.SMTP) -> None:
        """End the session. What happens here no longer matters: every recipient is decided."""
        with suppress(aiosmtplib.SMTPException, OSError):
            await smtp.quit(timeout=_QUIT_TIMEOUT)

    async def _helo_name(self) -> str:
        """The full name of this machine, or the sender's domain: servers refuse a name without a dot."""
        if self._local_name is None:
            name = ""
            with suppress(TimeoutError):
                async with asyncio.timeout(_NAME_TIMEOUT):
                    name = await asyncio.to_thread(socket.getfqdn)
            labels = name.split(".")
            is_usable = (
                len(labels) > 1
                and all(label.isascii() and label.replace("-", "").isalnum() for label in labels)
                and labels[0] != "localhost"
            )
            self._local_name = name if is_usable else self.settings.sender.address.rpartition("@")[2]
        return self._local_name

    @property
    def _server(self) -> str:
        host = self.settings.smtp_host
        return f"[{host}]:{self.settings.smtp_port}" if ":" in host else f"{host}:{self.settings.smtp_port}"

    def _answer(self, code: int, message: str) -> str:
        """What the server answered, without the password, should it repeat what it received."""
        text = message
        if self.settings.smtp_password is not None:
            password = self.settings.smtp_password.get_secret_value()
            plain = f"\0{self.settings.smtp_user}\0{password}"
            for secret in (base64.b64encode(form.encode()).decode() for form in (plain, password)):
                text = text.replace(secret, "***")
            text = text.replace(password, "***")
        return clean_line(f"{code} {text}", _MAX_ANSWER)

    def _misconfigured(self, sentence: str) -> ChannelError:
        """A refusal that only a change of the configuration ends, here or on the server."""
        return ChannelError(sentence, retry_after=CONFIGURATION_DELAY, progress={})

    def _refusal(self, error: aiosmtplib.SMTPResponseException, recipients: _Recipients) -> ChannelError:
        """An answer that ended the session before the recipients were decided."""
        answer = self._answer(error.code, error.message)
        what, hint = next(words for kind, words in _REFUSALS.items() if isinstance(error, kind))
        delay = CONFIGURATION_DELAY if 500 <= error.code < 600 else 0.0
        sentence = f"{self._server} {what}: {answer}{f'; {hint}' if hint and delay else ''}"
        if error.code < 200:
            sentence = f"{self._server} does not answer as an SMTP server does"
        return recipients.error(sentence, delay)

    def _failure(self, error: Exception, recipients: _Recipients) -> ChannelError:
        """What ended a connection before the recipients were decided."""
        delay = 0.0
        cause = error.__cause__ if isinstance(error, aiosmtplib.SMTPConnectError) and error.__cause__ else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            hint = _CERTIFICATE_HINTS.get(cause.verify_code, f"is not valid: {cause.verify_message}")
            sentence, delay = f"the TLS certificate of {self._server} {hint}", CONFIGURATION_DELAY
        elif isinstance(cause, ssl.SSLError):
            reason = str(cause.reason or "handshake failed").replace("_", " ").lower()
            hint = "; set starttls = true and tls = false if this is the port for STARTTLS" if self.settings.tls else ""
            sentence = f"no TLS connection to {self._server} can be set up: {clean_line(reason, _MAX_ANSWER)}{hint}"
        elif isinstance(cause, socket.gaierror | UnicodeError):
            sentence = f"the host name {self.settings.smtp_host} cannot be resolved"
        elif isinstance(error, aiosmtplib.SMTPConnectTimeoutError) and not isinstance(cause, aiosmtplib.SMTPException):
            sentence = f"{self._server} cannot be reached: no connection within {self.connect_timeout:g} seconds"
        elif isinstance(error, aiosmtplib.SMTPConnectTimeoutError):  # a server that waits for the client to start TLS
            hint = "" if self.settings.tls else "; set tls = true and starttls = false if this is the port for TLS"
            sentence = f"{self._server} did not send a greeting within {self.connect_timeout:g} seconds{hint}"
        elif isinstance(error, TimeoutError):
            sentence = f"{self._server} did not answer in time"
        elif isinstance(error, aiosmtplib.SMTPConnectError) and not isinstance(cause, aiosmtplib.SMTPException):
            sentence = f"{self._server} cannot be reached: {_system_message(cause)}"
        elif isinstance(error, ConnectionError):
            sentence = f"{self._server} closed the connection before it accepted the message"
        else:
            sentence = f"the mail to {self._server} failed: {clean_line(str(error), _MAX_ANSWER)}"
        return recipients.error(sentence, delay)


_REFUSALS: Mapping[type[Exception], tuple[str, str]] = {
    aiosmtplib.SMTPConnectResponseError: ("refuses the connection", "ask its admin whether this machine may use it"),
    aiosmtplib.SMTPHeloError: ("refuses the greeting", "check the host name of this machine"),
    aiosmtplib.SMTPAuthenticationError: ("refuses to sign in", "check smtp_user and smtp_password"),
    aiosmtplib.SMTPSenderRefused: ("refuses the sender", "check from, smtp_user and smtp_password"),
    aiosmtplib.SMTPResponseException: ("refuses to continue", ""),
}
"""What each class of a refusal means, and what the admin can do about one that is permanent."""


def _list_answers(answers: Mapping[str, str]) -> str:
    """Recipients with the server's answers, those with the same one together."""
    by_answer: dict[str, list[str]] = {}
    for address, answer in answers.items():
        by_answer.setdefault(answer, []).append(address)
    return "; ".join(f"{', '.join(addresses)} ({answer})" for answer, addresses in by_answer.items())


def _system_message(error: BaseException) -> str:
    """`Connection refused`; asyncio joins the errors of several addresses into one text."""
    numbers = {*map(int, re.findall(r"\[Errno (\d+)\]", str(error)))}
    return os.strerror(numbers.pop()) if len(numbers) == 1 else clean_line(str(error), _MAX_ANSWER)
