"""Defaults that are not fixed: directories of systemd, XDG or the system, and the profiles in `config/`."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

CONFIG_NAME = "flexportd.toml"


@dataclass(frozen=True, slots=True)
class Profile:
    """The addresses of one environment."""

    base_url: str
    token_url: str
    audience: str


def shipped_folder() -> Traversable:
    """The folder `config/`: inside the package if installed, beside it in a checkout."""
    inside = resources.files("flexportd") / "_config"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "config"


@cache
def profile_names() -> tuple[str, ...]:
    """Every valid value of `[flexport] environment`."""
    names = (entry.name for entry in (shipped_folder() / "environments").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def profile(name: str) -> Profile:
    """The profile with a name from `profile_names`."""
    return Profile(**tomllib.loads((shipped_folder() / "environments" / f"{name}.toml").read_text("utf-8")))


@cache
def default_lifetimes() -> Mapping[str, str]:
    """The default of `[cache] ttl` for each type of response: durations as in a file."""
    ttl: Mapping[str, str] = tomllib.loads((shipped_folder() / "cache.toml").read_text("utf-8"))["ttl"]
    return ttl


@cache
def default_rules() -> Sequence[Mapping[str, Any]]:
    """The shipped rules of `[notify]`, as in a file."""
    rules: Sequence[Mapping[str, Any]] = tomllib.loads((shipped_folder() / "notify.toml").read_text("utf-8"))["rules"]
    return rules


def data_folder(environ: Mapping[str, str]) -> Path:
    """The default of storage.data_dir."""
    return _systemd(environ, "STATE_DIRECTORY") or _xdg(environ, "XDG_DATA_HOME", ".local/share", "/var/lib")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The default of storage.cache_dir."""
    return _systemd(environ, "CACHE_DIRECTORY") or _xdg(environ, "XDG_CACHE_HOME", ".cache", "/var/cache")


def control_socket(environ: Mapping[str, str], data_dir: Path) -> Path:
    """The default of storage.control_socket."""
    return (_systemd(environ, "RUNTIME_DIRECTORY") or data_dir) / "control.sock"


def config_candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where a configuration file is searched if none is named."""
    yield Path(CONFIG_NAME)
    yield _xdg(environ, "XDG_CONFIG_HOME", ".config", "/etc") / CONFIG_NAME
    yield Path("/etc/flexportd") / CONFIG_NAME


def expand_path(value: str, folder: Path, environ: Mapping[str, str]) -> str:
    """A path as written in a file: `~/` is the home directory, relative paths begin at the file's folder."""
    if not value.strip():
        return value
    home = _home(environ) if value == "~" or value.startswith("~/") else None
    return str((folder / (value if home is None else f"{home}{value[1:]}")).absolute())


def _home(environ: Mapping[str, str]) -> Path | None:
    """The home directory; None for a user without one, as in many containers."""
    if environ.get("HOME"):
        return Path(environ["HOME"])
    try:
        return Path.home()
    except RuntimeError:
        return None


def _systemd(environ: Mapping[str, str], variable: str) -> Path | None:
    first = environ.get(variable, "").split(":")[0]
    return Path(first) if first else None


def _xdg(environ: Mapping[str, str], variable: str, in_home: str, system: str) -> Path:
    # By the XDG specification, relative values are ignored.
    folder = environ.get(variable, "")
    if folder.startswith("/"):
        return Path(folder) / "flexportd"
    home = _home(environ)
    return Path(system) / "flexportd" if home is None else home / in_home / "flexportd"
