"""Loads the settings from file, environment and credentials, or raises one error with all problems."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from flexportd.settings import defaults
from flexportd.settings.addresses import environment_note, is_loopback
from flexportd.settings.config_file import ConfigFile, KeyLines, find_file, read_file
from flexportd.settings.errors import DEFAULT, GivenValues, Problems, SourcedValue, explain, refuse_stray_path
from flexportd.settings.guessable import weakness
from flexportd.settings.notify import EmailChannelSettings, WebhookChannelSettings
from flexportd.settings.schema import CHANNELS, RULES, ConfigSchema, key_specs, value_of
from flexportd.settings.sections import Settings, nest
from flexportd.settings.sources import Sources
from flexportd.settings.stray_characters import stray_characters
from flexportd.settings.value_types import quote


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """Settings, the origin of each key, and notes for the operator."""

    settings: Settings
    path: Path | None
    origins: Mapping[str, str]
    notes: tuple[str, ...]
    lines: KeyLines | None = None

    def locate(self, dotted: str, path: tuple[str | int, ...] = ()) -> tuple[str, int] | None:
        """The file and line of a key, or of a part of its value; None without a file.

        Args:
            dotted: Such as `notify.rules[0].when`.
            path: Names and places within the value: `("any", 1, "mode")`.
        """
        parts = dotted.split(".")
        for part in path:
            if isinstance(part, int):
                parts[-1] += f"[{part}]"
            else:
                parts.append(part)
        return None if self.lines is None else self.lines.source(tuple(parts))


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> LoadedConfig:
    """Read the configuration. Raises ConfigError with all problems.

    Args:
        path: The file to read; by default the usual places are searched, and without any file the defaults apply.
        environ: Environment variables; by default those of the process.
    """
    environ = os.environ if environ is None else environ
    file = find_file(path, environ)
    document = None if file is None else read_file(file)
    problems = Problems()
    sources = Sources(environ, document, problems)
    given = sources.collect()
    from_environ = _environment_defaults(environ)
    for dotted in from_environ.keys() - given.keys():
        refuse_stray_path(key_specs()[dotted], from_environ[dotted], problems)
    values = GivenValues(from_environ | given, sources.schema.specs, sources.entries, sources.failed)
    settings = validate(values, problems)
    exposures = () if settings.keys_required else settings.server.exposures
    return LoadedConfig(
        settings=settings,
        path=document.path if document else None,
        origins=_origins(settings, from_environ | given, sources.schema.specs),
        lines=document.lines if document else None,
        notes=(
            *sources.notes,
            *_permission_notes(sources, document),
            *([open_access_warning(exposures)] if exposures else []),
            *_encryption_warnings(settings),
            *_notify_notes(settings),
            *_write_notes(settings),
            *filter(None, [environment_note(settings.flexport.proxy, environ)]),
        ),
    )


def validate(given: GivenValues, problems: Problems) -> Settings:
    """Build settings. Raises ConfigError with these problems and those of the values."""
    values: dict[str, object] = {dotted: sourced.value for dotted, sourced in given.values.items()}
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
        (dotted, spec.display(value_of(loaded.settings, spec)), loaded.origins[dotted])
        for dotted, spec in ConfigSchema.of(loaded.settings).specs.items()
    ]


def _environment_defaults(environ: Mapping[str, str]) -> dict[str, SourcedValue]:
    result = {
        "storage.data_dir": _folder(defaults.data_folder(environ), environ, "STATE_DIRECTORY"),
        "storage.cache_dir": _folder(defaults.cache_folder(environ), environ, "CACHE_DIRECTORY"),
    }
    if environ.get("RUNTIME_DIRECTORY"):
        socket = defaults.control_socket(environ, Path("/"))
        result["storage.control_socket"] = _folder(socket, environ, "RUNTIME_DIRECTORY")
    return result


def _folder(path: Path, environ: Mapping[str, str], name: str) -> SourcedValue:
    if not environ.get(name):
        return SourcedValue(path, DEFAULT)
    return SourcedValue(path, f"environment {name}", stray=stray_characters(environ[name]))


def _origins(settings: Settings, given: Mapping[str, SourcedValue], specs: Iterable[str]) -> dict[str, str]:
    from_profile = dict.fromkeys(
        ("flexport.base_url", "flexport.token_url", "flexport.audience"), f"profile {settings.flexport.environment}"
    )
    sources = {dotted: sourced.source for dotted, sourced in given.items()}
    return dict.fromkeys(specs, DEFAULT) | from_profile | sources


def _permission_notes(sources: Sources, document: ConfigFile | None) -> list[str]:
    if document and document.readable_by_others and sources.inline_secrets:
        return [f"{document.label} contains secrets and other users can read it; run: chmod 600 {document.label}"]
    return []


def _encryption_warnings(settings: Settings) -> list[str]:
    flexport = settings.flexport
    if flexport.api_key is None and flexport.client_secret is None:
        return []
    urls = {"base_url": urlsplit(flexport.base_url)}
    if flexport.api_key is None:
        urls["token_url"] = urlsplit(flexport.token_url)
    return [
        f"[flexport] {name} is not https: the Flexport credentials are sent unencrypted"
        for name, url in urls.items()
        if url.scheme == "http" and not is_loopback(url.hostname or "")
    ]


def _notify_notes(settings: Settings) -> Iterator[str]:
    notify = settings.notify
    for name, channel in notify.channels.items():
        place = f"[{CHANNELS}.{name}]"
        if isinstance(channel, EmailChannelSettings):
            if channel.smtp_password and not channel.is_encrypted and not is_loopback(channel.smtp_host):
                yield f"{place} neither starttls nor tls is true: smtp_password is sent unencrypted"
            for address in (channel.sender, *channel.to):
                if address.needs_smtputf8:
                    yield f"{place} {quote(address.address)} can be used only if the mail server supports SMTPUTF8"
        elif isinstance(channel, WebhookChannelSettings):
            reasons = (weakness(secret.get_secret_value()) for secret in channel.secret)
            yield from (f"{place} a secret is easy to guess: {reason}" for reason in reasons if reason)
    if notify.rules and not notify.channels:
        yield f"[[{RULES}]] has no effect: no [{CHANNELS}.NAME] is configured"


def _write_notes(settings: Settings) -> Iterator[str]:
    writes = settings.writes
    approval = [name for name in writes.approval if name in writes.allow] if writes.enabled else []
    if approval and not settings.keys_required:
        yield (
            f"[writes] approval of {', '.join(approval)} protects nothing without keys: anyone can name a "
            "second person; set [api] require_key = true"
        )


def open_access_warning(exposures: Sequence[str]) -> str:
    """The warning that other machines can connect without a key."""
    return (
        "[api] require_key is false: everyone who can connect can read and administer, and connections are possible "
        f"from outside this machine ([server] {', '.join(exposures)})"
    )
