"""The section [api]: who needs a key, from which pages one may ask, and how often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.settings import UNLIMITED, Rate, changed_keys, describe_values, parse_rate
from tests.unit.test_settings import Home


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


# --- keys ---


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("", False),
        ("[server]\nlisten = ['127.0.0.1:80', '[::1]:80', 'localhost:81']", False),
        ("[server]\nlisten = ['127.0.0.1:80', 'unix:/run/x.sock']", True),
        ("[server]\npublic_url = 'https://freight.example.com'", True),
        ("[server]\ntrusted_proxies = ['127.0.0.1']", True),
        ("[server]\ntrusted_proxies = []", False),
        ("[server]\npublic_url = 'https://freight.example.com'\n[api]\nrequire_key = false", False),
        ("[server]\nlisten = '0.0.0.0:80'", True),
        ("[server]\nlisten = ['127.0.0.1:80', '10.0.0.1:80']", True),
        ("[server]\nlisten = 'freight.example:80'", True),
        ("[server]\nlisten = '0.0.0.0:80'\n[api]\nrequire_key = false", False),
        ("[api]\nrequire_key = true", True),
    ],
)
def test_a_key_is_needed_where_others_can_connect_unless_it_is_said(home, text, required):
    assert home.load(text).settings.keys_required is required


def test_whether_a_key_is_needed_is_true_or_false(home):
    problem = home.problem("[api]\nrequire_key = 'yes'")
    assert problem == 'flexportd.toml:2: [api] require_key: found "yes"; expected true or false'
    assert home.load(FLEXPORTD_API__REQUIRE_KEY="true").settings.keys_required
    assert ("api.require_key", "not set", "default") in describe_values(home.load())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("public_url = 'https://freight.example.com'", "public_url"),
        ("trusted_proxies = ['127.0.0.1']", "trusted_proxies"),
        ("listen = 'unix:/run/x.sock'", "listen unix:/run/x.sock"),
        ("listen = ['127.0.0.1:80', '0.0.0.0:80']\ntrusted_proxies = ['::1']", "listen 0.0.0.0:80, trusted_proxies"),
    ],
)
def test_config_check_warns_where_require_key_false_leaves_it_open_to_others(home, text, named):
    (note,) = home.load(f"[server]\n{text}\n[api]\nrequire_key = false").notes
    assert note.startswith("[api] require_key is false: everyone who can connect can read and administer")
    assert note.endswith(f"([server] {named})")
    for answer in ("", "\n[api]\nrequire_key = true"):
        assert home.load(f"[server]\n{text}{answer}").notes == ()
    assert home.load("[api]\nrequire_key = false").notes == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("base_url = 'http://flexport.example.com'\napi_key = 'fake-key-of-a-test'", ["base_url"]),
        ("token_url = 'http://10.0.0.1/x'\nclient_id = 'a'\nclient_secret = 'fake-key-of-a-test'", ["token_url"]),
        ("base_url = 'http://127.0.0.1:9100'\napi_key = 'fake-key-of-a-test'", []),
        ("base_url = 'http://localhost:9100'\napi_key = 'fake-key-of-a-test'", []),
        ("token_url = 'http://10.0.0.1/x'\napi_key = 'fake-key-of-a-test'", []),
        ("base_url = 'http://flexport.example.com'", []),
    ],
)
def test_config_check_tells_where_credentials_are_sent_unencrypted(home, text, named):
    notes = home.load(f"[flexport]\n{text}").notes
    assert [note.split(" ")[1] for note in notes if "not https" in note] == named


# --- origins ---


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[2001:db8::1]:80", "http://[2001:db8::1]"),
        ("http://10.0.0.1:8000", "http://10.0.0.1:8000"),
    ],
)
def test_an_origin_is_spelled_as_browsers_send_it(home, text, origin):
    assert home.load(f"[api]\ncors_origins = ['{text}']").settings.api.cors_origins == (origin,)


@pytest.mark.parametrize(
    "text",
    [
        "", "app.example.com", "https://", "https://app.example.com/", "https://app.example.com/x", "https://a?b",
        "https://u:p@app.example.com", "ftp://app.example.com", "https://*.example.com", "null", "https://a b",
        "https://app.example.com:0", "https://app.example.com:99999", "https://app.example.com:x", "https://[::1",
        "https://ä.example", "https://-x", "https://a,https://b",
    ],
)  # fmt: skip
def test_whatever_is_no_origin_is_refused(home, text):
    problem = home.problem(f"[api]\ncors_origins = ['https://good.example', \"{text}\"]")
    assert problem.startswith("flexportd.toml:2: [api] cors_origins: item 2: found ")
    assert "expected an origin such as https://app.example.com" in problem


def test_all_origins_stand_alone_and_need_keys(home):
    both = home.problem("[api]\ncors_origins = ['*', 'https://app.example.com']\nrequire_key = true")
    assert both.startswith("flexportd.toml:2: [api] cors_origins: found a list")
    assert both.endswith('"*" allows every origin; remove the others')
    without = home.problem("[api]\ncors_origins = ['*']")
    assert without == (
        'flexportd.toml:2: [api] cors_origins = ["*"] lets every web page read all data: it requires require_key = true'
    )
    assert home.load("[api]\ncors_origins = ['*']\nrequire_key = true").settings.api.cors_origins == ("*",)
    assert home.load("[api]\ncors_origins = ['*']\n[server]\nlisten = '0.0.0.0:80'").settings.keys_required


# --- rates ---


@pytest.mark.parametrize(
    ("text", "rate", "shown"),
    [
        ("3000/1m", Rate(3000, 60), "3000/1m"),
        ("1/1s", Rate(1, 1), "1/1s"),
        ("1000000/1d", Rate(1_000_000, 86400), "1000000/1d"),
        ("10/90s", Rate(10, 90), "10/90s"),
        ("off", UNLIMITED, "off"),
        ("", UNLIMITED, "off"),
    ],
)
def test_a_rate_is_requests_in_a_time(home, text, rate, shown):
    loaded = home.load(f"[api]\nrate_limit = '{text}'")
    assert loaded.settings.api.rate_limit == rate
    assert ("api.rate_limit", shown) in [row[:2] for row in describe_values(loaded)]


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("'fast'", "a rate such as"),
        ("3000", "a rate such as"),
        ("'3000'", "a rate such as"),
        ("'3000/m'", "a rate such as|a duration such as"),
        ("'-1/1m'", "a rate such as"),
        ("'0/1m'", "from 1 to 1000000"),
        ("'1000001/1m'", "from 1 to 1000000"),
        ("'5/0s'", "from 1s to 1d"),
        ("'5/2d'", "from 1s to 1d"),
        ("'5/1500ms'", "in whole seconds"),
    ],
)
def test_whatever_is_no_rate_is_refused(home, toml, words):
    problem = home.problem(f"[api]\nrate_limit = {toml}")
    assert problem.startswith("flexportd.toml:2: [api] rate_limit: found ")
    assert any(word in problem for word in words.split("|"))


@given(st.text(max_size=30))
def test_any_text_is_a_rate_that_can_be_written_or_a_clear_error(text):
    try:
        rate = parse_rate(text)
    except ValueError as error:
        told = str(error)
    else:
        told = str(rate)
        assert parse_rate(told) == rate
    assert told


def test_what_can_change_while_running(home):
    old = home.load().settings
    new = home.load("[api]\nrate_limit = 'off'\ncors_origins = ['https://a.example']\nrequire_key = true").settings
    assert changed_keys(old, new) == (["api.require_key", "api.cors_origins", "api.rate_limit"], [])
