"""Documents generated from the settings: docs/configuration.md, the example file, and what `flexportd init` writes."""

import textwrap
from collections.abc import Iterator, Mapping
from importlib import resources

from flexportd.errors import ConfigError
from flexportd.settings.defaults import profile, profile_names
from flexportd.settings.entries import variable
from flexportd.settings.errors import GivenValues, Problems, SourcedValue
from flexportd.settings.loader import validate
from flexportd.settings.schema import KeySpec, key_specs, secret_files, section_models
from flexportd.settings.sources import parse_variable
from flexportd.settings.value_types import suggest, toml_value

_EXAMPLE_HEAD = """\
# Configuration of flexportd. Check it with: flexportd config check
#
# This file lists every key. "#key = value" shows the default, or a sample if there is none: remove the # to change it.
# Each key can also be set in the environment, such as {variable}; each secret also in a file
# (key_file = "/path") or a systemd credential. See docs/configuration.md.
"""
# Keys without a usable default. The placeholder is too short to be accepted: left unchanged, it cannot become a secret
# that everyone knows.
_MUST_SET: Mapping[str, object] = {"webhook.secrets": ["CHANGE-ME"]}


def render_docs() -> str:
    """The text of docs/configuration.md."""
    template = resources.files("flexportd.settings").joinpath("configuration.md").read_text("utf-8")
    profiles = [(name, profile(name)) for name in profile_names()]
    return template.format(
        sections="\n".join(_section(name) for name in section_models()),
        secrets=", ".join(f"`{dotted}`" for dotted in secret_files().values()),
        profiles="\n".join(
            f"| `{name}` | {each.base_url} | {each.token_url} | {each.audience} |" for name, each in profiles
        ),
    )


def render_example() -> str:
    """The text of flexportd.toml.example."""
    return _render_toml(_MUST_SET)


def render_initial(values: Mapping[str, str]) -> str:
    """The example file with some dotted keys set; the values are written as in environment variables.

    Keys may also be `section.secret_file`. Raises ConfigError for an unknown key or an invalid value, so that the
    result can be loaded.
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
    validate(GivenValues(given, key_specs()), Problems())
    return _render_toml(typed)


def _section(name: str) -> str:
    rows = "\n".join(_row(spec) for spec in key_specs().values() if spec.section == name)
    return f"## `[{name}]`\n\n{_doc(name)}\n\n| key | default | meaning | reload |\n|---|---|---|---|\n{rows}\n"


def _row(spec: KeySpec) -> str:
    meaning = f"{spec.description} {_type_sentence(spec)}.{' Secret.' if spec.value_type.secret else ''}"
    cells = (f"`{spec.name}`", spec.default_text, meaning, "yes" if spec.reloadable else "no")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _render_toml(values: Mapping[str, object]) -> str:
    lines = [_EXAMPLE_HEAD.format(variable=variable("log.level"))]
    for name in section_models():
        lines += [f"[{name}]", *_comment(_doc(name)), ""]
        for spec in key_specs().values():
            if spec.section == name:
                lines += [*_key_lines(spec, values), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _key_lines(spec: KeySpec, values: Mapping[str, object]) -> Iterator[str]:
    yield from _comment(spec.description)
    yield from _comment(f"{_type_sentence(spec)}; default: {spec.default_text}.")
    yield _assignment(spec.dotted, values, spec.extra.get("sample", spec.field.default))
    if spec.value_type.secret:
        yield _assignment(f"{spec.dotted}_file", values, f"/etc/flexportd/{spec.section}_{spec.name}")


def _assignment(dotted: str, values: Mapping[str, object], sample: object) -> str:
    mark = "" if dotted in values else "#"
    return f"{mark}{dotted.partition('.')[2]} = {toml_value(values.get(dotted, sample))}"


def _doc(section: str) -> str:
    return (section_models()[section].__doc__ or "").strip()


def _type_sentence(spec: KeySpec) -> str:
    return spec.type_text[0].upper() + spec.type_text[1:]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
