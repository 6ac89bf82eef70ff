"""Rules are compiled from the settings; every mistake is a sentence with the file, the line and the rule."""

import os
import re
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from flexportd.cli.main import run
from flexportd.core.changes.topics import ALL_TOPICS, TOPICS
from flexportd.errors import ConfigError
from flexportd.notify.conditions import ConditionParser
from flexportd.notify.fields import Facts, rule_fields
from flexportd.notify.rules import Rules, check_notifications, compile_rules
from flexportd.settings import Settings
from flexportd.settings.value_types import quote
from tests.unit.test_settings import Home

ROOT = Path(__file__).parents[2]
CHANNELS = '[notify.channels.ops]\ntype = "apprise"\nurl = "ntfy://x"\n[notify.channels.team]\ntype = "apprise"\nurl = "ntfy://y"\n'
DOCS = (ROOT / "docs/notifications.md").read_text("utf-8")


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def compiled(home: Home, text: str) -> Rules:
    loaded = home.load(text)
    return compile_rules(loaded.settings, loaded.locate)


def problems(home: Home, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compiled(home, text)
    return [problem.replace(str(home.file), "flexportd.toml") for problem in caught.value.problems]


def test_a_rule_has_everything_that_sending_needs(home):
    rules = compiled(
        home,
        f"""{CHANNELS}
[dashboard]
timezone = "Asia/Tokyo"
[[notify.rules]]
name = "ETA slips"
on = ["shipment.eta_changed", "milestone.*_delay, milestone.rolled"]
when = {{ days_later = 2, mode = "ocean" }}
channels = "team"
digest = "weekly mon 07:30"
quiet = "22:00-07:00"
timezone = "Europe/Berlin"
max_per_hour = 20
template = "{{{{ title }}}}"
[[notify.rules]]
name = "All"
on = "*"
[[notify.rules]]
name = "Off"
on = "*"
enabled = false
""",
    )
    slips = rules.get("eta slips")
    assert slips.patterns.patterns == ("shipment.eta_changed", "milestone.*_delay", "milestone.rolled")
    assert (slips.channels, slips.zone, slips.max_per_hour) == (("team",), ZoneInfo("Europe/Berlin"), 20)
    assert (str(slips.digest), str(slips.quiet), slips.template) == ("weekly mon 07:30", "22:00-07:00", "{{ title }}")
    message = {"topic": "shipment.eta_changed", "days_later": 3}
    assert slips.condition.evaluate(Facts(message, {"mode": "ocean"}), date(2026, 3, 1)).matched
    assert (rules.get("All").channels, rules.get("All").zone) == (("ops", "team"), ZoneInfo("Asia/Tokyo"))
    assert [rule.name for rule in rules.for_topic("shipment.eta_changed")] == ["ETA slips", "All"]
    assert [rule.name for rule in rules.for_topic("milestone.some_delay")] == ["ETA slips", "All"]
    assert [rule.name for rule in rules.for_topic("system.dead_letter")] == ["All"]
    assert (rules.get("Off").is_enabled, rules.get("nothing")) == (False, None)
    assert not any(rule.is_shipped for rule in rules.rules)


def test_every_problem_of_every_rule_is_reported_with_its_line(home):
    assert problems(home, f"""{CHANNELS}[[notify.rules]]
name = "Slips"
on = ["shipment.eta_chnged", "zzz"]
when = {{ days_later = "2" }}
channels = ["opps"]
digest = "dayly 07:30"
quiet = "22:00"
template = \"\"\"
line one
{{% if %}}
\"\"\"
subject = "{{{{ title | uper }}}}"
[[notify.rules]]
name = "slips"
on = "shipment.*"
[notify.rules.when]
days_latr = 2
[[notify.rules.when.any]]
mode = "air"
[[notify.rules.when.any]]
mode = "sea"
[[notify.rules]]
name = "Off"
on = "invoice.payed"
enabled = false
""") == [
        ("flexportd.toml:9: [[notify.rules]] \"Slips\" on: found 'shipment.eta_chnged', which no topic matches; did you mean "
        "shipment.eta_changed?"),
        "flexportd.toml:9: [[notify.rules]] \"Slips\" on: found 'zzz', which no topic matches; there are " + heads(),
        'flexportd.toml:10: [[notify.rules]] "Slips" when.days_later: found "2"; expected a number',
        'flexportd.toml:11: [[notify.rules]] "Slips" channels: unknown channel "opps"; did you mean ops?',
        ('flexportd.toml:12: [[notify.rules]] "Slips" digest: found "dayly 07:30"; expected "daily 07:30", or a weekday as '
        'in "weekly mon 07:30"'),
        ('flexportd.toml:13: [[notify.rules]] "Slips" quiet: found "22:00"; expected two different times such as '
        '"22:00-07:00"'),
        ("flexportd.toml:14: [[notify.rules]] \"Slips\" template: line 2 of the template: Expected an expression, got 'end "
        "of statement block'"),
        'flexportd.toml:18: [[notify.rules]] "Slips" subject: line 1 of the template: No filter named \'uper\'.',
        'flexportd.toml:20: [[notify.rules]] "slips" name: another rule has the same name',
        'flexportd.toml:23: [[notify.rules]] "slips" when.days_latr: unknown field; did you mean days_later?',
        ('flexportd.toml:27: [[notify.rules]] "slips" when.any[2].mode: found "sea"; expected one of air, barge, ocean, '
        'ocean_air, rail, truck, truck_intl, unknown_transportation, warehouse_storage; write "sea*" for a value that '
        "Flexport has added since"),
        ("flexportd.toml:30: [[notify.rules]] \"Off\" on: found 'invoice.payed', which no topic matches; did you mean "
        "invoice.paid?"),
    ]  # fmt: skip


def heads() -> str:
    from flexportd.core.changes.topics import MILESTONES

    return ", ".join(dict.fromkeys(f"{topic.name.partition('.')[0]}.*" for topic in (*TOPICS, *MILESTONES)))


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('on = ""', "on: "),
        ('on = ","', "on: found 0 patterns"),
        ('on = "shipment"', "on: found 'shipment', which no topic matches"),
        ('on = "shipment.eta*"', "on: found 'shipment.eta*', which no topic matches"),
        ('on = "*"\nwhen = { zzzzzz = 1 }', "when.zzzzzz: unknown field"),
        ('on = "system.*"\nwhen = { mode = "air" }', "when.mode: unknown field"),
        ('on = "*"\nchannels = ["ops", ""]', "channels: "),
        ('on = "*"\ntemplate = "{% for %}"', "template: line 1"),
        ('on = "*"\nquiet = "07:00-07:00"', "quiet: found"),
        ('on = "*"\ndigest = "weekly 07:30"', "digest: found"),
    ],
)
def test_each_key_of_a_rule_is_checked(home, keys, problem):
    text = f'{CHANNELS}[[notify.rules]]\nname = "R"\n{keys}\n'
    with pytest.raises(ConfigError) as caught:
        compiled(home, text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ 9 ** 9 ** 9 ** 9 }}{{ 'a' * 999999999999 }}", None),
        ("{{ title | upper | nosuch }}", "line 1 of the template: No filter named 'nosuch'."),
        ("{% if title is nosuch %}{% endif %}", "line 1 of the template: there is no test 'nosuch'"),
        ("{{ titel }}", "there is no variable 'titel'; did you mean 'title'?"),
        ("{{ " + "(" * 5000 + "title" + ")" * 5000 + " }}", "nested too deeply"),
        ("{% include 'x' %}", None),
    ],
)
def test_a_template_is_checked_without_computing_it(home, template, problem):
    text = f'{CHANNELS}[[notify.rules]]\nname = "R"\non = "*"\ntemplate = {quote(template)}\n'
    if problem is None:
        assert compiled(home, text).get("R").template == template
    else:
        (only,) = problems(home, text)
        assert problem in only


def test_thousands_of_problems_are_counted_and_take_no_minute(home):
    rules = "".join(
        f'[[notify.rules]]\nname = "R{number}"\non = "shipment.*"\n[notify.rules.when]\n'
        + "".join(f"days_latr{each} = 1\n" for each in range(100))
        for number in range(200)
    )
    found = problems(home, CHANNELS + rules)
    assert (len(found), found[-1]) == (101, "and 19900 more problems")


def test_a_rule_about_a_channel_that_no_file_has_says_so(home):
    (only,) = problems(home, '[[notify.rules]]\nname = "R"\non = "*"\nchannels = "ops"\n')
    assert only.endswith('channels: unknown channel "ops"; no channel is configured')


def test_config_check_refuses_a_rule_that_cannot_work_and_accepts_one_that_can(home, capsys, monkeypatch):
    for name in [name for name in os.environ if name.startswith("FLEXPORTD_")]:
        monkeypatch.delenv(name)
    storage = f'[storage]\ndata_dir = "{home.folder / "data"}"\ncache_dir = "{home.folder / "cache"}"\n{CHANNELS}'
    rule = '[[notify.rules]]\nname = "Slips"\non = "shipment.eta_changed"\nwhen = { days_latr = 2 }\n'
    home.file.write_text(storage + rule)
    assert run(["--config", str(home.file), "config", "check"]) == 2
    line = (storage + rule).count("\n")
    assert f'{home.file}:{line}: [[notify.rules]] "Slips" when.days_latr: unknown field; did you mean days_later?' in (
        capsys.readouterr().err
    )
    home.file.write_text(storage + rule.replace("days_latr", "days_later"))
    assert run(["--config", str(home.file), "config", "check"]) == 0
    assert "OK: " in capsys.readouterr().out


def test_the_shipped_rules_can_be_used(home):
    loaded = home.load(CHANNELS)
    check_notifications(loaded)
    rules = compile_rules(loaded.settings, loaded.locate).rules
    assert len(rules) == 9
    assert all(rule.is_shipped and rule.is_enabled and rule.channels == ("ops", "team") for rule in rules)


def test_without_rules_nothing_matches(tmp_path):
    rules = compile_rules(Settings.for_tests(tmp_path, **{"notify.default_rules": False}))
    assert rules.rules == ()
    assert rules.for_topic("shipment.created") == ()


# The documentation


@pytest.mark.parametrize("line", re.findall(r"^when = .*$", DOCS, re.MULTILINE))
def test_each_documented_condition_can_be_used(line):
    import tomllib

    parser = ConditionParser(rule_fields(ALL_TOPICS))
    parser.parse(tomllib.loads(line)["when"])
    assert parser.problems == []


@pytest.mark.parametrize(
    "block", [text for text in re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL) if "[notify" in text]
)
def test_each_documented_configuration_can_be_used(home, block):
    compiled(home, block.replace("default_rules = true", "default_rules = false"))


def test_each_documented_field_exists():
    table = DOCS.partition("### Fields")[2].partition("\n\nA name that")[0]
    names = {
        name
        for row in re.findall(r"^\| [^|]+ \|(.*)\|$", table, re.MULTILINE)
        for name in re.findall(r"`([a-z_]+)`", row)
    }
    assert len(names) > 30
    assert names <= set(rule_fields(ALL_TOPICS)) | {"difference", "old_total", "new_total", "old_currency", "currency"}
