"""The commented configuration file: as an example, and as `flexportd init` writes it."""

import textwrap
from collections.abc import Iterator, Mapping

from flexportd.errors import ConfigError
from flexportd.settings.did_you_mean import suggest
from flexportd.settings.errors import Problems, SourcedValue
from flexportd.settings.loader import validate
from flexportd.settings.schema import KeySpec, default_text, describe, key_specs, secret_files
from flexportd.settings.sources import parse_variable, variable
from flexportd.settings.value_types import toml_value

_HEAD = """\
# Configuration of flexportd. Check it with: flexportd config check
#
# This file lists every key. "#key = value" shows the default, or a sample if there is none: remove the # to change it.
# Each key can also be set in the environment, such as {variable}; each secret also in a file
# (key_file = "/path") or a systemd credential. See docs/configuration.md.
"""
# What nobody can choose for the user. The placeholder is too short to be accepted: left alone, it cannot become a
# secret that everyone knows.
_MUST_SET: Mapping[str, object] = {"webhook.secrets": ["CHANGE-ME"]}


def render_example() -> str:
    """The text of flexportd.toml.example."""
    return _rendered(_MUST_SET)


def render_initial(values: Mapping[str, str]) -> str:
    """The commented file with some dotted keys set, values written as in environment variables.

    Keys may be `section.secret_file`, too. Raises ConfigError for a key that does not exist or a value that does not
    fit, so that what was rendered also loads.
    """
    known = (*key_specs(), *secret_files())
    unknown = [f"{dotted}: unknown key; {suggest(dotted, known)}" for dotted in values if dotted not in known]
    if unknown:
        raise ConfigError(unknown)
    typed = {
        dotted: parse_variable(key_specs()[dotted], text) if dotted in key_specs() else text
        for dotted, text in values.items()
    }
    given = {dotted: SourcedValue(value, dotted) for dotted, value in typed.items() if dotted in key_specs()}
    validate(given, Problems())
    return _rendered(typed)


def _rendered(chosen: Mapping[str, object]) -> str:
    lines = [_HEAD.format(variable=variable("log.level"))]
    for section in describe():
        lines += [f"[{section.name}]", *_comment(section.doc), ""]
        for key in section.keys:
            lines += [*_key_lines(key_specs()[f"{section.name}.{key.name}"], chosen), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _key_lines(entry: KeySpec, chosen: Mapping[str, object]) -> Iterator[str]:
    yield from _comment(str(entry.field.description))
    shape = entry.type_text[0].upper() + entry.type_text[1:]
    yield from _comment(f"{shape}; default: {default_text(entry)}.")
    yield _assignment(entry.dotted, chosen, _sample(entry))
    if entry.value_type.secret:
        by_file = f"{entry.dotted}_file"
        yield _assignment(by_file, chosen, f"/etc/flexportd/{entry.section}_{entry.name}")


def _assignment(dotted: str, chosen: Mapping[str, object], otherwise: object) -> str:
    mark = "" if dotted in chosen else "#"
    return f"{mark}{dotted.partition('.')[2]} = {toml_value(chosen.get(dotted, otherwise))}"


def _sample(entry: KeySpec) -> object:
    if "sample" in entry.extra:
        return entry.extra["sample"]
    return entry.field.default


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
