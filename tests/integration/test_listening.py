"""Where the daemon listens, what it shows there, and how it starts, reloads and fails to start."""

import asyncio
import os
import signal
import socket
import stat
import sys

import aiohttp
import pytest

from flexportd.errors import ConfigError, InUseError
from flexportd.settings import Settings
from tests.integration.test_crash import Process
from tests.under_test import start


async def get(http, url):
    async with http.get(url) as answer:
        return answer.status


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
        url = f"http://127.0.0.1:{daemon.daemon.addresses[0].rpartition(':')[2]}"
        async with daemon.http.get(f"{url}/api/v1/status") as answer:
            assert any("require_key" in one for one in (await answer.json())["warnings"])


async def test_a_unix_socket_is_as_good_as_loopback(tmp_path, clock):
    path = tmp_path / "web.sock"
    async with start(Settings.for_tests(tmp_path, **{"server.listen": f"unix:{path}"}), clock) as daemon:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert daemon.daemon.addresses == [f"unix:{path}"]
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(path))) as http:
            assert await get(http, "http://localhost/api/v1/queue") == 200


@pytest.mark.parametrize("key", ["storage.control_socket", "server.listen"])
async def test_what_is_no_socket_is_left_alone(tmp_path, clock, key):
    path = tmp_path / "precious"
    path.write_text("precious")
    value = path if key.startswith("storage") else f"unix:{path}"
    with pytest.raises(ConfigError, match="left alone"):
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
            (good.replace('level = "info"', 'level = "loud"'), b'"reload_refused"'),
            (good.replace('level = "info"', 'level = "debug"') + "[queue]\nworkers = 7\n", b'"reloaded"'),
        ):
            config.write_text(text)
            process.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(20):
                while said not in process.log:
                    await asyncio.sleep(0)
        line = next(line for line in process.log.splitlines() if b'"reloaded"' in line)
        assert b"log.level" in line
        assert b"queue.workers" in line
        assert b"loud" in process.log
        assert b"Traceback" not in process.log
    finally:
        assert await process.end(signal.SIGTERM) == 0


async def test_systemd_hands_over_the_socket_and_is_told_when_we_are_ready(tmp_path, unused_tcp_port):
    config = Process(tmp_path, unused_tcp_port).dir / "flexportd.toml"
    listener = socket.create_server(("127.0.0.1", 0))
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify.sock"))
    told.setblocking(False)
    command = f'exec 3<&{listener.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "{sys.executable}" -m flexportd --config "{config}" serve'
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, pass_fds=[listener.fileno()],
        env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify.sock")}, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            assert await loop.sock_recv(told, 100) == b"READY=1"
        async with aiohttp.ClientSession() as http:
            assert await get(http, f"http://127.0.0.1:{listener.getsockname()[1]}/readyz") == 200
        process.terminate()
        async with asyncio.timeout(20):
            assert await loop.sock_recv(told, 100) == b"STOPPING=1"
            assert await process.wait() == 0
    finally:
        told.close()
        listener.close()
