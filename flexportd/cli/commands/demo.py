"""`flexportd demo`: sandbox and daemon in one process."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from flexportd.cli.exit_codes import Exit
from flexportd.errors import InvalidError

_FASTEST = 100_000  # more than a day in a second


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port of the dashboard; 0 chooses a free one.",
)
@click.option(
    "--shipments", type=click.IntRange(0, 1000), default=80, show_default=True, help="Initial number of shipments."
)
@click.option(
    "--speed",
    type=click.FloatRange(0, _FASTEST),
    callback=lambda _, __, value: _speed(value),
    default=1200,
    show_default=True,
    help="Simulated seconds per real second, for freight and daemon; 0 stops time.",
)
@click.option(
    "--seed", type=int, default=7, show_default=True, help="Random seed; the same seed creates the same freight."
)
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Store the demo in this new directory and keep it."
)
def demo(keep: Path | None, port: int, seed: int, shipments: int, speed: float) -> Exit:
    """Try flexportd with sample data; no account needed.

    Runs the daemon and a simulated Flexport, reachable only from this machine. Press Ctrl-C to stop.
    """
    import asyncio

    from flexportd.cli import demo_runner

    with _folder(keep) as folder:
        chosen = demo_runner.free_port(port)
        if port not in (0, chosen):
            click.echo(f"Port {port} is in use; the demo uses port {chosen} instead.", err=True)
        plan = demo_runner.DemoPlan(folder, seed, shipments, speed, chosen, demo_runner.free_port(0))
        return asyncio.run(demo_runner.run(plan, kept=keep is not None))


def _speed(value: float) -> float:
    if 0 < value < 1:
        raise click.BadParameter(f"{value:g} is slower than real time; allowed are 0, and 1 to {_FASTEST:,}.")
    return value


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """The directory of the demo, deleted afterwards unless it is `keep`."""
    if keep is None:
        made = Path(tempfile.mkdtemp(prefix="flexportd-demo-"))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return
    keep = keep.absolute()
    keep.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise InvalidError(f"--keep {keep}: the directory is not empty; choose a new one")
    yield keep
