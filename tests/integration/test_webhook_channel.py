"""Outgoing webhooks: signed after the Standard Webhooks specification, to public addresses, without redirects."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
from dataclasses import dataclass

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from yarl import URL

from flexportd.notify.channels.channel import ChannelError
from flexportd.notify.channels.http import MAX_BODY, ChannelClient
from flexportd.notify.channels.registry import CHANNEL_TYPES
from flexportd.notify.channels.webhook import WebhookChannel, payload, signatures
from flexportd.notify.content import Content
from tests.http_target import HttpTarget, context, endless, message, reply, silent
from tests.nginx import certificate

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEXT = "whsec_" + base64.b64encode(b"n" * 32).decode()


@dataclass
class Settings:
    url: str
    secret: tuple = (SecretStr(SECRET),)
    allow_private: bool = True


@pytest.fixture
async def target():
    async with HttpTarget(reply(status=204)).running() as target:
        yield target


def channel(url, **more):
    return WebhookChannel("erp", Settings(url, **more), context())


async def refusal(target, answer, **more):
    target.script.append(answer)
    with pytest.raises(ChannelError) as caught:
        await channel(f"{target.url}/hooks?key=hidden-value", **more).send(message())
    assert "hidden-value" not in str(caught.value)
    return caught.value


def verify(secret, headers, body):
    """Written from the specification, without our code."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(each, f"v1,{expected}") for each in headers["webhook-signature"].split(" "))


async def test_a_message_is_a_signed_post_request(target):
    receipt = await channel(f"{target.url}/hooks?a=1").send(message())
    request, body = target.requests[0], target.bodies[0]
    assert receipt.remote_id == "msg_1"
    assert receipt.note is None
    assert (request.method, request.path_qs) == ("POST", "/hooks?a=1")
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == "flexportd"
    assert request.headers["webhook-id"] == "msg_1"
    assert request.headers["webhook-timestamp"] == "1772625600"
    assert verify(SECRET, request.headers, body)
    assert not verify(NEXT, request.headers, body)
    assert json.loads(body) == {
        "type": "shipment.eta_changed",
        "timestamp": "2026-03-04T11:59:30.000Z",
        "data": {"shipment_id": 1042, "days_later": 4, "name": "Ünïcode"},
    }


async def test_while_a_secret_is_replaced_both_sign(target):
    await channel(target.url, secret=(SecretStr(NEXT), SecretStr(SECRET))).send(message())
    headers = target.requests[0].headers
    assert len(headers["webhook-signature"].split(" ")) == 2
    assert verify(SECRET, headers, target.bodies[0])
    assert verify(NEXT, headers, target.bodies[0])


def test_the_example_of_the_reference_libraries_has_the_published_signature():
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    made = signatures([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_the_body_does_not_depend_on_the_order_of_the_data(data):
    first = payload(message(Content("x", topic="a.b", data=data)))
    second = payload(message(Content("x", topic="a.b", data=dict(reversed(data.items()))), is_repeated=True))
    assert first == second
    assert json.loads(first)["data"] == data


async def test_a_second_attempt_has_the_same_id_and_body_and_a_timestamp_of_its_own(target):
    target.script.append(reply(status=500))
    sender = channel(target.url)
    with pytest.raises(ChannelError):
        await sender.send(message())
    sender.context.clock.turn(seconds=90)
    await sender.send(message(is_repeated=True))
    first, second = (request.headers for request in target.requests)
    assert target.bodies[0] == target.bodies[1]
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 90
    assert verify(SECRET, second, target.bodies[1])


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_success(target, status):
    target.script.append(reply("anything" if status != 204 else "", status))
    await channel(target.url).send(message())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 429, 500, 502, 503, 504, 599])
async def test_other_statuses_are_sent_again(target, status):
    error = await refusal(target, reply("no such route", status))
    assert not error.permanent
    assert not error.is_gone
    assert str(status) in str(error)
    assert "no such route" in str(error)
    assert "127.0.0.1" in str(error)


async def test_410_switches_the_channel_off(target):
    error = await refusal(target, reply("", 410, Retry_After="60"))
    assert error.is_gone
    assert error.permanent
    assert str(error).endswith("answered 410 Gone: it accepts no more messages")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("120", 120), ("9999999", 86_400), ("Wed, 04 Mar 2026 12:01:00 GMT", 60), ("soon", 0), ("-5", 0), (None, 0)],
)
async def test_retry_after_is_respected_up_to_a_day(target, value, seconds):
    headers = {"Date": "Wed, 04 Mar 2026 12:00:00 GMT"} | ({} if value is None else {"Retry-After": value})
    error = await refusal(target, lambda _: web.Response(status=503, headers=headers))
    assert error.retry_after == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_its_host_is_named(target, status):
    location = f"http://localhost:{target.port}/private?token=other-hidden"
    error = await refusal(target, reply("", status, Location=location))
    assert not error.permanent
    assert len(target.requests) == 1
    assert f"redirects to localhost:{target.port} ({status})" in str(error)
    assert "set url to the final URL" in str(error)
    assert "other-hidden" not in str(error)


@pytest.mark.parametrize("location", ["", "/elsewhere", "http://[::1", "http://a\u202eb/"])
async def test_a_strange_location_is_harmless(target, location):
    error = await refusal(target, reply("", 302, Location=location.encode("utf-8").decode("latin-1")))
    assert "\u202e" not in str(error)
    assert "redirects" in str(error)


async def test_an_endless_answer_is_not_read_to_its_end(target):
    target.script.append(endless())
    await channel(target.url).send(message())
    error = await refusal(target, endless(500))
    assert "500" in str(error)
    assert len(str(error)) < 400
    target.script.append(endless())
    client = ChannelClient(context(), ())
    response = await client.request("POST", URL(target.url), headers={}, body=b"{}", seconds=20)
    assert len(response.body) == MAX_BODY


async def test_an_answer_is_quoted_in_part_escaped_and_without_secrets(target):
    text = f"\x1b[31mbad {SECRET} {SECRET[6:]}\n\u202e" + "y" * 5000
    error = await refusal(target, reply(text, 400))
    assert SECRET[6:] not in str(error)
    assert "\x1b" not in str(error)
    assert "\u202e" not in str(error)
    assert "bad *** ***" in str(error)
    assert len(str(error)) < 300
    error = await refusal(target, reply("<html><body>Bad gateway", 502))
    assert str(error).endswith("502 Bad Gateway: a web page")
    error = await refusal(
        target, lambda _: web.Response(status=500, body=b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"})
    )
    assert str(error).endswith("500 Internal Server Error")
    error = await refusal(target, reply("", 304))
    assert str(error).endswith("answered 304 Not Modified")


async def test_a_slow_target_ends_the_attempt_in_time(target, monkeypatch):
    monkeypatch.setattr(WebhookChannel, "request_timeout", 0.2)
    error = await refusal(target, silent)
    assert not error.permanent
    assert str(error) == f"127.0.0.1:{target.port} did not answer within 0.2 seconds"


async def test_a_target_that_closes_or_speaks_no_http_is_a_temporary_failure(target):
    def abort(request):
        request.transport.abort()
        return web.Response()

    error = await refusal(target, abort)
    assert "closed the connection" in str(error)
    assert not error.permanent
    port, name = target.port, "closed.invalid"
    with pytest.raises(ChannelError, match=r"closed\.invalid cannot be resolved"):
        await channel(f"http://{name}/").send(message())
    assert error.may_have_arrived
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ChannelError, match="refuses the connection") as caught:
            await channel(f"http://127.0.0.1:{taken.getsockname()[1]}/").send(message())
        assert not caught.value.may_have_arrived
    with pytest.raises(ChannelError, match=r"TLS"):
        await channel(f"https://127.0.0.1:{port}/").send(message())


async def test_a_certificate_that_nobody_signed_is_refused(tmp_path):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate(tmp_path))
    async with HttpTarget().running(tls) as target:
        with pytest.raises(
            ChannelError, match=r"TLS certificate of localhost:\d+ is not valid: it is self-signed"
        ) as caught:
            await channel(f"https://localhost:{target.port}/").send(message())
        assert not caught.value.may_have_arrived
        assert target.requests == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST.", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001", "0177.0.0.1",
     "127.0.0.1.", "0.0.0.0", "[::]", "[::ffff:7f00:1]", "10.0.0.1", "169.254.169.254", "[fd00::1]"],
)  # fmt: skip
async def test_a_private_address_is_refused_in_every_notation(target, host):
    with pytest.raises(ChannelError) as caught:
        await channel(f"http://{host}:{target.port}/", allow_private=False).send(message())
    assert target.requests == []
    assert not caught.value.permanent
    if host in ("127.0.0.1", "localhost", "0x7f000001", "0.0.0.0", "10.0.0.1", "169.254.169.254"):
        assert "set allow_private = true" in str(caught.value)


async def test_the_address_is_checked_when_it_is_connected_to(target, monkeypatch):
    """The name is public at the first look-up and private at the second, as with DNS rebinding."""
    resolve, answers = socket.getaddrinfo, ["8.8.8.8", "127.0.0.1"]

    def lookup(host, *rest, **more):
        return resolve(answers.pop(0) if host in ("erp.example", b"erp.example") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert socket.getaddrinfo("erp.example", 443)[0][4][0] == "8.8.8.8"
    with pytest.raises(ChannelError, match=r"has the address 127\.0\.0\.1, a loopback address.*allow_private = true"):
        await channel(f"http://erp.example:{target.port}/", allow_private=False).send(message())
    assert target.requests == []
    assert answers == []


async def test_no_proxy_and_no_password_of_the_environment_is_used(target, monkeypatch, tmp_path):
    async with HttpTarget().running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        netrc = tmp_path / "netrc"
        netrc.write_text("default login me password secret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        await channel(target.url).send(message())
        assert proxy.requests == []
        assert "Authorization" not in target.requests[0].headers


def test_the_destination_is_shown_without_user_and_query():
    assert channel("https://u:pw@erp.example.com/hooks?token=x#y").destination == "https://erp.example.com/hooks"
    assert CHANNEL_TYPES["webhook"] is WebhookChannel
    assert not WebhookChannel.folds
