"""What a newcomer types first: make's targets, and the README's commands against the demo."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flexportd.cli.commands.demo import demo
from flexportd.sandbox import Sandbox, SandboxOptions
from tests.under_test import DatedClock

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "needs_tools"), [("demo", False), ("install", False), ("test", True), ("dev", True)]
)
def test_only_what_needs_the_development_tools_installs_them(target, needs_tools, tmp_path):
    venv = tmp_path / "venv"
    found = subprocess.run(
        ["make", "--dry-run", target, f"VENV={venv}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"venv.sh {venv}\n" in found.stdout
    assert (f"venv.sh {venv} dev" in found.stdout) is needs_tools


async def test_ids_and_names_in_the_readme_exist_in_the_demo():
    defaults = {option.name: option.default for option in demo.params}
    options = SandboxOptions(seed=defaults["seed"], shipments=defaults["shipments"], speed=0)
    async with Sandbox(options, DatedClock()) as sandbox:
        shipments = sandbox.world.rows("/shipment").values()
    ids = set(re.findall(r"FLEX-(\d+)", README)) | set(re.findall(r"--shipment (\d+)", README))
    assert ids
    assert ids <= {str(shipment["id"]) for shipment in shipments}
    named = set(re.findall(r'--consignee "([^"]+)"', README))
    assert named
    assert named <= {consignee["name"] for shipment in shipments for consignee in shipment["consignees"]}
    (wanted,) = re.findall(r'flexportd search "([^"]+)"', README)
    assert any(wanted in shipment["name"] for shipment in shipments)


def test_serve_prints_its_address_on_a_terminal(tmp_path):
    config = tmp_path / "flexportd.toml"
    config.write_text(
        f'[server]\nlisten = "127.0.0.1:0"\n[storage]\ndata_dir = "{tmp_path}/data"\ncache_dir = "{tmp_path}/cache"\n'
        f'control_socket = "{tmp_path}/control.sock"\n',
        encoding="utf-8",
    )
    outer, inner = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "flexportd", "--config", str(config), "serve"],
        stdin=subprocess.DEVNULL,
        stdout=inner,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(inner)
        printed = ""
        while "Press Ctrl-C" not in printed:
            printed += os.read(outer, 4096).decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    os.close(outer)
    assert re.search(r"Dashboard: http://127\.0\.0\.1:[1-9]\d*/\r\n", printed)
