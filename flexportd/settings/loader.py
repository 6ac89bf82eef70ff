"""From file, environment and credentials to settings, or to one error with everything that is wrong."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from flexportd.settings import paths
from flexportd.settings.addresses import is_loopback
from flexportd.settings.config_file import ConfigFile, find_file, read_file
from flexportd.settings.errors import DEFAULT, Problems, SourcedValue, explain, refuse_stray_path
from flexportd.settings.model import Settings, nest
from flexportd.settings.proxies import environment_note
from flexportd.settings.schema import key_specs, value_of
from flexportd.settings.sources import Sources
from flexportd.settings.stray_characters import stray_characters


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """Settings, where each of them came from, and what their owner should know."""

    settings: Settings
    path: Path | None
    origins: Mapping[str, str]
    notes: tuple[str, ...]


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> LoadedConfig:
    """Read the configuration. Raises ConfigError that holds every problem found.

    Args:
        path: The file to read; without one the usual places are searched, and none there means defaults.
        environ: Environment variables, those of the process unless given.
    """
    environ = os.environ if environ is None else environ
    place = find_file(path, environ)
    document = None if place is None else read_file(place)
    problems = Problems()
    sources = Sources(environ, document, problems)
    given = sources.collect()
    placed = _environment_defaults(environ)
    for dotted in placed.keys() - given.keys():
        refuse_stray_path(key_specs()[dotted], placed[dotted], problems)
    settings = validate(placed | given, problems)
    return LoadedConfig(
        settings=settings,
        path=document.path if document else None,
        origins=_origins(settings, environ, given),
        notes=(
            *sources.notes,
            *_notes(sources, document),
            *_auth_warnings(settings),
            *_encryption_warnings(settings),
            *filter(None, [environment_note(settings.flexport.proxy, environ)]),
        ),
    )


def validate(given: Mapping[str, SourcedValue], problems: Problems) -> Settings:
    """Build settings. Raises ConfigError with these problems and all that is wrong with the values."""
    values: dict[str, object] = {dotted: found.value for dotted, found in given.items()}
    settings = None
    try:
        settings = Settings.model_validate(nest(values))
    except ValidationError as error:
        explain(error, given, problems)
    problems.check()
    if settings is None:
        raise AssertionError("invalid settings without a problem")
    return settings


def describe_values(loaded: LoadedConfig) -> list[tuple[str, str, str]]:
    """Every key with its value for people and its origin; secrets are `***`."""
    return [
        (dotted, entry.display(value_of(loaded.settings, entry)), loaded.origins[dotted])
        for dotted, entry in key_specs().items()
    ]


def _environment_defaults(environ: Mapping[str, str]) -> dict[str, SourcedValue]:
    """The defaults that depend on the environment we were handed."""
    found = {
        "storage.data_dir": _folder(paths.data_folder(environ), environ, "STATE_DIRECTORY"),
        "storage.cache_dir": _folder(paths.cache_folder(environ), environ, "CACHE_DIRECTORY"),
    }
    if environ.get("RUNTIME_DIRECTORY"):
        socket = paths.control_socket(environ, Path("/"))
        found["storage.control_socket"] = _folder(socket, environ, "RUNTIME_DIRECTORY")
    return found


def _folder(path: Path, environ: Mapping[str, str], name: str) -> SourcedValue:
    if not environ.get(name):
        return SourcedValue(path, DEFAULT)
    return SourcedValue(path, f"environment {name}", stray=stray_characters(environ[name]))


def _origins(settings: Settings, environ: Mapping[str, str], given: dict[str, SourcedValue]) -> dict[str, str]:
    profiled = dict.fromkeys(
        ("flexport.base_url", "flexport.token_url", "flexport.audience"), f"profile {settings.flexport.environment}"
    )
    known = {dotted: found.source for dotted, found in (_environment_defaults(environ) | given).items()}
    return dict.fromkeys(key_specs(), DEFAULT) | profiled | known


def _notes(sources: Sources, document: ConfigFile | None) -> list[str]:
    if document and document.readable_by_others and sources.inline_secrets:
        return [f"{document.label} contains secrets and other users can read it; run: chmod 600 {document.label}"]
    return []


def _auth_warnings(settings: Settings) -> list[str]:
    if settings.keys_required or not settings.exposures:
        return []
    return [open_access_warning(settings.exposures)]


def _encryption_warnings(settings: Settings) -> list[str]:
    """Where credentials would cross a network in the clear."""
    flexport = settings.flexport
    if flexport.api_key is None and flexport.client_secret is None:
        return []
    used = ["base_url"] if flexport.api_key is not None else ["base_url", "token_url"]
    found = [name for name in used if _is_in_the_clear(getattr(flexport, name))]
    return [f"[flexport] {name} is not https: the Flexport credentials are sent unencrypted" for name in found]


def _is_in_the_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def open_access_warning(exposures: Sequence[str]) -> str:
    """The warning where others can connect and `require_key = false` asks nobody for a key."""
    return (
        "[api] require_key is false: everyone who can connect can read and administer, and connections are possible "
        f"from outside this machine ([server] {', '.join(exposures)})"
    )
