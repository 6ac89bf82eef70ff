"""`flexportd config`: checks the configuration, and shows the values in force."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flexportd.cli.command import Invocation
from flexportd.cli.output import Column, DaemonResponse, Output
from flexportd.errors import ConfigError

if TYPE_CHECKING:
    from flexportd.settings import ListenAddress, LoadedConfig, Settings


@click.group()
def config() -> None:
    """Check or show the configuration."""


@config.command()
@click.pass_obj
def check(invocation: Invocation) -> None:
    """Check the configuration and report every problem.

    This includes its rules, directories, TLS files and sockets. Nothing is created or changed.
    """
    loaded, out = invocation.loaded, Output.standard()
    if errors := [*_notify_problems(loaded), *_write_problems(loaded.settings), *_problems(loaded.settings)]:
        raise ConfigError(errors)
    out.line(f"OK: {loaded.path}" if loaded.path else "OK: no configuration file found; defaults apply")
    for note in (*loaded.notes, *_missing_addresses(loaded.settings.server.listen)):
        out.line(f"Note: {note}")
    for step in _missing_settings(loaded.settings):
        out.line(f"Note: {step}")


def _missing_settings(settings: "Settings") -> Iterator[str]:
    """Settings that a new installation usually needs; none is an error, since each may be omitted."""
    if not settings.webhook.secrets:
        yield "[webhook] secrets is not set: every webhook is refused. `flexportd init` creates a secret."
    flexport = settings.flexport
    if flexport.api_key is None and flexport.client_id is None:
        yield (
            "No Flexport API credentials are set: set [flexport] api_key, or client_id and client_secret. Without "
            "them, flexportd relies on webhooks only: no full sync, no recovery of missed events, no documents."
        )
    if settings.server.public_url is None:
        yield (
            "[server] public_url is not set. Behind a proxy, set it to the address that people open, such as "
            "https://freight.example.com: links and the dashboard's buttons need it."
        )


@config.command()
@click.option("--origin", is_flag=True, help="Show the source of each value.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(invocation: Invocation, *, origin: bool, as_json: bool) -> None:
    """Show every key with its current value; secrets are masked."""
    from flexportd.settings import describe_values as values

    loaded, out = invocation.loaded, Output.standard(as_json=as_json)
    rows = [dict(zip(("key", "value", "origin"), row, strict=True)) for row in values(loaded)]
    columns = [Column("key", lambda row: row["key"]), Column("value", lambda row: row["value"], narrows=True)]
    if origin:
        columns.append(Column("origin", lambda row: row["origin"], narrows=True))
    document = {"path": None if loaded.path is None else str(loaded.path), "data": rows}
    out.show_list(DaemonResponse.of(document), columns, "")


def _problems(settings: "Settings") -> Iterator[str]:
    """Every problem that would prevent a daemon with these settings from starting."""
    from flexportd.daemon import permissions
    from flexportd.daemon.sockets import resolve_addresses

    storage, server = settings.storage, settings.server
    yield from permissions.problems(storage.data_dir, storage.cache_dir, storage.control_socket)
    yield from _folder("[storage] data_dir", storage.data_dir)
    yield from _folder("[storage] cache_dir", storage.cache_dir)
    yield from _socket("[storage] control_socket", storage.control_socket)
    for listen in server.listen:
        if listen.unix is not None:
            yield from _socket("[server] listen", listen.unix)
    missing = _missing_addresses(server.listen)
    if missing and len(missing) == sum(len(resolve_addresses(listen)) for listen in server.listen):
        yield from missing
    if server.tls_cert is not None and server.tls_key is not None:
        yield from _tls(server.tls_cert, server.tls_key)


def _notify_problems(loaded: "LoadedConfig") -> Sequence[str]:
    notify = loaded.settings.notify
    if not (notify.channels or notify.rules):
        return ()  # importing what checks them takes a third of a second
    from flexportd.notify.rules import check_notifications

    try:
        check_notifications(loaded)
    except ConfigError as error:
        return error.problems
    return ()


def _write_problems(settings: "Settings") -> Iterator[str]:
    flexport = settings.flexport
    if settings.writes.enabled and flexport.api_key is None and flexport.client_id is None:
        yield (
            "[writes] enabled is true, but nothing can be written without Flexport API credentials: set [flexport] "
            "api_key, or client_id and client_secret"
        )


def _missing_addresses(listens: "Sequence[ListenAddress]") -> list[str]:
    """Listen addresses that this machine does not have. Raises ConfigError for an unknown host name."""
    from flexportd.daemon.sockets import address_error, resolve_addresses

    errors = (address_error(address, listen) for listen in listens for address in resolve_addresses(listen))
    return [problem for error in errors if error is not None for problem in error.problems]


def _folder(key: str, path: Path) -> Iterator[str]:
    """A directory must be writable, or it must be possible to create it."""
    nearest = path
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        yield f"{key}: {nearest} is not a directory"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        action = "write to" if nearest == path else "create"
        yield f"{key}: cannot {action} {path}: no write permission for {nearest}"


def _socket(key: str, path: Path) -> Iterator[str]:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        yield from _folder(key, path.parent)
    except OSError as error:
        yield f"{key}: {path}: {error.strerror or error}"
    else:
        if not stat.S_ISSOCK(mode):
            yield f"{key}: {path} exists and is not a socket; choose another path"


def _tls(cert: Path, key: Path) -> Iterator[str]:
    from flexportd.daemon.sockets import tls_context

    try:
        tls_context(cert, key)
    except ConfigError as error:
        yield from error.problems
