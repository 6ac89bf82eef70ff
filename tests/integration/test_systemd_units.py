"""The units in packaging/systemd: systemd takes them without a remark, and the daemon works under what they restrict."""

import asyncio
import ctypes.util
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.events import event, shipment
from tests.integration.test_crash import LoadedProcess, send

UNITS = Path(__file__).parents[2] / "packaging" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
INSTALLED = "/opt/flexportd/bin/flexportd"

analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def run(*command: str) -> str:
    """Both outputs of a command that has to exit with 0."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units in a folder of their own, with a program that exists: `verify` looks for it."""
    for path in UNITS.iterdir():
        program = str(Path(sys.executable).resolve())
        (tmp_path / path.name).write_text(path.read_text("utf-8").replace(INSTALLED, program))
    return tmp_path


@analyze
@pytest.mark.parametrize(
    "name", sorted(path.name for path in UNITS.iterdir() if path.suffix in (".service", ".socket"))
)
def test_systemd_has_no_remark_about_a_unit(installed, name):
    # It exits with 0 for a directive that it does not know: only silence counts.
    assert run("systemd-analyze", "verify", "--man=no", str(installed / name)) == ""


@analyze
@pytest.mark.parametrize("name", [path.name for path in SERVICES])
def test_the_exposure_of_a_service_is_at_most_one_and_a_half(installed, name):
    out = run(
        "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=15", str(installed / name)
    )  # fmt: skip
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", out)
    assert float(level[1]) <= 1.5


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_systemd_can_make_the_user(tmp_path):
    copy = tmp_path / "flexportd.conf"
    copy.write_text((UNITS / "flexportd.sysusers").read_text("utf-8"))
    (tmp_path / "root").mkdir()
    out = run("systemd-sysusers", "--dry-run", f"--root={tmp_path / 'root'}", str(copy))
    assert "Creating user 'flexportd'" in out


def test_the_template_is_the_service_with_names_of_its_own():
    service, template = ((UNITS / name).read_text("utf-8") for name in ("flexportd.service", "flexportd@.service"))
    named = re.sub(r"(Directory=|:)flexportd(?=[.\n])", r"\1flexportd-%i", service)
    named = named.replace("/flexportd.toml", "/%i.toml").replace(
        "ConfigurationDirectory=flexportd-%i", "ConfigurationDirectory=flexportd"
    )

    def directives(text):
        return [line for line in text.splitlines() if "=" in line and line[0] != "#" and line[:11] != "Description"]

    assert directives(template) == directives(named)


class HardenedProcess(LoadedProcess):
    """A daemon under the filters of the service."""

    program = ("-m", "tests.hardened", str(UNITS / "flexportd.service"))


@analyze
@pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="libseccomp is not installed")
async def test_the_daemon_works_under_the_filters_of_the_service(tmp_path, unused_tcp_port):
    process = HardenedProcess(tmp_path, unused_tcp_port)
    config = process.dir / "flexportd.toml"
    # Each name is resolved and refused: what matters is that the attempt works, threads and sockets included.
    config.write_text(config.read_text() + '[flexport]\napi_key = "x"\nbase_url = "http://localhost:1"\n')
    await process.start()
    try:
        status = Path(f"/proc/{process.process.pid}/status").read_text()
        assert "Seccomp:\t2" in status
        async with aiohttp.ClientSession() as http:
            assert await send(http, process.url, json.dumps(event(shipment(1))).encode()) == 200
            async with asyncio.timeout(30):
                while True:
                    async with http.get(process.url + "/api/v1/shipments") as answer:
                        if (await answer.json())["data"]:
                            break
            async with http.get(process.url + "/api/v1/shipments?format=csv") as answer:
                assert answer.status == 200
    finally:
        assert await process.end(signal.SIGTERM) == 0
    assert b"Traceback" not in process.log
    assert b"Operation not permitted" not in process.log


def test_the_installation_guide_names_what_the_units_use():
    guide = (UNITS.parents[1] / "docs" / "install.md").read_text("utf-8")
    service = (UNITS / "flexportd.service").read_text("utf-8")
    named = re.search(r"^ExecStart=(\S+) --config (\S+) serve$", service, re.MULTILINE)
    assert named[1] == INSTALLED
    for path in (
        named[2],
        "/opt/flexportd",
        "/var/lib/flexportd",
        "/var/cache/flexportd",
        "/run/flexportd/control.sock",
    ):
        assert path in guide, path
    for path in re.findall(r"packaging/\S+", guide):
        assert list(UNITS.parents[1].glob(path)), path
    for credential in re.findall(r"^LoadCredential=\w+:(\S+)$", service, re.MULTILINE):
        assert f"`{credential}`" in guide, credential
