"""The path check of webhooks: it names the step that fails, and its event leaves no trace."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from flexportd.flexport.webhook_signature import SHA256_HEADER, sign
from flexportd.ingest import path_check
from flexportd.ingest.path_check import CHECK_HEADER, PathCheck, PathCheckRules
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.free_port import free_port
from tests.nginx import certificate, needs_nginx, nginx
from tests.under_test import SECRET, look_again, start

ON = {"webhook.self_check": "5m", "api.require_key": False}


async def checked(daemon, public_url, **changed):
    """The result of a check of this public URL."""
    folder = daemon.daemon.settings.storage.data_dir.parent
    check = daemon.daemon.path_check
    settings = Settings.for_tests(folder, **{**ON, "server.public_url": public_url, **changed})
    # Not by `reload`, after which the daemon would check by itself, too, while the test goes on.
    check._rules = PathCheckRules.from_settings(settings, settings.webhook.path)
    return await check.check()


async def assert_untouched(daemon):
    """No event, no refusal and no count tells of a check."""
    document = await daemon.get("/status")
    assert document["webhook"]["last_received_at"] is None
    assert (document["webhook"]["deliveries"], document["webhook"]["rejected"]) == ({}, [])
    assert (document["events"]["processed"], document["queue"]["ready"], document["queue"]["dead"]) == (0, 0, 0)
    assert (await daemon.get("/events"))["data"] == []


@pytest.fixture
async def daemon(tmp_path, clock):
    listen = ["127.0.0.1:0", f"unix:{tmp_path}/web.sock"]
    async with start(Settings.for_tests(tmp_path, **{"server.listen": listen, "api.require_key": False}), clock) as one:
        yield one


PROXIES = {
    "usual": ("location / {{ proxy_pass http://{address}; }}", "", "accepted", ""),
    "prefix": ("location /freight/ {{ proxy_pass http://{address}/; }}", "/freight", "accepted", ""),
    "socket": ("location / {{ proxy_pass http://unix:{folder}/web.sock:; }}", "", "accepted", ""),
    "no mark": (
        'location / {{ proxy_pass http://{address}; proxy_set_header X-Flexportd-Check ""; }}', "", "accepted", "",
    ),
    "down": ("location / {{ proxy_pass http://127.0.0.1:1; }}", "", "proxy", "status 502"),
    "login": ("location / {{ return 302 https://sso.example.com/login?next=secret; }}", "", "proxy",
              "redirects to https://sso.example.com/login"),
    "login with credentials": ("location / {{ return 302 https://team:pw-4471@sso.example.com/; }}", "", "proxy",
              "redirects to https://sso.example.com/"),
    "page": ("location / {{ return 200 '<html>Welcome</html>'; }}", "", "proxy", "status 200"),
    "password": ("location / {{ return 401; }}", "", "proxy", "status 401"),
    "elsewhere": ("location / {{ return 404; }}", "", "proxy", "status 404"),
    "forged": ("location / {{ return 200 '{{\"status\":\"check\"}}'; }}", "", "proxy", "status 200"),
    "kept prefix": ("location / {{ proxy_pass http://{address}; }}", "/freight", "proxy", "not at the path"),
    "unsigned": (
        'location / {{ proxy_pass http://{address}; proxy_set_header X-Hub-Signature-256 ""; }}', "", "secret",
        "X-Hub-Signature-256",
    ),
    "changed": (
        "location / {{ proxy_pass http://{address}; proxy_set_body '{{\"flexportd_check\":1}}'; }}", "", "secret",
        "does not match",
    ),
}  # fmt: skip


@needs_nginx
async def test_the_step_that_fails_behind_a_proxy_is_named(daemon, tmp_path):
    address = daemon.daemon.addresses[0]
    servers = {name: inside.format(address=address, folder=tmp_path) for name, (inside, *_) in PROXIES.items()}
    async with nginx(tmp_path / "nginx", servers) as urls:
        for name, (_, prefix, step, words) in PROXIES.items():
            result = await checked(daemon, urls[name] + prefix)
            assert (result.step, result.state) == (step, "ok" if step == "accepted" else "failed"), (name, result)
            assert words in result.detail, (name, result)
            assert "secret" not in result.detail, (name, result)
    await assert_untouched(daemon)


async def test_networks_that_may_not_send_webhooks_do_not_stop_the_check(tmp_path, clock):
    settings = Settings.for_tests(
        tmp_path, **{"webhook.allowed_networks": ["203.0.113.0/24"], "api.require_key": False}
    )
    async with start(settings, clock) as daemon:
        assert (await checked(daemon, daemon.url)).step == "accepted"
        await assert_untouched(daemon)
        assert (await daemon.post(b"{}", **{CHECK_HEADER: "0" * 32}))[0] == 403


async def test_no_name_no_listener_and_no_tls_are_different_steps(daemon, monkeypatch):
    result = await checked(daemon, f"http://127.0.0.1:{free_port()}")
    assert (result.step, "refused" in result.detail) == ("connect", True), result
    result = await checked(daemon, daemon.url.replace("http:", "https:"))
    assert result.step == "tls", result

    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    result = await checked(daemon, "https://freight.example.com")
    assert (result.step, result.detail) == (
        "dns", "The name freight.example.com cannot be resolved: Name or service not known",
    )  # fmt: skip
    await assert_untouched(daemon)


@asynccontextmanager
async def listening(answer):
    """A server that answers each connection like this; None: not at all."""

    handlers = set()

    async def serve(reader, writer):
        handlers.add(asyncio.current_task())
        with suppress(ConnectionError):
            if answer is not None:
                await reader.read(100)
                writer.write(answer)
                await writer.drain()
            else:
                await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*handlers)  # a socket that outlives its event loop is reported in a later test


@pytest.mark.parametrize(
    ("scheme", "answer", "step", "words"),
    [
        ("http", None, "proxy", "no response came"),
        ("https", None, "tls", "did not end"),
        ("http", b"SSH-2.0-OpenSSH_9.2\r\n", "proxy", "no valid HTTP response"),
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", "tls", "handshake"),
        ("http", b"", "proxy", "no valid HTTP response"),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\xff[[[[", "proxy", "no valid HTTP response"),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"[" * 2000, "proxy", "status 200"),
        ("http", b"HTTP/1.1 302 Found\r\nLocation: \x1b[2Jx\r\nContent-Length: 0\r\n\r\n", "proxy", ""),
    ],
)
async def test_whatever_answers_is_told_apart_from_flexportd(daemon, monkeypatch, scheme, answer, step, words):
    monkeypatch.setattr(path_check, "TIMEOUT", 0.5 if answer is None else 15.0)
    async with listening(answer) as address:
        result = await checked(daemon, f"{scheme}://{address}")
    assert (result.state, result.step) == ("failed", step), result
    assert words in result.detail, result
    assert "\x1b" not in result.detail, result
    assert "message=" not in result.detail, result


async def test_another_flexportd_with_the_same_secret_is_not_this_one(daemon, tmp_path, clock):
    (tmp_path / "other").mkdir()
    async with start(Settings.for_tests(tmp_path / "other", **{"api.require_key": False}), clock) as other:
        result = await checked(daemon, other.url)
        assert (result.step, "Another flexportd" in result.detail) == ("proxy", True), result
        await assert_untouched(other)
    (tmp_path / "third").mkdir()
    secrets = {"webhook.secrets": ["another-hidden-secret-1"], "api.require_key": False}
    async with start(Settings.for_tests(tmp_path / "third", **secrets), clock) as third:
        result = await checked(daemon, third.url)
        assert result.step == "secret", result


async def test_tls_of_the_daemon_itself_is_verified(tmp_path, clock, monkeypatch):
    cert, key = certificate(tmp_path, "-addext", "subjectAltName=IP:127.0.0.1")
    settings = {"server.tls_cert": cert, "server.tls_key": key, "api.require_key": False}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:
        url = daemon.url.replace("http:", "https:")
        result = await checked(daemon, url)
        assert (result.step, "certificate is not valid" in result.detail) == ("tls", True), result
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert (await checked(daemon, url)).step == "accepted"


def test_the_check_works_on_the_event_loop_that_the_daemon_runs_on(tmp_path, clock):
    async def steps():
        async with start(Settings.for_tests(tmp_path, **{"api.require_key": False}), clock) as daemon:
            urls = (daemon.url, f"http://127.0.0.1:{free_port()}", daemon.url.replace("http:", "https:"), "http://a..b")
            return [(await checked(daemon, url)).step for url in urls]

    with asyncio.Runner(loop_factory=pytest.importorskip("uvloop").new_event_loop) as runner:
        assert runner.run(steps()) == ["accepted", "connect", "tls", "dns"]


async def test_who_has_no_secret_gains_nothing_by_the_mark(daemon, clock):
    marked = json.dumps({"flexportd_check": "0" * 32}, separators=(",", ":")).encode()
    headers = {CHECK_HEADER: "0" * 32}
    assert (await daemon.post(marked, secret="not-the-real-secret-1", **headers))[0] == 401
    assert (await daemon.post(marked, secret=None, **headers))[0] == 401
    assert (await daemon.get("/status"))["webhook"]["deliveries"] == {"signature-invalid": 1, "signature-missing": 1}
    # Signed by us at some time, and sent again later: refused, and neither stored nor counted.
    assert (await daemon.post(marked))[0] == 409
    assert (await daemon.post(marked, **headers))[0] == 409
    assert (await daemon.get("/events"))["data"] == []
    assert sum((await daemon.get("/status"))["webhook"]["deliveries"].values()) == 2
    signed = {SHA256_HEADER: sign(marked, SECRET), "Content-Type": "application/json"}
    assert daemon.daemon.receiver.begin(signed, marked, lambda: "local") is None  # nor without a request object
    assert (await daemon.get("/events"))["data"] == []
    # A usual event with a header of the check is a usual event.
    assert (await daemon.post(json.dumps(event(shipment(1))).encode(), **headers))[0] == 200
    assert len((await daemon.get("/events"))["data"]) == 1


async def test_a_body_with_the_token_but_without_a_signature_is_not_the_check(daemon, monkeypatch):
    check = daemon.daemon.path_check

    async def forge(self, rules, at):
        seen = []
        for body, secret in ((b"{}", SECRET), (self._body, "not-the-real-secret-1"), (self._body + b" ", SECRET)):
            headers = {CHECK_HEADER: self._token, SHA256_HEADER: sign(body, secret)}
            async with aiohttp.ClientSession() as http, http.post(rules.url, data=body, headers=headers) as answer:
                seen.append(answer.status)
        assert seen == [409, 401, 409]
        assert not self._has_arrived
        self._judge(200, {}, b"")

    monkeypatch.setattr(PathCheck, "_post", forge)
    assert (await checked(daemon, daemon.url)).step == "proxy"
    assert check.result.state == "failed"
    await assert_untouched(daemon)


async def test_one_failure_is_no_condition_and_two_are(tmp_path, clock):
    check = PathCheck(
        clock, Settings.for_tests(tmp_path, **ON, **{"server.public_url": f"http://127.0.0.1:{free_port()}"})
    )
    assert (check.result.state, check.condition().is_present) == ("pending", None)
    await check.check()
    assert check.condition().is_present is None
    await check.check()
    assert check.condition().is_present
    check.reload(Settings.for_tests(tmp_path))
    assert (check.result.state, check.condition().is_present) == ("off", False)


async def test_status_and_readiness_name_the_step_while_the_daemon_runs(tmp_path, clock):
    port = free_port()
    settings = {**ON, "server.listen": f"127.0.0.1:{port}", "server.public_url": f"http://127.0.0.1:{port}"}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon, asyncio.timeout(20):

        async def result(state):
            while (found := (await daemon.get("/status"))["webhook_check"])["state"] != state:
                await look_again()
            return found

        assert (await result("ok"))["step"] == "accepted"
        async with daemon.http.get(daemon.url + "/readyz") as answer:
            assert await answer.json() == {"status": "ready", "warnings": []}
        closed = {**settings, "server.public_url": f"http://127.0.0.1:{free_port()}"}
        daemon.daemon.reload(Settings.for_tests(tmp_path, **closed))
        found = await result("failed")
        assert (found["step"], bool(found["checked_at"])) == ("connect", True)
        async with daemon.http.get(daemon.url + "/readyz") as answer:
            document = await answer.json()
        assert (answer.status, document["status"]) == (200, "ready")
        sentence = f"The path check of webhooks fails (connect): {found['detail']}"
        assert document["warnings"] == [sentence]
        assert sentence in (await daemon.get("/status"))["warnings"]
        async with daemon.http.get(daemon.url + "/", headers={"Accept": "text/html"}) as answer:
            assert "path check of webhooks fails" in await answer.text()
