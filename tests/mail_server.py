"""A real SMTP server on loopback that keeps what it receives."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP

from tests.under_test import look_again


class Mailbox:
    """The mails that arrived, and what the server answers: `answers` are taken first, one for each mail."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.answers: list[str] = []
        self.host, self.port = "127.0.0.1", 0

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 (aiosmtpd's name)
        if self.answers:
            answer = self.answers.pop(0)
            if not answer.startswith("2"):
                return answer
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]

    def text(self, number: int = -1) -> str:
        return self.mails[number].get_body(("plain",)).get_content()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.mails) < count:
                await look_again()


@asynccontextmanager
async def mail_server() -> AsyncIterator[Mailbox]:
    """A server without encryption; channels need starttls = false."""
    box = Mailbox()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(box, enable_SMTPUTF8=True, hostname="mail.test"), "127.0.0.1", 0
    )
    box.port = server.sockets[0].getsockname()[1]
    async with server:
        yield box


def email_channel(box: Mailbox, name: str = "team", **fields) -> dict[str, object]:
    """The settings of a channel that sends to this server."""
    values = {
        "type": "email", "to": ["team@example.com"], "from": "flexportd@example.com", "smtp_host": box.host,
        "smtp_port": box.port, "starttls": False, **fields,
    }  # fmt: skip
    return {f"notify.channels.{name}.{key}": value for key, value in values.items()}
