"""Channels and rules in the configuration: read, checked, shown and reloaded like all other keys."""

import base64
import tomllib
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.settings import Settings, changed_keys, describe_values
from flexportd.settings.config_file import key_lines
from flexportd.settings.mail_address import parse_mail_address
from flexportd.settings.notify import shipped_rules
from tests.unit.test_settings import Home

SECRET = "whsec_" + base64.b64encode(bytes(range(7, 39))).decode()
TOKEN = "xoxb-1234-s3cretpart"
SLACK = "https://hooks.slack.com/services/T0/B0/s3cretpart"
EMAIL = '[notify.channels.team]\ntype = "email"\nto = "team@example.com"\nfrom = "fx@example.com"\nsmtp_host = "mail.example.com"\n'
WEBHOOK = f'[notify.channels.erp]\ntype = "webhook"\nsecret = "{SECRET}"\n'


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_the_configuration_of_the_issue_is_read(home):
    loaded = home.load(f"""
[notify.channels.ops]
type = "slack"
webhook_url = "{SLACK}"
[notify.channels.team]
type = "email"
to = ["team@example.com"]
from = "flexportd@example.com"
smtp_host = "mail.example.com"
[notify.channels.erp]
type = "webhook"
url = "https://erp.example.com/hooks"
secret = "{SECRET}"
[notify.channels.phone]
type = "apprise"
url = "ntfys://ntfy.sh/s3cretpart"
[[notify.rules]]
name = "ETA slips"
on = "shipment.eta_changed"
when = {{ days_later = 2 }}
channels = ["ops", "team"]
digest = "daily 07:30"
""")
    notify = loaded.settings.notify
    assert list(notify.channels) == ["ops", "team", "erp", "phone"]
    team = notify.channels["team"]
    assert (team.smtp_port, team.starttls, team.tls, str(team.sender)) == (587, True, False, "flexportd@example.com")
    assert [address.address for address in team.to] == ["team@example.com"]
    (rule,) = notify.rules
    assert (rule.name, rule.on, rule.when) == ("ETA slips", ("shipment.eta_changed",), {"days_later": 2})
    assert notify.gather == timedelta(seconds=10)
    assert notify.active_rules == (rule,)
    rows = {dotted: (text, origin) for dotted, text, origin in describe_values(loaded)}
    assert rows["notify.channels.ops.webhook_url"] == ("***", f"{home.file}:4")
    assert rows["notify.channels.erp.url"] == ("https://erp.example.com/hooks", f"{home.file}:12")
    assert rows["notify.rules[0].when"] == ("{ days_later = 2 }", f"{home.file}:20")
    assert rows["notify.rules[0].quiet"] == ("not set", "default")
    assert "s3cretpart" not in str(rows) + repr(loaded)
    assert {SLACK, SECRET, "ntfys://ntfy.sh/s3cretpart"} <= set(loaded.settings.secrets)


def test_all_problems_of_channels_and_rules_are_reported_with_their_lines(home):
    text = f"""[notify.channels.ops]
type = "slak"
webhook_url = "{SLACK}"
[notify.channels.none]
to = "team@example.com"
[notify.channels.both]
type = "slack"
webhook_url = "{SLACK}"
bot_token = "{TOKEN}"
channel = "#x"
[notify.channels.team]
type = "email"
to = ["team@example.com", "bad"]
smtp_hots = "mail"
url = "https://example.com"
tls = true
starttls = true
smtp_password = "s3cretpart"
[notify.channels.Bad]
[notify.channel.x]
[[notify.rules]]
nam = "x"
on = "shipment.*"
[[notify.rules]]
name = "R"
on = "shipment.*"
whn = {{}}
max_per_hour = 0
[[notify.rules]]
"""
    problems = home.problems(text, FLEXPORTD_NOTIFY__CHANNELS__TEAM__SMTP_PORT="99999")
    assert problems == [
        'flexportd.toml:2: [notify.channels.ops] type: found "slak"; did you mean slack?',
        "flexportd.toml:4: [notify.channels.none] type: missing; expected one of email, slack, webhook, apprise",
        "flexportd.toml:10: [notify.channels.both] channel: set either webhook_url, or bot_token and channel, not both",
        "flexportd.toml:11: [notify.channels.team] from: missing; expected a mail address",
        "flexportd.toml:11: [notify.channels.team] smtp_host: missing; expected a host name or address",
        'flexportd.toml:13: [notify.channels.team] to: item 2: found "bad"; expected a mail address such as "team@example.com" or "Team <team@example.com>"',
        "flexportd.toml:14: [notify.channels.team] smtp_hots: unknown key for the type email; did you mean smtp_host?",
        "flexportd.toml:15: [notify.channels.team] url: unknown key for the type email; it belongs to the type webhook or apprise",
        "flexportd.toml:17: [notify.channels.team] starttls: starttls and tls exclude each other: set only one of them to true",
        "flexportd.toml:18: [notify.channels.team] smtp_password: requires smtp_user, which is missing",
        "flexportd.toml:19: [notify.channels.Bad]: expected a name of lower-case letters, digits, _ and -, at most 64, beginning with a letter or digit",
        "flexportd.toml:20: [notify] channel: unknown key; did you mean channels?",
        "flexportd.toml:21: [[notify.rules]] number 1 name: missing; expected text of at most 100 characters",
        "flexportd.toml:22: [[notify.rules]] number 1 nam: unknown key; did you mean name?",
        'flexportd.toml:27: [[notify.rules]] "R" whn: unknown key; did you mean when?',
        'flexportd.toml:28: [[notify.rules]] "R" max_per_hour: found 0; expected a whole number from 1 to 1000',
        "flexportd.toml:29: [[notify.rules]] number 3: found no keys; a rule needs name and on",
        "environment FLEXPORTD_NOTIFY__CHANNELS__TEAM__SMTP_PORT: found 99999; expected a whole number from 1 to 65535",
    ]


@pytest.mark.parametrize("host", ["ana:pw-4471@mail.example.com", "smtp://ana:pw-4471@mail.example.com"])
def test_a_password_in_the_wrong_place_is_not_repeated(home, host):
    [problem] = home.problems(EMAIL.replace("mail.example.com", host))
    assert "smtp_host" in problem
    assert "@mail.example.com" in problem
    assert "4471" not in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[notify.rules]\nname = 'x'", "[notify.rules]: found a table; write [[notify.rules]], with two brackets"),
        ("[notify]\nrules = [1]", "[[notify.rules]] number 1: found a value; expected a table of keys"),
        ("[notify]\nchannels = []", "[notify.channels]: found a list; expected a table of keys"),
        ("[[notify.channels.ops]]\ntype = 'slack'", "[notify.channels.ops]: found a list; expected a table of keys"),
        ("[notify.channels]\ntype = 'slack'", "[notify.channels.type]: found a value; expected a table of keys"),
        ("[notify.channels.'a.b']\ntype = 'slack'", '[notify.channels."a.b"]: expected a name of lower-case letters'),
        ("[notify.channels.ops]\ntype = 'slack'", "[notify.channels.ops] channel: missing: set either webhook_url, or bot"),
        ("[notify]\ngather = '11m'", '[notify] gather: found "11m"; expected a duration from 0s to 10m'),
        ("[notify]\ntimezone = 'x'", '[notify] timezone: found "x"; expected an IANA time zone'),
        ("[[notify.rules]]\nname = 'x'\non = []", '[[notify.rules]] "x" on: found a list; expected one or more topics'),
        ("[[notify.rules]]\nname = 'x'\non = 'a'\nwhen = 1", '[[notify.rules]] "x" when: found 1; expected a table of cond'),
        ("[[notify.rules]]\nname = 'a\\n'\non = 'a'\n[[notify.rules.when]]", "when: found a list; expected a table of cond"),
    ],
)  # fmt: skip
def test_a_misplaced_table_or_value_is_a_problem(home, text, problem):
    assert any(problem in found for found in home.problems(text))


@pytest.mark.parametrize(
    ("url", "allow", "problem"),
    [
        ("https://erp.example.com/hooks?key=s3cretpart", False, None),
        ("https://erp.example.com", False, None),
        ("http://erp.example.com/hooks", False, "https://"),
        ("http://erp.example.com/hooks", True, "https://"),
        ("http://10.1.2.3/hooks", True, None),
        ("http://erp:8080/hooks", True, None),
        ("http://[::1]:9/hooks", True, None),
        ("https://10.1.2.3/hooks", False, "requires allow_private = true"),
        ("https://localhost/hooks", False, "requires allow_private = true"),
        ("https://[::ffff:10.0.0.1]/hooks", False, "requires allow_private = true"),
        ("https://[64:ff9b::a00:1]/hooks", False, "requires allow_private = true"),
        ("https://169.254.169.254/latest", False, "requires allow_private = true"),
        ("https://127.1/hooks", True, "expected an http"),
        ("https://2130706433/hooks", True, "expected an http"),
        ("https://0x7f.1/hooks", True, "expected an http"),
        ("https://user:s3cretpart@erp.example.com/", False, "without user and password"),
        ("https://erp.example.com/#x", False, "expected an http"),
        ("ftp://erp.example.com/", False, "expected an http"),
        ("https://erp.example.com/a b", False, "expected an http"),
        ("https://erp.example.com:99999/", False, "expected an http"),
    ],
)
def test_the_target_of_a_webhook_is_public_and_encrypted_unless_allowed(home, url, allow, problem):
    text = f'{WEBHOOK}url = "{url}"\nallow_private = {str(allow).lower()}\n'
    if problem is None:
        loaded = home.load(text)
        assert loaded.settings.notify.channels["erp"].url == url
        assert "s3cretpart" not in str(describe_values(loaded))
        assert ("key=s3cretpart" in loaded.settings.secrets) == ("s3cretpart" in url)
    else:
        found = home.problem(text)
        assert problem in found
        assert "s3cretpart" not in found


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "secret-0123456789-0123456789", SECRET[6:], "whsec_" + base64.b64encode(b"x" * 23).decode(),
     "whsec_" + base64.b64encode(bytes(65)).decode(), SECRET + "!", [], [SECRET] * 6, [SECRET, "s3cretpart"], 7],
)  # fmt: skip
def test_a_signing_secret_is_24_to_64_bytes_in_base64(home, secret):
    found = home.problem(f'[notify.channels.erp]\ntype = "webhook"\nurl = "https://example.com"\nsecret = {secret!r}\n')
    assert "[notify.channels.erp] secret: " in found
    assert "s3cretpart" not in found
    assert "whsec_" not in found or "openssl" in found or "list of at most" in found


def test_a_secret_can_be_rotated_and_a_weak_one_is_noted(home):
    weak = "whsec_" + base64.b64encode(b"k" * 32).decode()
    loaded = home.load(f'{WEBHOOK.replace(repr(SECRET), "")}url = "https://example.com"\n'.replace(
        f'"{SECRET}"', f'["{SECRET}", "{weak}"]'))  # fmt: skip
    assert [one.get_secret_value() for one in loaded.settings.notify.channels["erp"].secret] == [SECRET, weak]
    assert any("[notify.channels.erp] a secret is easy to guess" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("given", "address", "name"),
    [
        ("team@example.com", "team@example.com", ""),
        ("Team <team@example.com>", "team@example.com", "Team"),
        ('"Team, Freight" <team@example.com>', "team@example.com", "Team, Freight"),
        ("a.b+c=d@Example.COM", "a.b+c=d@example.com", ""),
        ("j\u00f6rg@b\u00fccher.example", "j\u00f6rg@xn--bcher-kva.example", ""),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com", ""),
        ("root@localhost", "root@localhost", ""),
    ],
)
def test_a_mail_address_is_read(given, address, name):
    found = parse_mail_address(given)
    assert (found.address, found.name) == (address, name)
    assert parse_mail_address(str(found)) == found or "," in name


@pytest.mark.parametrize(
    "given",
    ["", "team", "@example.com", "team@", "a b@example.com", "team@example.com\r\nBcc: x@example.com", "a..b@example.com",
     ".a@example.com", "a@exa mple.com", "a" * 65 + "@example.com", "\u00f6" * 33 + "@example.com", "a@" + "b" * 64 + ".com",
     "a@" + ".".join(["b" * 60] * 5), "<a@example.com", "A <a@example.com> B", "N\nx <a@example.com>", "a@b@c.example",
     "N" * 201 + " <a@example.com>", "a@\u202eexample.com", "a\u00a0b@example.com", "a@-.com", "a@example.com.", 7, None],
)  # fmt: skip
def test_other_things_are_no_mail_address(given):
    with pytest.raises(ValueError, match=r"mail address|RFC 5321|at most"):
        parse_mail_address(given)


@settings(max_examples=200)
@given(st.text(max_size=30) | st.emails())
def test_any_text_is_an_address_without_control_characters_or_a_value_error(text):
    try:
        found = parse_mail_address(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017 (either outcome is right)
    else:
        assert found.address.isprintable()
        assert found.address.rpartition("@")[2].isascii()
        assert not {" ", "<", ">", ","} & set(found.address)


def test_the_tokens_of_secret_urls_are_redacted_alone_too(home):
    token = "aB3dE5fG7hJ9kL1mN3pQ5rS7"
    loaded = home.load(
        f'[notify.channels.ops]\ntype = "slack"\nwebhook_url = "https://hooks.slack.com/services/T0/B0/{token}"\n'
        f'[notify.channels.phone]\ntype = "apprise"\nurl = "tgram://1234:{token[::-1]}/chat"\n'
    )
    assert {token, token[::-1]} <= set(loaded.settings.secrets)
    assert not {"hooks.slack.com", "services", "https", "chat"} & set(loaded.settings.secrets)


def test_there_are_at_most_fifty_recipients(home):
    many = [f"a{number}@example.com" for number in range(51)]
    assert "to: found a list; expected from 1 to 50 mail addresses" in home.problem(
        EMAIL.replace('"team@example.com"', str(many))
    )


def test_tls_changes_the_defaults_of_port_and_starttls(home):
    team = home.load(f"{EMAIL}tls = true").settings.notify.channels["team"]
    assert (team.tls, team.starttls, team.smtp_port) == (True, False, 465)


@pytest.mark.parametrize(
    ("host", "more", "warned"),
    [("mail.example.com", "starttls = false", True), ("127.0.0.1", "starttls = false", False),
     ("localhost", "starttls = false", False), ("mail.example.com", "", False), ("10.0.0.1", "starttls = false", True),
     ("mail.example.com", "tls = true", False)],
)  # fmt: skip
def test_a_password_that_is_sent_unencrypted_is_noted(home, host, more, warned):
    text = EMAIL.replace("mail.example.com", host) + f'smtp_user = "u"\nsmtp_password = "s3cretpart"\n{more}'
    notes = " ".join(home.load(text).notes)
    assert ("smtp_password is sent unencrypted" in notes) == warned
    assert "s3cretpart" not in notes


def test_an_address_that_not_every_server_accepts_is_noted(home):
    notes = home.load(EMAIL.replace("team@example.com", "j\u00f6rg@example.com")).notes
    assert any("supports SMTPUTF8" in note for note in notes)


@pytest.mark.parametrize(
    ("keys", "is_valid"),
    [
        (f'webhook_url = "{SLACK}"', True),
        ('webhook_url = "http://127.0.0.1:9/hook"', True),
        ('webhook_url = "http://mattermost:8065/hooks/x"', True),
        ('webhook_url = "http://hooks.slack.com/services/x"', False),
        (f'bot_token = "{TOKEN}"\nchannel = "C012"', True),
        (f'bot_token = "{TOKEN}"', False),
        ('channel = "C012"', False),
        (f'bot_token = "{TOKEN}"\nchannel = "C012"\napi_url = "http://127.0.0.1:9/api"', True),
        (f'webhook_url = "{SLACK}"\nchannel = "C012"', False),
    ],
)
def test_slack_has_one_way_to_send(home, keys, is_valid):
    text = f'[notify.channels.ops]\ntype = "slack"\n{keys}\n'
    if is_valid:
        assert home.load(text).settings.notify.channels["ops"].api_url.endswith("/api/")
    else:
        assert "s3cretpart" not in home.problem(text)


@pytest.mark.parametrize("url", ["", "ntfy", "ntfy://", "ntfy://a b", "://x", "ntfy://a\\nb", [], 5])
def test_an_apprise_url_has_a_scheme(home, url):
    text = f'[notify.channels.phone]\ntype = "apprise"\nurl = {url if not isinstance(url, str) else chr(34) + url + chr(34)}'
    assert "[notify.channels.phone] url: " in home.problem(text)


# Sources


def test_a_channel_can_come_from_the_environment_in_part_or_whole(home):
    (home.folder / "token").write_text(TOKEN)
    loaded = home.load(
        '[notify.channels.my-ops]\ntype = "slack"\nchannel = "C1"\nbot_token = "x"\n',
        FLEXPORTD_NOTIFY__CHANNELS__MY_OPS__BOT_TOKEN_FILE=str(home.folder / "token"),
        FLEXPORTD_NOTIFY__CHANNELS__MAIL__TYPE="email",
        FLEXPORTD_NOTIFY__CHANNELS__MAIL__TO="a@example.com, b@example.com",
        FLEXPORTD_NOTIFY__CHANNELS__MAIL__FROM="fx@example.com",
        FLEXPORTD_NOTIFY__CHANNELS__MAIL__SMTP_HOST="mail",
        FLEXPORTD_NOTIFY__CHANNELS__MAIL__SMTP_PORT="25",
        FLEXPORTD_NOTIFY__DEFAULT_RULES="false",
    )
    channels = loaded.settings.notify.channels
    assert channels["my-ops"].bot_token.get_secret_value() == TOKEN
    assert [one.address for one in channels["mail"].to] == ["a@example.com", "b@example.com"]
    assert (channels["mail"].smtp_port, loaded.settings.notify.active_rules) == (25, ())
    assert loaded.origins["notify.channels.mail.from"] == "environment FLEXPORTD_NOTIFY__CHANNELS__MAIL__FROM"


def test_the_secret_of_a_channel_can_be_a_file_or_a_credential(home):
    (home.folder / "erp").write_text(f"{SECRET}\n{SECRET}\n")
    credentials = home.folder / "credentials"
    credentials.mkdir()
    (credentials / "notify_channels_my_ops_webhook_url").write_text(SLACK)
    (credentials / "webhook_url").write_text("https://hooks.slack.com/services/other")
    loaded = home.load(
        '[notify.channels.erp]\ntype = "webhook"\nurl = "https://example.com"\nsecret_file = "erp"\n'
        '[notify.channels.my-ops]\ntype = "slack"\n',
        CREDENTIALS_DIRECTORY=str(credentials),
    )
    channels = loaded.settings.notify.channels
    assert len(channels["erp"].secret) == 2
    assert channels["my-ops"].webhook_url.get_secret_value() == SLACK
    assert loaded.origins["notify.channels.my-ops.webhook_url"] == "credential notify_channels_my_ops_webhook_url"
    assert "[notify.channels.erp] set either secret or secret_file, not both" in home.problem(
        f'[notify.channels.erp]\ntype = "webhook"\nurl = "https://example.com"\nsecret_file = "erp"\nsecret = "{SECRET}"'
    )


def test_a_url_instead_of_the_path_of_its_file_is_not_shown(home):
    found = home.problem(f'[notify.channels.ops]\ntype = "slack"\nwebhook_url_file = "{SLACK}"\n')
    assert "flexportd.toml:3: [notify.channels.ops] webhook_url_file: expected the path of a file, found a URL" in found
    assert "s3cretpart" not in found


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("OPS__URL", "unknown variable; did you mean FLEXPORTD_NOTIFY__CHANNELS__OPS__API_URL?"),
        ("OPPS__API_URL", "unknown variable; did you mean FLEXPORTD_NOTIFY__CHANNELS__OPS__API_URL?"),
        ("PHONE__URL", "unknown variable; to add a channel, set FLEXPORTD_NOTIFY__CHANNELS__PHONE__TYPE"),
        ("PHONE__TYPE", 'found "x"; expected one of email, slack, webhook, apprise'),
        ("_X__TYPE", "expected a name of lower-case letters"),
    ],
)
def test_a_variable_of_no_channel_is_a_problem(home, name, problem):
    text = f'[notify.channels.ops]\ntype = "slack"\nwebhook_url = "{SLACK}"\n'
    assert problem in home.problem(text, **{f"FLEXPORTD_NOTIFY__CHANNELS__{name}": "x"})


def test_rules_are_set_only_in_the_file(home):
    assert "rules can be set only in the configuration file" in home.problem("", FLEXPORTD_NOTIFY__RULES__0__NAME="x")


def test_two_channels_cannot_share_their_variables(home):
    text = "".join(f'[notify.channels.{name}]\ntype = "slack"\nwebhook_url = "{SLACK}"\n' for name in ("a-b", "a_b"))
    assert home.problem(text).endswith("[notify.channels.a_b]: the name differs from a-b only in - and _")


def test_there_are_at_most_fifty_channels_and_two_hundred_rules(home):
    channels = "".join(f'[notify.channels.c{n}]\ntype = "slack"\nwebhook_url = "{SLACK}"\n' for n in range(51))
    assert home.problem(channels) == "flexportd.toml:151: [notify.channels]: at most 50 channels are allowed"
    rules = "".join(f'[[notify.rules]]\nname = "r{n}"\non = "*"\n' for n in range(201))
    assert home.problem(rules) == "flexportd.toml:1: [[notify.rules]]: found 201 rules; at most 200 are allowed"


# Lines


def test_the_line_of_each_part_of_a_rule_is_known(home):
    loaded = home.load(
        '[[notify.rules]]\nname = "A"\non = "*"\n[[notify.rules]]\nname = "B"\non = "*"\n[notify.rules.when]\n'
        'mode = "air"\n[[notify.rules.when.any]]\nmode = "air"\n[[notify.rules.when.any]]\nmode = "ocean"\n'
    )
    assert loaded.locate("notify.rules[0].name") == (f"{home.file}:2", 2)
    assert loaded.locate("notify.rules[1].name") == (f"{home.file}:5", 5)
    assert loaded.locate("notify.rules[1].when", ("mode",)) == (f"{home.file}:8", 8)
    assert loaded.locate("notify.rules[1].when", ("any", 1, "mode")) == (f"{home.file}:12", 12)
    assert loaded.locate("notify.rules[1].digest") == (f"{home.file}:4", 4)
    inline = home.load('[notify]\nrules = [\n  { name = "A", on = "*" },\n]\n')
    assert inline.locate("notify.rules[0].name") == (f"{home.file}:2", 2)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(("[[a]]", "[[a.b]]", "[a.c]", "[[a.b.d]]", "key", "[z]", "[[z.a]]")), max_size=12))
def test_every_key_of_lists_of_tables_has_its_own_line(parts):
    lines = [f"k{number} = 1" if part == "key" else part for number, part in enumerate(parts)]
    source = "\n".join(lines)
    try:
        tomllib.loads(source)
    except tomllib.TOMLDecodeError:
        return
    found = key_lines(source)
    for number, line in enumerate(lines):
        if line.startswith("k"):
            assert [at for path, at in found.items() if path[-1] == f"k{number}"] == [number + 1]


# Reload and defaults


def test_every_change_of_channels_and_rules_reloads(tmp_path):
    def made(**more: object) -> Settings:
        return Settings.for_tests(tmp_path, **more)

    slack = {"type": "slack", "webhook_url": SLACK}
    rule = {"name": "A", "on": "*"}
    before = made(**{"notify.channels.ops": slack, "notify.rules": [rule]})
    for after in (
        made(**{"notify.channels.ops": slack, "notify.rules": [rule | {"quiet": "22:00-07:00"}]}),
        made(**{"notify.channels.ops": slack}),
        made(**{"notify.rules": [rule]}),
        made(**{"notify.channels.ops": {"type": "apprise", "url": "ntfy://x"}, "notify.rules": [rule, rule]}),
        made(**{"notify.channels.ops": slack, "notify.rules": [rule], "notify.gather": "20s"}),
    ):
        changed, needs_restart = changed_keys(before, after)
        assert changed
        assert all(name.startswith("notify.") for name in changed)
        assert needs_restart == []
    assert changed_keys(before, before) == ([], [])


def test_the_shipped_rules_apply_until_there_are_others_and_one_can_be_replaced(tmp_path):
    def active(**more: object) -> list[str]:
        return [rule.name for rule in Settings.for_tests(tmp_path, **more).notify.active_rules if rule.enabled]

    shipped = [rule.name for rule in shipped_rules()]
    assert active() == shipped
    mine = [{"name": "Mine", "on": "*"}, {"name": "eta SLIPS", "on": "*", "enabled": False}]
    assert active(**{"notify.rules": mine}) == ["Mine"]
    assert active(**{"notify.default_rules": False}) == []
    both = active(**{"notify.rules": mine, "notify.default_rules": True})
    assert both == ["Mine", *(name for name in shipped if name != "ETA slips")]


def test_rules_without_any_channel_are_noted(home):
    assert any("no [notify.channels.NAME] is configured" in note for note in home.load(
        '[[notify.rules]]\nname = "A"\non = "*"').notes)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(("channels", "rules", "ops", "type", "name", "on", "to", "url", "x")), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_any_value_in_the_section_is_read_or_refused_with_sentences(tmp_path_factory, value):
    from flexportd.errors import ConfigError
    from flexportd.settings import load
    from flexportd.settings.value_types import quote_key, toml_value

    if not isinstance(value, dict):
        value = {"channels": value}
    text = "[notify]\n" + "".join(
        f"{quote_key(name)} = {toml_value(item)}\n" for name, item in value.items() if item is not None
    )
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text.replace("None", "0"), "utf-8")
    try:
        load(file, {"HOME": "/nonexistent"})
    except ConfigError as error:
        assert error.problems  # noqa: PT017 (either outcome is right)
