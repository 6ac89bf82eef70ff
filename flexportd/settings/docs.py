"""Documents generated from the settings: docs/configuration.md, the example file, and what `flexportd init` writes."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import resources

from pydantic import BaseModel

from flexportd.errors import ConfigError
from flexportd.settings.defaults import profile, profile_names
from flexportd.settings.entries import variable
from flexportd.settings.errors import GivenValues, Problems, SourcedValue
from flexportd.settings.loader import validate
from flexportd.settings.notify import CHANNEL_MODELS, RuleSettings
from flexportd.settings.schema import (
    CHANNELS,
    RULES,
    KeySpec,
    channel_specs,
    key_specs,
    rule_specs,
    secret_files,
    section_models,
)
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
_SAMPLE_NAMES = {"email": "team", "slack": "ops", "webhook": "erp", "apprise": "phone"}
_ANY_NAME = "NAME"
_NOTIFY = CHANNELS.partition(".")[0]


def render_docs() -> str:
    """The text of docs/configuration.md."""
    template = resources.files("flexportd.settings").joinpath("configuration.md").read_text("utf-8")
    profiles = [(name, profile(name)) for name in profile_names()]
    return template.format(
        sections="\n".join(_sections()),
        secrets=", ".join(f"`{dotted}`" for dotted in (*secret_files().values(), *_channel_secrets())),
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


def _sections() -> Iterator[str]:
    for name, model in section_models().items():
        yield _section(f"`[{name}]`", model, [spec for spec in key_specs().values() if spec.section == name])
        if name == _NOTIFY:
            for kind, channel in CHANNEL_MODELS.items():
                heading = f"`[{CHANNELS}.{_ANY_NAME}]` of the type {kind}"
                yield _section(heading, channel, channel_specs(kind).values())
            yield _section(f"`[[{RULES}]]`", RuleSettings, rule_specs().values())


def _channel_secrets() -> Iterator[str]:
    for kind in CHANNEL_MODELS:
        for spec in channel_specs(kind).values():
            if spec.value_type.secret:
                yield f"{CHANNELS}.{_ANY_NAME}.{spec.name}"


def _section(heading: str, model: type[BaseModel], specs: Iterable[KeySpec]) -> str:
    rows = "\n".join(map(_row, specs))
    return f"## {heading}\n\n{_doc(model)}\n\n| key | default | meaning | reload |\n|---|---|---|---|\n{rows}\n"


def _row(spec: KeySpec) -> str:
    meaning = f"{spec.description} {_type_sentence(spec)}.{' Secret.' if spec.value_type.secret else ''}"
    cells = (f"`{spec.name}`", spec.default_text, meaning, "yes" if spec.reloadable else "no")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _render_toml(values: Mapping[str, object]) -> str:
    lines = [_EXAMPLE_HEAD.format(variable=variable("log.level"))]
    for name, model in section_models().items():
        lines += [f"[{name}]", *_comment(_doc(model)), ""]
        for spec in key_specs().values():
            if spec.section == name:
                lines += [*_key_lines(spec, values), ""]
        if name == _NOTIFY:
            lines += _entry_lines()
    return "\n".join(lines).rstrip("\n") + "\n"


def _entry_lines() -> Iterator[str]:
    """A channel of each type and a rule, as comments: without their tables they would be keys of another one."""
    for kind, model in CHANNEL_MODELS.items():
        yield from _comment(f"A channel of the type {kind}; there may be several, each with a name. {_doc(model)}")
        yield f"#[{CHANNELS}.{_SAMPLE_NAMES[kind]}]"
        for spec in channel_specs(kind).values():
            if spec.name == "type":
                yield from (f'#type = "{kind}"', "")
            else:
                yield from (*_key_lines(replace(spec, section=f"{CHANNELS}.{_SAMPLE_NAMES[kind]}"), {}), "")
    yield from _comment(f"A rule; there may be several. {_doc(RuleSettings)} See docs/notifications.md.")
    yield f"#[[{RULES}]]"
    for spec in rule_specs().values():
        yield from (*_key_lines(spec, {}), "")


def _key_lines(spec: KeySpec, values: Mapping[str, object]) -> Iterator[str]:
    yield from _comment(spec.description)
    yield from _comment(f"{_type_sentence(spec)}; {_default_clause(spec)}.")
    mark = "" if spec.dotted in values else "#"
    yield f"{mark}{spec.name} = {toml_value(values.get(spec.dotted, spec.extra.get('sample', spec.field.default)))}"
    if spec.value_type.secret:
        by_file = f"{spec.dotted}_file"
        path = f"/etc/flexportd/{spec.section.replace('.', '_')}_{spec.name}"
        yield f"{'' if by_file in values else '#'}{spec.name}_file = {toml_value(values.get(by_file, path))}"


def _default_clause(spec: KeySpec) -> str:
    return spec.default_text if spec.is_required else f"default: {spec.default_text}"


def _doc(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip()


def _type_sentence(spec: KeySpec) -> str:
    return spec.type_text[0].upper() + spec.type_text[1:]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
