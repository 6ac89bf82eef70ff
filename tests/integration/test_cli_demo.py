"""`demo` and `sandbox`: nothing to prepare, and nothing left behind."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.free_port import free_port
from tests.integration.test_cli_daemon import Place


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


def _json(url: str, **headers: str) -> dict:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_shows_freight_in_motion_and_leaves_nothing(place, number):
    with place.started("demo", "--port", "0", "--shipments", "30") as (process, out, _):
        url = out.until("Dashboard").split()[-1]
        config = out.until("flexportd --config").split()[2]
        shipments = _json(f"{url}api/v1/status")["shipments"]
        assert shipments["total"] >= 20
        assert len(shipments["by_mode"]) >= 3
        assert place.json("--config", config, "status")["ready"] is True
        assert "FLEX-" in place.run("--config", config, "shipments", "list").stdout
        with urllib.request.urlopen(url, timeout=5) as page:
            assert 'data-clock-speed="1200"' in page.read().decode()
        process.send_signal(number)
        assert process.wait(5) == 0
    assert not Path(config).parent.exists()
    assert not [name for name in os.listdir(place.folder) if name.startswith("flexportd-demo-")]


def test_a_demo_on_a_taken_port_takes_another_and_is_kept_on_demand(place, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ("demo", "--port", port, "--shipments", "3", "--speed", "0", "--keep", "kept demo")
        with place.started(*arguments) as (process, out, err):
            assert "is in use" in err.until(port)
            assert f":{port}/" not in out.until("Dashboard")
            assert f"--config '{tmp_path}/kept demo/flexportd.toml'" in out.until("--config")
            assert place.interrupt(process) == 0
    kept = tmp_path / "kept demo"
    assert (kept / "data" / "flexportd.db").exists()
    assert (kept / "flexportd.toml").stat().st_mode & 0o777 == 0o600
    found = place.run("demo", "--keep", "kept demo", code=2)
    assert "not empty" in found.stderr


@pytest.mark.parametrize("speed", ["0.5", "-1", "200000"])
def test_a_demo_refuses_a_speed_that_no_clock_can_have(place, speed):
    assert "--speed" in place.run("demo", "--speed", speed, code=2).stderr


def test_a_demo_that_is_interrupted_early_leaves_nothing_either(place):
    with place.started("demo", "--port", "0", "--shipments", "300") as (process, _, _):
        while not list(place.folder.glob("flexportd-demo-*/control.sock")):
            with pytest.raises(subprocess.TimeoutExpired):  # it goes on until it is told to end
                process.wait(0.02)
        assert place.interrupt(process) == 0
    assert not list(place.folder.glob("flexportd-demo-*"))


def test_the_sandbox_answers_whom_it_gave_the_key(place):
    with place.started("sandbox", "--listen", "127.0.0.1:0", "--shipments", "3") as (process, out, _):
        url = out.until("address").split()[-1]
        key = out.until("api key").split()[-1]
        assert "off: " in out.until("webhooks")
        page = _json(f"{url}/shipments?per=2", Authorization=f"Bearer {key}")
        assert len(page["data"]["data"]) == 2
        assert place.interrupt(process) == 0


def test_the_sandbox_keeps_the_key_of_a_configuration_that_is_for_it(place):
    place.run("init", "--data-dir", "data")
    file = place.folder / "flexportd.toml"
    text = file.read_text(encoding="utf-8").replace('#api_key = "..."', 'api_key = "a-key-of-flexport"', 1)
    for environment, is_kept in (("production", False), ("sandbox", True)):
        line = f'environment = "{environment}"'
        file.write_text(text.replace('#environment = "production"', line, 1), encoding="utf-8")
        with place.started("sandbox", "--listen", "127.0.0.1:0", "--shipments", "2") as (process, out, _):
            assert (out.until("api key").split()[-1] == "a-key-of-flexport") is is_kept
            assert place.interrupt(process) == 0


def test_the_sandbox_feeds_the_daemon_of_a_configuration_that_is_named(place):
    place.run("init", "--data-dir", "data", "--listen", f"127.0.0.1:{free_port()}")
    (place.folder / "key").write_text("the-key-of-the-sandbox\n", encoding="utf-8")
    arguments = ("sandbox", "--listen", "127.0.0.1:0", "--shipments", "2", "--speed", "0", "--api-key-file", "key")
    with place.serving() as daemon:
        with place.started(*arguments) as (process, out, _):
            assert 'environment = "sandbox"' in out.until("off: ")
            assert place.interrupt(process) == 0
        with place.started("--config", "flexportd.toml", *arguments) as (process, out, _):
            assert out.until("api key").split()[-1] == "the-key-of-the-sandbox"
            assert "/webhooks/flexport" in out.until("webhooks")
            for _ in range(50):
                if place.json("status")["shipments"]["total"] == 2:
                    break
            assert place.json("status")["shipments"]["total"] == 2
            assert place.interrupt(process) == 0
        assert place.interrupt(daemon) == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--faults", "bogus=1"),
        ("--listen", "nowhere"),
        ("--speed", "-1"),
        ("--shipments", "-1"),
        ("--webhook-url", "ftp://x"),
    ],
)
def test_the_sandbox_refuses_what_cannot_be_meant(place, options):
    place.run("init", "--data-dir", "data")
    assert place.run("sandbox", *options, code=2).stderr.startswith("flexportd: ")


def test_a_port_of_the_sandbox_that_is_taken_is_told(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in place.run("sandbox", "--listen", address, code=2).stderr
