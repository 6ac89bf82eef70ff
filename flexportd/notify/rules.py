"""The compiled rules of notifications: which messages they match, and where and when to send them."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar
from zoneinfo import ZoneInfo

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import SandboxedEnvironment

from flexportd.core.changes.topics import ALL_TOPICS, Patterns, parse_patterns
from flexportd.errors import ConfigError, InvalidError
from flexportd.notify.conditions import ConditionParser, ConditionPath, RuleCondition
from flexportd.notify.fields import rule_fields
from flexportd.notify.quiet_hours import DigestSchedule, QuietHours
from flexportd.settings import LoadedConfig, RuleSettings, Settings, format_value, suggest

_MAX_PROBLEMS = 100  # further problems are only counted
_LAST = 10**9  # the place of problems without a line

T = TypeVar("T")

Locate = Callable[[str, ConditionPath], tuple[str, int] | None]
"""The dotted key of a rule, and a path within its value -> the source of the value and its line; None if unknown."""


@dataclass(frozen=True)
class Rule:
    """One rule. `zone` is that of its digest, its quiet hours and its relative days."""

    name: str
    patterns: Patterns
    condition: RuleCondition
    channels: tuple[str, ...]
    zone: ZoneInfo
    digest: DigestSchedule | None = None
    quiet: QuietHours | None = None
    max_per_hour: int | None = None
    template: str | None = None
    subject: str | None = None
    is_enabled: bool = True
    is_shipped: bool = False
    """Whether it is one of the rules in config/notify.toml."""


class Rules:
    """All rules in their order, also those that are switched off. Immutable."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._enabled = tuple(rule for rule in self.rules if rule.is_enabled)
        self._for_topic = functools.lru_cache(maxsize=1000)(self._matching)

    def get(self, name: str) -> Rule | None:
        """The rule with a name, in any case; None if there is none."""
        return next((rule for rule in self.rules if rule.name.casefold() == name.strip().casefold()), None)

    def for_topic(self, topic: str) -> tuple[Rule, ...]:
        """The rules that are on and whose patterns match a topic; their conditions may not."""
        return self._for_topic(topic)

    def _matching(self, topic: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self._enabled if rule.patterns.match(topic))


def compile_rules(settings: Settings, locate: Locate = lambda _, __: None) -> Rules:
    """Compile the rules in force. Raises ConfigError with every problem of every rule, by line."""
    compiler = _Compiler(settings, locate)
    rules = [compiler.compile(number, rule) for number, rule in enumerate(settings.notify.active_rules)]
    compiler.check()
    return Rules(rules)


def check_rules(loaded: LoadedConfig) -> None:
    """Raise ConfigError with every problem of the rules, if notifications are configured."""
    if loaded.settings.notify.channels or loaded.settings.notify.rules:
        compile_rules(loaded.settings, loaded.locate)


class _Compiler:
    """Compiles rules and collects their problems."""

    def __init__(self, settings: Settings, locate: Locate) -> None:
        self._settings = settings
        self._locate = locate
        self._templates = SandboxedEnvironment()
        self._problems: list[tuple[int, str]] = []
        self._names: set[str] = set()

    def compile(self, number: int, rule: RuleSettings) -> Rule:
        """Compile one rule. What cannot be used is left out, and reported by `check`."""
        notify = self._settings.notify
        is_shipped = number >= len(notify.rules)
        problems = _RuleProblems(
            self, "" if is_shipped else f"notify.rules[{number}]", f"[[notify.rules]] {format_value(rule.name)}"
        )
        if rule.name.casefold() in self._names:
            problems.add("name", "another rule has the same name")
        self._names.add(rule.name.casefold())
        patterns = _patterns(rule, problems)
        return Rule(
            name=rule.name,
            patterns=patterns,
            condition=_condition(rule, patterns, problems),
            channels=_channels(rule, tuple(notify.channels), problems),
            zone=ZoneInfo(rule.timezone or self._settings.notify_timezone),
            digest=problems.parse("digest", rule.digest, DigestSchedule.parse),
            quiet=problems.parse("quiet", rule.quiet, QuietHours.parse),
            max_per_hour=rule.max_per_hour,
            template=self._template("template", rule.template, problems),
            subject=self._template("subject", rule.subject, problems),
            is_enabled=rule.enabled,
            is_shipped=is_shipped,
        )

    def _template(self, key: str, text: str | None, problems: "_RuleProblems") -> str | None:
        if text is None:
            return None
        try:
            # Parsed only: a compiler would compute constants such as 9**9**9.
            tree = self._templates.parse(text)
        except TemplateSyntaxError as error:
            problems.add(key, f"line {error.lineno} of the template: {error.message}")
        except RecursionError:
            problems.add(key, "the template is nested too deeply")
        else:
            for node in tree.find_all((nodes.Filter, nodes.Test)):
                known = self._templates.filters if isinstance(node, nodes.Filter) else self._templates.tests
                if node.name not in known:
                    what = f"there is no {type(node).__name__.lower()} {format_value(node.name)}"
                    problems.add(key, f"line {node.lineno} of the template: {what}")
        return text

    def add(self, key: str, path: ConditionPath, sentence: str) -> None:
        """Add a problem at a key of a rule."""
        source, line = (self._locate(key, path) if key else None) or ("", _LAST)
        self._problems.append((line, f"{source}: {sentence}" if source else sentence))

    def check(self) -> None:
        """Raise ConfigError with the problems by line, if any."""
        if self._problems:
            ordered = sorted(self._problems, key=lambda problem: problem[0])
            sentences = list(dict.fromkeys(sentence for _, sentence in ordered))
            more = len(sentences) - _MAX_PROBLEMS
            raise ConfigError(sentences[:_MAX_PROBLEMS] + ([f"and {more} more problems"] if more > 0 else []))


@dataclass(frozen=True)
class _RuleProblems:
    """Adds the problems of one rule; `dotted` is empty for a shipped one, which is in no file of the user."""

    compiler: _Compiler
    dotted: str
    label: str

    def add(self, key: str, text: str, path: ConditionPath = ()) -> None:
        """Add a problem of a key; `path` leads to a part of its value."""
        place = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path)
        dotted = f"{self.dotted}.{key}" if self.dotted else ""
        self.compiler.add(dotted, path, f"{self.label} {key}{place}: {text}")

    def parse(self, key: str, text: str | None, parse: Callable[[str], T]) -> T | None:
        """A parsed value; None if it is not set, or invalid."""
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.add(key, f"found {format_value(text)}; {error}")
            return None


def _patterns(rule: RuleSettings, problems: _RuleProblems) -> Patterns:
    parsed: list[str] = []
    for text in rule.on:
        try:
            parsed += parse_patterns("on", text).patterns
        except InvalidError as error:
            found, _, topics = str(error).partition("; there are ")
            hint = "" if "did you mean" in found else f"; there are {topics}"
            problems.add("on", f"found {found.removeprefix('on holds ').removeprefix('on has ')}{hint}")
    return Patterns(tuple(dict.fromkeys(parsed)))


def _condition(rule: RuleSettings, patterns: Patterns, problems: _RuleProblems) -> RuleCondition:
    # Without a valid pattern, no field would be known: each would be a problem of its own.
    parser = ConditionParser(rule_fields(patterns if patterns.patterns else ALL_TOPICS))
    condition = parser.parse(rule.when)
    for path, text in parser.problems:
        problems.add("when", text, path)
    return condition


def _channels(rule: RuleSettings, known: Sequence[str], problems: _RuleProblems) -> tuple[str, ...]:
    for name in _unknown(rule.channels, known):
        hint = suggest(name, known, knows="channels are") if known else "no channel is configured"
        problems.add("channels", f"unknown channel {format_value(name)}; {hint}")
    return tuple(dict.fromkeys(rule.channels)) or tuple(known)


def _unknown(names: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    return (name for name in dict.fromkeys(names) if name not in known)
