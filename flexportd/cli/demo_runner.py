"""Runs a demo: the daemon and the sandbox in one process, and a welcome text when both are ready."""

import asyncio
import json
import os
import secrets
import shlex
import shutil
import socket
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from flexportd import logs
from flexportd.cli.exit_codes import Exit
from flexportd.clock import Clock, SimulatedClock
from flexportd.daemon.app import Daemon, open_daemon
from flexportd.daemon.lifecycle import wait_any
from flexportd.expose.api import status
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.settings import LoadedConfig, load, render_initial
from flexportd.settings.sections import CacheSettings
from flexportd.tasks import stop_signals

HOST = "127.0.0.1"
_POLL_INTERVAL = 0.1  # seconds between checks of the daemon's status
_FILL_TIMEOUT = 20.0  # seconds after which the address is printed anyway
_MIN_SHIPMENTS, _MIN_MODES = 20, 4
_REAL_INTERVALS = {
    "full_interval": 120.0,
    "incremental_interval": 15.0,
    "events_interval": 15.0,
}  # seconds of real time


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """The parameters of a demo: its directory, size, ports and secrets."""

    folder: Path
    seed: int
    shipments: int
    speed: float
    port: int
    sandbox_port: int
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    api_key: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def config(self) -> Path:
        """The configuration file, for `--config` of other commands."""
        return self.folder / "flexportd.toml"


def free_port(preferred: int) -> int:
    """The given port of the loopback address if it is free, else another."""
    for port in (preferred, 0):
        try:
            with socket.create_server((HOST, port)) as probe:
                return int(probe.getsockname()[1])
        except OSError:
            continue
    raise OSError("No free port on 127.0.0.1")


async def run(plan: DemoPlan, *, kept: bool) -> Exit:
    """Run the demo until Ctrl-C or SIGTERM; fails if a vital task of the daemon fails."""
    loaded = write_config(plan)
    logs.configure("warning", "auto", (plan.secret, plan.api_key))
    machine = Clock()
    simulated = SimulatedClock(machine, plan.speed) if plan.speed else None
    with stop_signals() as stop:
        async with AsyncExitStack() as stack:
            daemon = await stack.enter_async_context(open_daemon(loaded.settings, simulated or machine))
            box = await stack.enter_async_context(
                Sandbox(sandbox_options(plan), machine, simulated.step if simulated else None)
            )
            failed = daemon.tasks.failed
            await _wait_until_filled(daemon, box, stop)
            if not (stop.is_set() or failed.is_set()):
                shipments = await daemon.db.read(status.shipment_counts)
                click.echo(_welcome(plan, shipments, kept=kept))
                sys.stdout.flush()
            await wait_any(stop, failed)
            await daemon.scheduler.stop()  # while the sandbox still serves the requests of jobs
    return Exit.FAILED if failed.is_set() else Exit.DONE


def write_config(plan: DemoPlan) -> LoadedConfig:
    """Write the demo's configuration and load it, without settings from the environment."""
    sandbox = f"http://{HOST}:{plan.sandbox_port}"
    values = {
        "flexport.environment": "sandbox",
        "flexport.base_url": sandbox,
        "flexport.token_url": f"{sandbox}/oauth/token",
        "flexport.audience": sandbox,
        "flexport.api_key": plan.api_key,
        "flexport.requests_per_second": "50",  # the sandbox is local, and simulated time is fast
        "webhook.secrets": json.dumps([plan.secret]),
        "server.listen": f"{HOST}:{plan.port}",
        "storage.data_dir": str(plan.folder / "data"),
        "storage.cache_dir": str(plan.folder / "cache"),
        "storage.control_socket": str(plan.folder / "control.sock"),
        "dashboard.title": "flexportd demo",
        "log.access": "false",  # keep the terminal for the welcome text
        **_intervals(max(1.0, plan.speed)),
    }
    plan.config.touch(mode=0o600)
    plan.config.write_text(render_initial(values), encoding="utf-8")
    return load(plan.config, {})


def _intervals(speed: float) -> dict[str, str]:
    return {
        **{f"sync.{name}": f"{round(seconds * speed)}s" for name, seconds in _REAL_INTERVALS.items()},
        "sync.overlap": "1d",
        **{f"cache.ttl.{name}": "1s" for name in CacheSettings().seconds() if name != "file"},
    }


def sandbox_options(plan: DemoPlan) -> SandboxOptions:
    """The sandbox that feeds the demo."""
    return SandboxOptions(
        port=plan.sandbox_port,
        seed=plan.seed,
        shipments=plan.shipments,
        speed=plan.speed,
        api_key=plan.api_key,
        webhook_url=f"http://{HOST}:{plan.port}/webhooks/flexport",
        webhook_secret=plan.secret,
    )


async def _wait_until_filled(daemon: Daemon, box: Sandbox, stop: asyncio.Event) -> None:
    """Wait until the world moves and there is enough to show: all shipments, or twenty with four modes."""
    clock = Clock()
    deadline = clock.now().timestamp() + _FILL_TIMEOUT
    while not (stop.is_set() or daemon.tasks.failed.is_set()) and clock.now().timestamp() < deadline:
        shipments = await daemon.db.read(status.shipment_counts)
        everything = shipments["total"] >= box.options.shipments and not daemon.queue.pending
        enough = shipments["total"] >= _MIN_SHIPMENTS and len(shipments["by_mode"]) >= _MIN_MODES
        moves = not isinstance(daemon.clock, SimulatedClock) or daemon.clock.started is not None
        if moves and (everything or enough):
            return
        await clock.sleep(_POLL_INTERVAL)


def _command() -> str:
    """The command line of this program, which may not be on the PATH."""
    started = Path(sys.argv[0])
    if shutil.which("flexportd") or started.name != "flexportd":
        return "flexportd"
    return shlex.quote(os.path.relpath(started))


def _welcome(plan: DemoPlan, shipments: dict[str, Any], *, kept: bool) -> str:
    url = f"http://{HOST}:{plan.port}"
    note = "kept" if kept else "deleted on exit"
    return (
        f"\nflexportd is running with {shipments['total']} sample shipments at {plan.speed:g} times real speed.\n"
        f"\n  Dashboard  {url}/\n"
        "\n  Try"
        f"\n    curl '{url}/api/v1/shipments?limit=3'"
        f"\n    {_command()} --config {shlex.quote(str(plan.config))} status\n"
        f"\n  Files      {plan.folder} ({note})\n"
        "\n  Press Ctrl-C to stop.\n"
    )
