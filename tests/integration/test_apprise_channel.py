"""Apprise: one thread for each attempt, nothing of its URLs in errors or logs, no services of this machine."""

import json
import logging
import sys
import threading
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from flexportd.notify.channels import apprise
from flexportd.notify.channels.apprise import AppriseChannel, missing_package, url_problem
from flexportd.notify.channels.channel import ChannelError
from flexportd.notify.channels.registry import CHANNEL_TYPES
from flexportd.notify.content import Content, Line, Section
from tests.http_target import HttpTarget, context, message, reply

pytest.importorskip("apprise", reason="the extra flexportd[apprise] is not installed")

SECRET = "tok3n-that-nobody-may-see"


@dataclass
class Settings:
    url: tuple


@pytest.fixture
async def target():
    async with HttpTarget().running() as target:
        yield target


def channel(*urls):
    return AppriseChannel("phone", Settings(tuple(map(SecretStr, urls))), context(public_url="https://x.example"))


def url(target, path=SECRET):
    return f"json://user:{SECRET}@127.0.0.1:{target.port}/{path}"


async def refusal(channel, **more):
    with pytest.raises(ChannelError) as caught:
        await channel.send(message(**more))
    assert SECRET not in str(caught.value)
    assert not caught.value.permanent
    return caught.value


@pytest.mark.parametrize(("severity", "kind"), [("critical", "failure"), ("good", "success"), (None, "info")])
async def test_title_text_and_severity_arrive(target, severity, kind):
    content = Content("Late", severity=severity, sections=[Section([Line("FLEX-1 *x* <b>", ["2 days"])])])
    phone = channel(url(target))
    receipt = await phone.send(message(content))
    document = json.loads(target.bodies[0])
    assert (document["title"], document["type"]) == ("Late", kind)
    assert "FLEX-1 *x* <b>" in document["message"]
    assert "interruption" not in document["message"]
    assert receipt.note is None
    assert phone.destination == "json://***"
    assert CHANNEL_TYPES["apprise"] is AppriseChannel


async def test_a_repeated_message_says_so_and_mentions_nobody(target):
    await channel(url(target)).send(
        message(Content("@everyone <@1>", summary="@here me@all.example"), is_repeated=True)
    )
    document = json.loads(target.bodies[0])
    assert "Sent again after an interruption" in document["message"]
    assert "@everyone" not in document["title"]
    assert "<@" not in document["title"]
    assert "@here" not in document["message"]


async def test_only_the_services_that_failed_get_the_message_again(target):
    phone = channel(url(target, "first"), url(target, "second"), "json://127.0.0.1:1/third-part")
    target.script.extend([reply("ok"), reply(f"no {SECRET}", 403)])
    error = await refusal(phone)
    assert [request.path for request in target.requests] == ["/first", "/second"]
    assert "json://: " in str(error)
    assert "third-part" not in str(error)
    assert error.may_have_arrived  # the third did not answer
    error = await refusal(phone, progress=error.progress)
    assert [request.path for request in target.requests] == ["/first", "/second", "/second"]
    assert len(error.progress["accepted"]) == 2
    json.dumps(error.progress)


async def test_what_apprise_and_its_libraries_log_does_not_reach_our_log(target, monkeypatch):
    """Their lines contain URLs. A handler of our own, since caplog attaches itself to loggers that do not propagate."""
    records, handler = [], logging.Handler()
    handler.emit = records.append
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.DEBUG)
    root.addHandler(handler)
    target.usual = reply(f"refused {SECRET}", 500)
    try:
        await refusal(
            channel(url(target), f"tgram://{SECRET}", f"nosuchservice://{SECRET}/x", f"json://{SECRET}.invalid")
        )
    finally:
        root.removeHandler(handler)
    assert [record for record in records if record.name.startswith(("apprise", "urllib3", "requests"))] == []
    assert SECRET not in "".join(record.getMessage() for record in records)


async def test_a_service_that_does_not_answer_holds_no_second_attempt(target, monkeypatch):
    monkeypatch.setattr(AppriseChannel, "attempt_timeout", 0.2)
    gate, entered = threading.Event(), threading.Event()

    def wait(self, *_):
        entered.set()
        gate.wait(5)

    monkeypatch.setattr(AppriseChannel, "_notify", wait)
    phone = channel(url(target, "a"), url(target, "b"))
    error = await refusal(phone)
    assert "no answer within 0.2 seconds" in str(error)
    assert error.may_have_arrived
    assert entered.is_set()
    assert "has not ended yet" in str(await refusal(phone))
    gate.set()
    assert phone._ended.wait(5)
    await phone.close()
    monkeypatch.undo()
    await phone.send(message())  # the first has accepted it meanwhile, the second was not tried
    assert [request.path for request in target.requests] == ["/b"]


async def test_a_long_text_is_cut_after_a_line(target, monkeypatch):
    from apprise.plugins.custom_json import NotifyJSON

    monkeypatch.setattr(NotifyJSON, "body_maxlen", 300)
    monkeypatch.setattr(NotifyJSON, "title_maxlen", 20)
    lines = [Line(f"FLEX-{number}") for number in range(100)]
    await channel(url(target)).send(message(Content("Late " * 20, sections=[Section(lines)])))
    document = json.loads(target.bodies[0])
    assert len(document["message"]) <= 300
    assert document["message"].splitlines()[-1].endswith("more lines")
    assert len(document["title"]) == 20


@pytest.mark.parametrize(
    "bad",
    ["syslog://", "dbus://", "kde://", "qt://", "glib://", "gio://", "gnome://", "windows://", "macosx://", "blink1://",
     "SYSLOG://localhost", "file:///etc/passwd"],
)  # fmt: skip
async def test_services_of_this_machine_are_refused(bad):
    assert url_problem(bad) in str(await refusal(channel(bad)))


@pytest.mark.parametrize("good", ["json://x", "ntfys://ntfy.sh/x", "tgram://x", "rsyslog://host", "mailtos://a:b@c.de"])
def test_services_of_the_network_are_not(good):
    assert url_problem(good) is None


def test_every_service_of_apprise_that_needs_a_local_library_is_refused():
    """The plugins that talk to the desktop, a device or the log of this machine, as Apprise has them."""
    from apprise import Apprise

    local = {"blink1", "dbus", "glib", "gnome", "macosx", "syslog", "windows"}
    schemes = {
        scheme
        for details in Apprise().details(show_disabled=True)["schemas"]
        for scheme in (*(details["protocols"] or ()), *(details["secure_protocols"] or ()))
        if details["setup_url"].rstrip("/").rpartition("/")[2] in local
    }
    assert schemes == set(apprise.LOCAL_SCHEMES)


async def test_without_the_package_it_says_what_to_install(monkeypatch, target):
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert missing_package() == "channels of type apprise need the package apprise: install flexportd[apprise]"
    assert "install flexportd[apprise]" in str(await refusal(channel(url(target))))
    monkeypatch.undo()
    assert missing_package() is None
