"""Where things live unless the configuration says so: systemd's folders first, then XDG's, then the system's."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from flexportd.settings.value_types import default_path

CONFIG_NAME = "flexportd.toml"
CONTROL_SOCKET = "control.sock"


def data_folder(environ: Mapping[str, str]) -> Path:
    """The default of storage.data_dir."""
    return default_path(environ.get("STATE_DIRECTORY"), _xdg(environ, "XDG_DATA_HOME", ".local/share", "/var/lib"))


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The default of storage.cache_dir."""
    return default_path(environ.get("CACHE_DIRECTORY"), _xdg(environ, "XDG_CACHE_HOME", ".cache", "/var/cache"))


def control_socket(environ: Mapping[str, str], data_dir: Path) -> Path:
    """The default of storage.control_socket."""
    return default_path(environ.get("RUNTIME_DIRECTORY"), data_dir) / CONTROL_SOCKET


def config_candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where a configuration file is looked for when none is named."""
    yield Path(CONFIG_NAME)
    yield _xdg(environ, "XDG_CONFIG_HOME", ".config", "/etc") / CONFIG_NAME
    yield Path("/etc/flexportd") / CONFIG_NAME


def home(environ: Mapping[str, str]) -> Path | None:
    """The home folder; None for a user without one, as in many containers."""
    if environ.get("HOME"):
        return Path(environ["HOME"])
    try:
        return Path.home()
    except RuntimeError:
        return None


def expand_path(value: str, folder: Path, environ: Mapping[str, str]) -> str:
    """A path as written in a file: `~/` is the home folder, relative ones start at the file's folder."""
    if not value.strip():
        return value
    owner = home(environ) if value == "~" or value.startswith("~/") else None
    written = value if owner is None else f"{owner}{value[1:]}"
    return str((folder / written).absolute())


def _xdg(environ: Mapping[str, str], variable: str, in_home: str, system: str) -> Path:
    # The XDG specification wants relative values ignored.
    chosen = environ.get(variable, "")
    if chosen.startswith("/"):
        return Path(chosen) / "flexportd"
    owner = home(environ)
    return Path(system) / "flexportd" if owner is None else owner / in_home / "flexportd"
