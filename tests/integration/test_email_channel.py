"""The email channel before real SMTP servers: aiosmtpd, and scripted ones that show every octet they receive."""

import asyncio
import base64
import email
import email.policy
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from pydantic import SecretStr

from flexportd.clock import Clock
from flexportd.notify.channels import email as email_channel
from flexportd.notify.channels.channel import ChannelContext, ChannelError, OutgoingMessage
from flexportd.notify.channels.email import CONFIGURATION_DELAY, DEFERRED_DELAY, EmailChannel
from flexportd.notify.channels.registry import CHANNEL_TYPES
from flexportd.notify.content import Content, Line, Section

PASSWORD = "correct horse battery staple"
CONTEXT = ChannelContext(Clock(), title="Acme freight", public_url="https://freight.example.com")
CONTENT = Content(
    title="FLEX-1042 · Winter jackets: free time ended",
    severity="critical",
    path="/shipments/1042",
    sections=(
        Section((Line("FLEX-1042 · Winter jackets", ("Free time ended 25 Nov",), "critical", "/shipments/1042"),)),
    ),
    rules=("Free time",),
)


@dataclass(frozen=True)
class Mailbox:
    address: str
    name: str = ""

    @property
    def needs_smtputf8(self):
        return not self.address.isascii()


@dataclass(frozen=True)
class MailSettings:
    smtp_port: int
    smtp_host: str = "localhost"
    to: tuple = (Mailbox("a@example.org"), Mailbox("b@example.org"), Mailbox("c@example.org"))
    sender: Mailbox = Mailbox("flexportd@example.com")
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    starttls: bool = False
    tls: bool = False


def message(content=CONTENT, **changed):
    return OutgoingMessage(
        key="msg_2Lm3", content=content, created_at=datetime(2026, 11, 29, 12, 0, tzinfo=UTC), **changed
    )


def channel(port, **changed):
    made = EmailChannel("team", MailSettings(port, **changed), CONTEXT)
    made.connect_timeout, made.total_timeout = 3.0, 3.0
    return made


async def refusal(made, sent=None):
    with pytest.raises(ChannelError) as caught:
        await made.send(sent or message())
    assert PASSWORD not in str(caught.value)
    return caught.value


@dataclass
class Handler:
    """What aiosmtpd received, and what it answers to recipients."""

    answers: dict[str, str] = field(default_factory=dict)
    mails: list = field(default_factory=list)
    logins: list = field(default_factory=list)

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if (answer := self.answers.get(address, "250 OK")).startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        assert envelope.smtp_utf8 is not envelope.content.isascii()
        self.mails.append((envelope.rcpt_tos, envelope.content, session.ssl is not None))
        return "250 queued"

    def authenticate(self, server, session, envelope, mechanism, given):
        self.logins.append((mechanism, given.login, given.password))
        return AuthResult(success=given.password == PASSWORD.encode(), handled=False)


@asynccontextmanager
async def mail_server(handler, *, ssl_context=None, **options):
    loop = asyncio.get_running_loop()
    made = await loop.create_server(
        lambda: SMTP(handler, hostname="mail.test", loop=loop, **options), "127.0.0.1", 0, ssl=ssl_context
    )
    try:
        yield made.sockets[0].getsockname()[1]
    finally:
        made.close()
        await made.wait_closed()


@dataclass
class Script:
    """An SMTP server that answers from a table and keeps the octets of each mail; None: it closes the connection."""

    answers: dict = field(default_factory=dict)
    commands: list = field(default_factory=list)
    mails: list = field(default_factory=list)

    async def __call__(self, reader, writer):
        try:
            await self.serve(reader, writer)
        finally:
            writer.close()

    async def serve(self, reader, writer):
        answers = {
            "": "220 mail.test", "EHLO": "250-mail.test\r\n250 SIZE 50000000", "HELO": "250 mail.test", "MAIL": "250 OK",
            "RCPT": "250 OK", "DATA": "354 go on", ".": "250 queued", "RSET": "250 OK", "QUIT": "221 bye",
        } | self.answers  # fmt: skip
        line = b""
        while True:
            command = line.decode().split(" ")[0].strip().upper()
            answer = answers.get(command, "500 unknown")
            if callable(answer):
                answer = answer(line.decode().strip())
            if answer == "silence":
                await reader.read()
                return
            if answer is None:
                return
            writer.write(answer.encode() + b"\r\n")
            if command == "DATA" and answer.startswith("354"):
                self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                line = b"."
                continue
            if not (line := await reader.readline()):
                return
            self.commands.append(line)


@asynccontextmanager
async def scripted(**answers):
    script = Script({{"banner": "", "end": "."}.get(name, name): answer for name, answer in answers.items()})
    tasks = set()

    def connected(reader, writer):
        tasks.add(asyncio.get_running_loop().create_task(script(reader, writer)))

    made = await asyncio.start_server(connected, "127.0.0.1", 0, limit=10_000_000)
    try:
        yield made.sockets[0].getsockname()[1], script
    finally:
        made.close()
        await made.wait_closed()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def openssl(*arguments, folder):
    try:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl")


def certificate(folder, *, host="localhost", until="20991231000000Z"):
    """A self-signed certificate and its key in one file."""
    folder.joinpath("index.txt").write_text("")
    folder.joinpath("ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\ndefault_md=sha256\nrand_serial=yes\npolicy=p\n"
        f"x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:{host}\n"
    )
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem")
    openssl("req", "-new", *key, "-subj", f"/CN={host}", "-out", "csr.pem", folder=folder)
    dates = ("-startdate", "20200101000000Z", "-enddate", until)
    openssl(
        "ca", "-batch", "-notext", "-config", "ca.cnf", "-selfsign", "-keyfile", "key.pem", "-in", "csr.pem",
        *dates, "-out", "cert.pem", folder=folder,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.fixture
def tls(tmp_path, monkeypatch):
    """The context of a server that clients trust."""
    made = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    return made


def parsed(octets):
    return email.message_from_bytes(octets, policy=email.policy.default)


async def test_a_mail_arrives_over_starttls_with_sign_in(tls):
    handler = Handler()
    options = {"tls_context": tls, "require_starttls": True, "authenticator": handler.authenticate}
    async with mail_server(handler, auth_required=True, **options) as port:
        made = channel(port, starttls=True, smtp_user="ops", smtp_password=SecretStr(PASSWORD))
        receipt = await made.send(message(thread="shipment:1042"))
        again = await made.send(message(thread="shipment:1042", is_repeated=True))
    assert handler.logins == [("PLAIN", b"ops", PASSWORD.encode())] * 2
    recipients, octets, is_encrypted = handler.mails[0]
    mail = parsed(octets)
    assert is_encrypted
    assert recipients == ["a@example.org", "b@example.org", "c@example.org"]
    assert mail["From"] == "Acme freight <flexportd@example.com>"
    assert mail["To"] == "a@example.org, b@example.org, c@example.org"
    assert mail["Subject"] == CONTENT.title
    assert mail["Date"].datetime == message().created_at
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Importance"] == "high"
    assert mail["List-Unsubscribe"] == "<mailto:flexportd@example.com?subject=unsubscribe%20Free%20time%2Fteam>"
    assert receipt.remote_id == again.remote_id == mail["Message-ID"] == "<msg_2Lm3@example.com>"
    assert "X-Flexportd-Repeated" not in mail
    second = parsed(handler.mails[1][1])
    assert second["X-Flexportd-Repeated"] == "yes"
    assert second["References"] == mail["References"] == mail["In-Reply-To"]
    text, html = mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()
    for shown in (text, html):
        assert "Free time ended 25 Nov" in shown
        assert "Critical" in shown
        assert "https://freight.example.com/shipments/1042" in shown
        assert "[[notify.rules]]" in shown


async def test_a_mail_arrives_over_tls_from_the_first_byte(tls):
    handler = Handler()
    async with mail_server(handler, ssl_context=tls) as port:
        await channel(port, tls=True).send(message())
    assert len(handler.mails) == 1


async def test_nothing_is_sent_where_starttls_is_required_and_not_offered():
    async with scripted() as (port, script):
        error = await refusal(channel(port, starttls=True, smtp_user="ops", smtp_password=SecretStr(PASSWORD)))
    assert "does not offer STARTTLS" in str(error)
    assert (error.permanent, error.retry_after) == (False, CONFIGURATION_DELAY)
    assert {line.split(b" ")[0].strip() for line in script.commands} <= {b"EHLO", b"QUIT"}


async def test_each_fault_of_a_certificate_is_named(tmp_path, monkeypatch):
    async def error_for(context, host="localhost", **options):
        async with mail_server(Handler(), tls_context=context) as port:
            return str(await refusal(channel(port, smtp_host=host, starttls=True)))

    assert "is self-signed: add its certificate to the trusted ones" in await error_for(certificate(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    assert "has expired" in await error_for(certificate(tmp_path, until="20200102000000Z"))
    assert "is for another host name: set smtp_host" in await error_for(certificate(tmp_path, host="mail.test"))
    assert "is for another address" in await error_for(certificate(tmp_path), host="127.0.0.1")
    async with scripted() as (port, _):
        error = await refusal(channel(port, tls=True))
    assert "no TLS connection" in str(error)
    assert "set starttls = true and tls = false" in str(error)
    async with mail_server(Handler(), ssl_context=certificate(tmp_path)) as port:
        made = channel(port, starttls=True)
        made.connect_timeout = 0.2
        assert "set tls = true and starttls = false if this is the port for TLS" in str(await refusal(made))


async def test_a_bad_recipient_keeps_the_mail_from_nobody_else():
    handler = Handler({"b@example.org": "550 5.1.1 no such user"})
    async with mail_server(handler) as port:
        receipt = await channel(port).send(message())
    recipients, octets, _ = handler.mails[0]
    assert recipients == ["a@example.org", "c@example.org"]
    assert parsed(octets)["To"] == "a@example.org, b@example.org, c@example.org"
    assert receipt.note == "not accepted for b@example.org (550 5.1.1 no such user)"


async def test_a_deferred_recipient_gets_the_same_mail_later_and_the_others_do_not_get_it_twice():
    handler = Handler({"b@example.org": "451 4.7.1 greylisted", "c@example.org": "550 no such user"})
    async with mail_server(handler) as port:
        made = channel(port)
        error = await refusal(made)
        assert (error.permanent, error.retry_after) == (False, DEFERRED_DELAY)
        assert "b@example.org (451 4.7.1 greylisted)" in str(error)
        assert error.is_channel_working
        handler.answers.pop("b@example.org")
        receipt = await made.send(message(progress=error.progress, is_repeated=True))
    assert [recipients for recipients, _, _ in handler.mails] == [["a@example.org"], ["b@example.org"]]
    first, second = (parsed(octets) for _, octets, _ in handler.mails)
    assert first["Message-ID"] == second["Message-ID"]
    assert first["To"] == second["To"]
    assert receipt.note == "not accepted for c@example.org (550 no such user)"


@pytest.mark.parametrize(
    ("answers", "permanent", "delay", "sentence"),
    [
        ({"banner": "421 too busy"}, False, 0, "refuses the connection: 421 too busy"),
        ({"banner": "554 no service for you"}, False, CONFIGURATION_DELAY, "ask its admin"),
        ({"banner": "hello"}, False, 0, "does not answer as an SMTP server does"),
        ({"EHLO": "504 need a full name", "HELO": "504 need a full name"}, False, CONFIGURATION_DELAY, "the greeting"),
        ({"MAIL": "451 later"}, False, 0, "refuses the sender: 451 later"),
        ({"MAIL": "530 5.7.0 sign in first"}, False, CONFIGURATION_DELAY, "check from, smtp_user and smtp_password"),
        ({"MAIL": "552 5.3.4 too large"}, True, 0, "for every recipient"),
        ({"RCPT": "550 5.1.1 no such user"}, True, 0, "a@example.org, b@example.org, c@example.org (550 5.1.1"),
        ({"RCPT": "554 5.7.1 relay access denied"}, False, CONFIGURATION_DELAY, "relay access denied"),
        ({"RCPT": "451 greylisted"}, False, DEFERRED_DELAY, "451 greylisted"),
        ({"RCPT": "552 too many"}, False, DEFERRED_DELAY, "452 too many"),
        ({"RCPT": "421 shutting down"}, False, 0, "421 shutting down"),
        ({"EHLO": "250-mail.test\r\n250 STARTTLS", "STARTTLS": "454 no TLS now"}, False, 0, "454 no TLS now"),
        ({"DATA": "451 later"}, False, DEFERRED_DELAY, "451 later"),
        ({"end": "554 5.7.1 this is spam"}, True, 0, "this is spam"),
        ({"end": "500 5.6.0 line too long"}, True, 0, "line too long"),
        ({"end": "452 disk full"}, False, DEFERRED_DELAY, "452 disk full"),
        ({"banner": None}, False, 0, "closed the connection"),
        ({"MAIL": None}, False, 0, "closed the connection"),
        ({"end": None}, False, 0, "closed the connection"),
    ],
)
async def test_each_answer_of_a_server_has_its_consequence(answers, permanent, delay, sentence):
    async with scripted(**answers) as (port, _):
        error = await refusal(channel(port, starttls="STARTTLS" in answers))
    assert (error.permanent, error.retry_after) == (permanent, delay)
    assert sentence in str(error)
    assert error.progress is not None
    assert not error.progress.get("accepted")
    assert error.may_have_arrived is (answers == {"end": None})
    assert not error.is_channel_working


@pytest.mark.parametrize("step", ["banner", "EHLO", "RCPT", "end"])
async def test_a_silent_server_is_given_up(step):
    async with scripted(**{step: "silence"}) as (port, _):
        made = channel(port)
        made.connect_timeout, made.total_timeout = 0.2, 0.4
        error = await refusal(made)
    assert not error.permanent
    assert "did not" in str(error)
    assert error.may_have_arrived is (step == "end")


async def test_an_accepted_mail_counts_although_the_server_never_says_goodbye(monkeypatch):
    monkeypatch.setattr(email_channel, "_QUIT_TIMEOUT", 0.1)
    for answer in ("silence", None, "500 what"):
        async with scripted(QUIT=answer) as (port, script):
            receipt = await channel(port).send(message())
        assert receipt.note is None
        assert len(script.mails) == 1


async def test_unusual_answers_that_mean_yes_are_understood():
    async with scripted(banner="220-mail.test\r\n220 ready", RCPT="252 not verified", EHLO="502 what") as (
        port,
        script,
    ):
        receipt = await channel(port).send(message())
    assert receipt.note is None
    assert len(script.mails) == 1


async def test_the_password_is_tried_once_and_never_shown_even_if_the_server_repeats_it(tls):
    plain = base64.b64encode(f"\0ops\0{PASSWORD}".encode()).decode()
    hello = "250-mail.test\r\n250 AUTH PLAIN LOGIN CRAM-MD5"
    for given, method in ((hello, "CRAM-MD5"), (hello.replace(" CRAM-MD5", ""), "PLAIN")):
        echo = {"AUTH": lambda line: f"535 5.7.8 bad: {line} {PASSWORD} {plain}"}
        async with scripted(EHLO=given, **echo) as (port, script):
            error = await refusal(channel(port, smtp_user="ops", smtp_password=SecretStr(PASSWORD)))
        assert "refuses to sign in: 535" in str(error)
        assert "check smtp_user and smtp_password" in str(error)
        assert plain not in str(error)
        assert (error.__cause__, error.permanent, error.retry_after) == (None, False, CONFIGURATION_DELAY)
        assert [line.split()[1].decode() for line in script.commands if line.startswith(b"AUTH")] == [method]


async def test_a_server_without_a_usable_sign_in_is_named():
    for hello, sentence in (
        ("250 mail.test", "offers no sign-in"),
        ("250-mail.test\r\n250 AUTH XOAUTH2 NTLM", "offers the sign-in methods XOAUTH2, NTLM"),
    ):
        async with scripted(EHLO=hello) as (port, script):
            error = await refusal(channel(port, smtp_user="ops", smtp_password=SecretStr(PASSWORD)))
        assert sentence in str(error)
        assert not any(line.startswith((b"AUTH", b"MAIL")) for line in script.commands)


async def test_a_server_that_cannot_be_reached_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = await refusal(channel(taken.getsockname()[1], smtp_host="127.0.0.1"))
    assert "cannot be reached: Connection refused" in str(error)
    assert "cannot be resolved" in str(await refusal(channel(25, smtp_host="no-such-host.invalid")))


async def test_an_address_outside_ascii_needs_a_server_that_supports_it():
    to = (Mailbox("jürgen@example.org", "Jürgen"), Mailbox("b@example.org"))
    handler = Handler()
    async with mail_server(handler) as port:
        receipt = await channel(port, to=to).send(message())
    assert "jürgen@example.org (550 the server does not support SMTPUTF8" in receipt.note
    assert (handler.mails[0][0], parsed(handler.mails[0][1])["To"]) == (["b@example.org"], "b@example.org")
    async with mail_server(handler, enable_SMTPUTF8=True) as port:
        receipt = await channel(port, to=to).send(message())
    assert receipt.note is None
    assert handler.mails[1][0] == ["jürgen@example.org", "b@example.org"]
    assert "<jürgen@example.org>,\r\n b@example.org\r\n" in handler.mails[1][1].decode()
    async with mail_server(handler) as port:
        error = await refusal(channel(port, sender=Mailbox("flöte@example.com")))
    assert "does not support SMTPUTF8, which the address in from needs" in str(error)


async def test_a_mail_above_the_size_limit_of_the_server_is_refused_for_good():
    async with mail_server(Handler(), data_size_limit=1000) as port:
        error = await refusal(channel(port))
    assert error.permanent
    assert "552" in str(error)


async def test_the_octets_on_the_wire_keep_the_limits_whatever_names_contain():
    hostile = (
        "x\r\nBcc: thief@example.org\r\n\r\n.\r\nMAIL FROM:<thief@example.org>", "W" * 500, "貨物" * 250, "شحنة الربيع",
        "👩‍👩‍👧 <b>&amp;</b>", "\ud800\udc00\x00\x0b\u2028", ".", "..", "=?utf-8?q?=0D=0ABcc:_x@y?=", "",
    )  # fmt: skip
    async with scripted() as (port, script):
        for name in hostile:
            lines = (Line(name, (name, "."), "warning", "/shipments/1"), Line(".", (".", ""), None))
            content = Content(title=name, summary=name, sections=(Section(lines, name, name),), rules=(name, name))
            await channel(port, sender=Mailbox("flexportd@example.com", name)).send(message(content))
            body = Content(title=name, body=f".\n{name}\r\n.\r\nfrom {name}\n", notes=(name,), rules=(name,))
            await channel(port).send(message(body))
    assert len(script.mails) == 2 * len(hostile)
    for octets in script.mails:
        lines = octets.removesuffix(b".\r\n").split(b"\r\n")
        assert max(len(line) for line in lines if not line.startswith(b"List-Unsubscribe: ")) <= 78
        assert max(map(len, lines)) < 500  # an address cannot be folded
        assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
        assert b"." not in lines
        assert octets.isascii()
        mail = parsed(octets)
        assert mail["Bcc"] is None
        assert mail["From"].addresses[0].addr_spec == "flexportd@example.com"
        assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
        assert not mail.defects


def test_the_channel_is_registered_and_shows_its_recipients():
    to = tuple(Mailbox(f"{name}@example.org") for name in "abcde")
    made = CHANNEL_TYPES["email"]("team", MailSettings(587, to=to), CONTEXT)
    assert made.destination == "a@example.org, b@example.org, c@example.org and 2 more"
