"""Where the daemon listens, what it shows there, and how it starts, reloads and fails to start."""

import asyncio
import errno
import json
import os
import signal
import socket
import stat
import sys

import aiohttp
import pytest

from flexportd.daemon import server, sockets, systemd
from flexportd.errors import ConfigError, InUseError
from flexportd.settings import ListenAddress, Settings
from tests.events import event, shipment
from tests.integration.test_crash import Process
from tests.under_test import start


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


async def get(http, url):
    async with http.get(url) as answer:
        return answer.status


async def warnings_of(daemon):
    """The warnings of the status, without the one that these daemons all have."""
    return [one for one in (await daemon.get("/status"))["warnings"] if not one.startswith("No Flexport API key")]


async def test_once_others_can_connect_whoever_asks_needs_a_key(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path, **{"server.listen": ["127.0.0.1:0", "0.0.0.0:0"]}), clock) as daemon:
        port = daemon.daemon.addresses[1].rpartition(":")[2]
        for url in (f"http://127.0.0.1:{port}", daemon.url):
            for path in ("/api/v1/shipments", "/api/v1/status", "/", "/metrics", "/queue"):
                assert await get(daemon.http, url + path) == 401, path
            assert await get(daemon.http, url + "/healthz") == 200
            async with daemon.http.post(url + "/webhooks/flexport", data=b"{}") as answer:
                assert answer.status in (401, 415)


async def test_who_says_so_serves_everybody_and_is_warned(tmp_path, clock):
    settings = {"server.listen": "0.0.0.0:0", "api.require_key": False}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:
        daemon.url = f"http://127.0.0.1:{daemon.daemon.addresses[0].rpartition(':')[2]}"
        (warning,) = await warnings_of(daemon)
        assert warning.startswith("[api] require_key is false")
        assert "[server] listen 0.0.0.0:0" in warning


@pytest.mark.parametrize(
    "override",
    [
        {"server.public_url": "https://freight.example.com"},
        {"server.trusted_proxies": ["127.0.0.1"]},
        {"server.listen": ["127.0.0.1:0", "unix:web.sock"]},
    ],
    ids=lambda override: next(iter(override)),
)
async def test_a_proxy_in_front_makes_keys_necessary_also_for_administration(tmp_path, clock, override):
    if "server.listen" in override:
        override = {"server.listen": ["127.0.0.1:0", f"unix:{tmp_path / 'web.sock'}"]}
    async with start(Settings.for_tests(tmp_path, **override), clock) as daemon:
        for path in ("/api/v1/shipments", "/api/v1/status", "/", "/metrics", "/calendar.ics", "/api/v1/keys"):
            assert await get(daemon.http, daemon.url + path) == 401, path
        for path in ("/api/v1/queue/pause", "/api/v1/keys", "/api/v1/sync/run", "/queue/pause"):
            async with daemon.http.post(daemon.url + path, json={}) as answer:
                assert answer.status == 401, path
        assert await get(daemon.http, daemon.url + "/healthz") == 200
        reloaded = Settings.for_tests(tmp_path, **override, **{"api.require_key": False})
        daemon.daemon.reload(reloaded)
        assert await get(daemon.http, daemon.url + "/api/v1/queue") == 200
        (warning,) = await warnings_of(daemon)
        assert "[api] require_key is false" in warning
        async with daemon.http.get(daemon.url + "/system") as answer:
            assert "require_key is false" in await answer.text()
        if "server.listen" not in override:  # what is bound stays until the end
            daemon.daemon.reload(Settings.for_tests(tmp_path))  # neither a proxy nor a decision any more
            assert await warnings_of(daemon) == []


@pytest.mark.parametrize("place", ["0.0.0.0:0", "unix:web.sock"])
async def test_a_reload_that_names_loopback_does_not_open_what_is_bound_elsewhere(tmp_path, clock, place):
    place = place.replace("unix:", f"unix:{tmp_path}/")
    listen = ["127.0.0.1:0", place]
    async with start(Settings.for_tests(tmp_path, **{"server.listen": listen}), clock) as daemon:
        daemon.daemon.reload(Settings.for_tests(tmp_path))
        assert await get(daemon.http, daemon.url + "/api/v1/queue") == 401
        daemon.daemon.reload(Settings.for_tests(tmp_path, **{"api.require_key": False}))
        (warning,) = await warnings_of(daemon)
        assert f"[server] listen {place}" in warning


async def test_a_reload_changes_which_proxies_are_trusted_everywhere(daemon, tmp_path):
    trusting = Settings.for_tests(tmp_path, **{"server.trusted_proxies": ["127.0.0.1"]})
    now, later = daemon.daemon.reload(trusting)
    assert now == ["server.trusted_proxies"]
    assert later == []
    assert daemon.daemon.connections.network.limits.trusted == trusting.server.trusted_proxies
    assert await get(daemon.http, daemon.url + "/api/v1/queue") == 401


async def test_a_name_of_loopback_that_resolves_to_another_address_is_not_loopback(tmp_path, clock, monkeypatch):
    elsewhere = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("0.0.0.0", 0))]
    with monkeypatch.context() as patched:
        patched.setattr(sockets.socket, "getaddrinfo", lambda *_, **__: elsewhere)
        starting = start(Settings.for_tests(tmp_path, **{"server.listen": "localhost:0"}), clock)
        daemon = await starting.__aenter__()
    try:
        url = f"http://127.0.0.1:{daemon.daemon.addresses[0].rpartition(':')[2]}"
        assert await get(daemon.http, url + "/api/v1/queue") == 401
    finally:
        await starting.__aexit__(None, None, None)


def port_of(address):
    return int(address.rpartition(":")[2])


@needs_ipv6
async def test_localhost_is_served_on_both_of_its_addresses_and_one_port(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path, **{"server.listen": "localhost:0"}), clock) as daemon:
        first, second = daemon.daemon.addresses
        assert {first.rpartition(":")[0], second.rpartition(":")[0]} == {"127.0.0.1", "[::1]"}
        assert port_of(first) == port_of(second)
        for address in (first, second):
            assert await get(daemon.http, f"http://{address}/api/v1/queue") == 200  # loopback: no key is needed


@needs_ipv6
async def test_every_address_is_served_once_however_often_it_is_named(tmp_path, clock, unused_tcp_port):
    port = unused_tcp_port
    listen = [f"{host}:{port}" for host in ("localhost", "127.0.0.1", "[::ffff:127.0.0.2]", "[::]", "0.0.0.0")]
    async with start(Settings.for_tests(tmp_path, **{"server.listen": listen}), clock) as daemon:
        assert daemon.daemon.addresses == [f"[::]:{port}", f"0.0.0.0:{port}"]
        for host in ("127.0.0.1", "[::1]"):
            assert await get(daemon.http, f"http://{host}:{port}/readyz") == 200


@needs_ipv6
async def test_all_of_ipv6_is_not_all_of_ipv4(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path, **{"server.listen": "[::]:0"}), clock) as daemon:
        port = port_of(daemon.daemon.addresses[0])
        assert await get(daemon.http, f"http://[::1]:{port}/readyz") == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(daemon.http, f"http://127.0.0.1:{port}/readyz")


def test_a_name_stands_for_all_of_its_addresses_with_their_interfaces(monkeypatch):
    """The name of the machine has link-local addresses too, with systemd's nss-myhostname."""
    infos = [("fe80::1", 80, 0, 2), ("10.0.0.5", 80), ("fe80::1%eth0", 80, 0, 2), ("10.0.0.5", 80)]
    monkeypatch.setattr(
        sockets.socket, "getaddrinfo", lambda *_, **__: [(None, None, 6, "", address) for address in infos]
    )
    found = sockets.resolve_addresses(ListenAddress("freight", 80))
    assert list(map(str, found)) == ["[fe80::1%2]:80", "10.0.0.5:80", "[fe80::1%eth0]:80"]


async def test_an_address_of_another_machine_is_a_warning_where_there_is_another(tmp_path, clock):
    listen = ["192.0.2.1:8080", "127.0.0.1:0", "[2001:db8::1]:0", "[fe80::1%no-such-one]:80"]
    async with start(
        Settings.for_tests(tmp_path, **{"server.listen": listen, "api.require_key": False}), clock
    ) as daemon:
        assert len(daemon.daemon.addresses) == 1
        warnings = [one for one in await warnings_of(daemon) if "[server] listen" in one and "this machine" in one]
        assert [one.split(": ")[0] for one in warnings[:3]] == [
            "[server] listen 192.0.2.1:8080",
            "[server] listen [2001:db8::1]:0",
            "[server] listen [fe80::1%no-such-one]:80",
        ]
        async with daemon.http.get(daemon.url + "/system") as answer:
            assert "[server] listen 192.0.2.1:8080" in await answer.text()


async def test_without_ipv6_localhost_is_served_on_the_address_that_there_is(tmp_path, clock, monkeypatch):
    bound = sockets._bind_socket

    def without_ipv6(listen):
        if ":" in listen.host:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return bound(listen)

    monkeypatch.setattr(sockets, "_bind_socket", without_ipv6)
    async with start(Settings.for_tests(tmp_path, **{"server.listen": "localhost:0"}), clock) as daemon:
        assert await get(daemon.http, daemon.url + "/readyz") == 200
        (warning,) = await warnings_of(daemon)
        assert warning == "[server] listen localhost:0: this machine does not have the address ::1 or no IPv6"
    with pytest.raises(
        ConfigError, match=r"\[server\] listen \[::1\]:8080: this machine does not have the address ::1"
    ):
        async with start(Settings.for_tests(tmp_path, **{"server.listen": "[::1]:8080"}), clock):
            pass


async def test_a_unix_socket_asks_for_keys(tmp_path, clock):
    path = tmp_path / "web.sock"
    async with start(Settings.for_tests(tmp_path, **{"server.listen": f"unix:{path}"}), clock) as daemon:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert daemon.daemon.addresses == [f"unix:{path}"]
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(path))) as http:
            assert await get(http, "http://localhost/api/v1/queue") == 401
            assert await get(http, "http://localhost/readyz") == 200


@pytest.mark.parametrize(
    "header",
    [
        {"X-Forwarded-For": "192.0.2.1"},
        {"x-forwarded-for": ""},
        {"Forwarded": "for=192.0.2.1"},
        {"X-Real-IP": "192.0.2.1"},
        {"X-Forwarded-Host": "localhost"},
        {"X-Forwarded-Proto": "https"},
        {"Via": "1.1 proxy"},
        {"CF-Connecting-IP": "192.0.2.1"},
        {"X-FORWARDED-PREFIX": "/freight"},
        {"X-Original-Forwarded-For": "192.0.2.1"},
        {"CDN-Loop": "cdn.example"},
        {"X_Forwarded_For": "192.0.2.1"},
        {"X-Real-Port": "443"},
        {"X-Originating-IP": "192.0.2.1"},
        {"WL-Proxy-Client-IP": "192.0.2.1"},
        {"CF-Visitor": "{}"},
        {"X-Envoy-Attempt-Count": "1"},
        {"X-Scheme": "https"},
        {"Tailscale-User-Login": "a"},
    ],
    ids=lambda header: next(iter(header)),
)
async def test_an_open_loopback_listener_refuses_what_a_proxy_has_forwarded(daemon, header):
    assert await get(daemon.http, daemon.url + "/api/v1/shipments") == 200  # the answer is ready now

    async def forwarded(path, method="GET", **more):
        async with daemon.http.request(method, daemon.url + path, headers={**header, **more}) as answer:
            return answer.status, await answer.text()

    for path in ("/api/v1/shipments", "/", "/api/v1/status", "/metrics", "/calendar.ics", "/api/v1/stream"):
        status, text = await forwarded(path)
        assert status == 403, path
        assert "trusted_proxies" in text
        assert "require_key" in text
    assert (await forwarded("/api/v1/queue/pause", "POST"))[0] == 403
    assert json.loads((await forwarded("/api/v1/shipments"))[1])["type"] == "urn:flexportd:problem:untrusted-proxy"
    # What needs no key stays: health, the webhook, and whoever holds a key.
    assert (await forwarded("/healthz"))[0] == 200
    assert (await forwarded("/readyz"))[0] == 200
    body = json.dumps(event(shipment(1))).encode()
    assert (await daemon.post(body, **{name.replace("-", "_"): value for name, value in header.items()}))[0] == 200
    key = (await daemon.call("/keys", {"name": "behind the proxy"}, 201))["token"]
    assert (await forwarded("/api/v1/shipments", Authorization=f"Bearer {key}"))[0] == 200
    (warning,) = await warnings_of(daemon)
    assert warning.startswith("8 requests were refused since the daemon started. A proxy forwarded")


async def test_forwarded_requests_are_served_where_require_key_is_false(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path, **{"api.require_key": False}), clock) as daemon:
        await daemon.get("/shipments", **{"X-Forwarded-For": "192.0.2.1"})


@pytest.mark.parametrize("key", ["storage.control_socket", "server.listen"])
async def test_what_is_no_socket_is_left_alone(tmp_path, clock, key):
    path = tmp_path / "precious"
    path.write_text("precious")
    value = path if key.startswith("storage") else f"unix:{path}"
    with pytest.raises(ConfigError, match="not a socket"):
        async with start(Settings.for_tests(tmp_path, **{key: value}), clock):
            pass
    assert path.read_text() == "precious"


async def test_a_start_that_fails_half_way_leaves_nothing_behind(tmp_path, clock):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"\[server\] listen 127.0.0.1"):
            async with start(Settings.for_tests(tmp_path, **{"server.listen": address}), clock):
                pass
    async with start(Settings.for_tests(tmp_path), clock) as daemon:
        assert await get(daemon.http, daemon.url + "/readyz") == 200


async def test_a_second_daemon_on_the_same_folder_is_refused(daemon, settings, clock):
    with pytest.raises(InUseError):
        async with start(settings, clock):
            pass
    assert await get(daemon.http, daemon.url + "/readyz") == 200


async def test_twenty_cycles_leave_no_task_and_no_file_open(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path), clock):
        pass
    tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        async with start(Settings.for_tests(tmp_path), clock) as daemon:
            await get(daemon.http, daemon.url + "/healthz")
    assert len(asyncio.all_tasks()) <= tasks
    assert len(os.listdir("/proc/self/fd")) <= files


async def test_a_reload_takes_over_what_it_can_and_refuses_a_broken_file(tmp_path, unused_tcp_port):
    process = Process(tmp_path, unused_tcp_port)
    await process.start()
    try:
        config = tmp_path / "flexportd.toml"
        good = config.read_text()
        for text, said in (
            (good.replace('level = "info"', 'level = "loud"'), b'"configuration_reload_rejected"'),
            (good.replace('level = "info"', 'level = "debug"') + "[queue]\nworkers = 7\n", b'"configuration_reloaded"'),
        ):
            config.write_text(text)
            process.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(20):
                while said not in process.log:
                    await asyncio.sleep(0.01)
        line = next(line for line in process.log.splitlines() if b'"configuration_reloaded"' in line)
        assert b"log.level" in line
        assert b"queue.workers" in line
        assert b"loud" in process.log
        assert b"Traceback" not in process.log
    finally:
        assert await process.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("key", [None, False])
async def test_a_unix_socket_from_systemd_makes_keys_necessary(tmp_path, clock, monkeypatch, key):
    path = tmp_path / "from-systemd.sock"
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        held.listen()
        monkeypatch.setattr(server, "activated_sockets", lambda: [(held.dup(), False, f"unix:{path}")])
        overrides = {} if key is None else {"api.require_key": key}
        settings = Settings.for_tests(tmp_path, **overrides)
        async with start(settings, clock) as daemon:
            daemon.daemon.reload(settings)
            daemon.url = f"http://{daemon.daemon.addresses[1]}"
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(path))) as http:
                assert await get(http, "http://localhost/api/v1/queue") == (401 if key is None else 200)
                if key is False:
                    (warning,) = await warnings_of(daemon)
                    assert f"systemd's unix:{path}" in warning


def test_sockets_from_systemd_are_told_apart(tmp_path, monkeypatch):
    ours = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 0))]
    ours[0].bind(str(tmp_path / "x.sock"))
    ours[1].bind(f"\0flexportd-test-{os.getpid()}")
    given = {3 + number: sock for number, sock in enumerate(ours)}
    monkeypatch.setattr(sockets.socket, "socket", lambda *, fileno: given[fileno])
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "3")
    found = systemd.activated_sockets()
    assert [is_loopback for _, is_loopback, _ in found] == [False, False, True]
    assert [address for _, _, address in found][:2] == [
        f"unix:{tmp_path / 'x.sock'}",
        f"unix:@flexportd-test-{os.getpid()}",
    ]
    for sock in ours:
        sock.close()


async def test_systemd_hands_over_sockets_that_are_also_configured_and_is_told_when_we_are_ready(
    tmp_path, unused_tcp_port
):
    config = Process(tmp_path, unused_tcp_port).dir / "flexportd.toml"
    address = f"127.0.0.1:{unused_tcp_port}"
    web = tmp_path / "web.sock"
    config.write_text(config.read_text().replace(f'"{address}"', f'["0.0.0.0:{unused_tcp_port}", "unix:{web}"]'))
    listener, held = socket.create_server(("127.0.0.1", unused_tcp_port)), socket.socket(socket.AF_UNIX)
    held.bind(str(web))
    held.listen()
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify.sock"))
    told.setblocking(False)
    # The file descriptors are moved out of the way first: one of them may be 3 or 4 itself.
    command = f'exec 10<&{listener.fileno()} 11<&{held.fileno()} 3<&10 4<&11; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b; exec "{sys.executable}" -m flexportd --config "{config}" serve'
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, pass_fds=[listener.fileno(), held.fileno()],
        env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify.sock")}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            assert await loop.sock_recv(told, 100) == b"READY=1"
        async with aiohttp.ClientSession() as http:
            assert await get(http, f"http://{address}/readyz") == 200
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(web))) as http:
            assert await get(http, "http://localhost/readyz") == 200
        process.terminate()
        async with asyncio.timeout(20):
            assert await loop.sock_recv(told, 100) == b"STOPPING=1"
            _, log = await process.communicate()
        assert process.returncode == 0
        (started,) = (line for line in log.splitlines() if b'"event": "daemon_started"' in line)
        assert json.loads(started)["listen"] == [address, f"unix:{web}"]
        assert web.is_socket()
        await loop.run_in_executor(None, connected, web)
    finally:
        told.close()
        listener.close()
        held.close()


def connected(path):
    """Connect to a Unix socket, which must still listen."""
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(path))


async def test_a_control_socket_that_systemd_holds_is_refused_and_left_in_place(tmp_path, clock, monkeypatch):
    settings = Settings.for_tests(tmp_path)
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(settings.storage.control_socket))
        held.listen()
        monkeypatch.setattr(server, "activated_sockets", lambda: [(held.dup(), False, "held")])
        with pytest.raises(ConfigError, match=r"\[storage\] control_socket: systemd uses "):
            async with start(settings, clock):
                pass
        assert settings.storage.control_socket.is_socket()
