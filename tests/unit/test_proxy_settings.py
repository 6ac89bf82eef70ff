"""`[flexport] proxy`: what is accepted, from where, and that its password is shown nowhere."""

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flexportd.cli.main import run
from flexportd.errors import ConfigError
from flexportd.settings import describe_values, load
from flexportd.settings.addresses import parse_proxy

URL = "http://team:correct-horse%2Fbattery@proxy.example.com:3128"
PASSWORD = "correct-horse/battery"
SHOWN = "http://team:***@proxy.example.com:3128"


@pytest.fixture
def loaded(tmp_path):
    def of(text="", **environ):
        path = tmp_path / "flexportd.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return load(path, {"HOME": str(tmp_path), **environ})

    return of


def test_a_proxy_is_an_address_with_an_optional_user_and_password():
    assert parse_proxy("http://proxy").url == "http://proxy:80"
    assert parse_proxy("http://[::1]:3128/").url == "http://[::1]:3128"
    assert parse_proxy("http://proxy:3128").authorization is None
    found = parse_proxy(URL)
    assert (found.url, found.user, found.password) == ("http://proxy.example.com:3128", "team", PASSWORD)
    assert found.authorization == "Basic dGVhbTpjb3JyZWN0LWhvcnNlL2JhdHRlcnk="
    assert parse_proxy("http://team@proxy:1").authorization == "Basic dGVhbTo="
    assert parse_proxy("http://team:a:b@proxy:1").password == "a:b"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("proxy.example.com:3128", 'expected a URL such as "http://user:password@proxy.example.com:3128"'),
        ("https://u:hidden-password@proxy:3128", "https:// proxies are not supported"),
        ("socks5://u:hidden-password@proxy:1080", "socks5:// proxies are not supported"),
        ("http://", "expected a URL"),
        ("http://proxy:0", "expected a URL"),
        ("http://proxy:99999", "expected a URL"),
        ("http://proxy:3128/path", "expected a URL"),
        ("http://proxy:3128?x", "expected a URL"),
        ("http://-proxy:3128", "expected a URL"),
        ("http://u:hidden-password@", "expected a URL"),
        ("http://:hidden-password@proxy:1", "expected a URL"),
        ("http://u:hidden@password@proxy:1", 'encode "%" as %25, "@" as %40'),
        ("http://u:hidden#password@proxy:1", '"#" as %23'),
        ("http://u:hidden/password@proxy:1", '"/" as %2F'),
        ("http://u:hidden%password@proxy:1", '"%" as %25'),
        ("http://u:hidden%FFpassword@proxy:1", "percent-encoded UTF-8"),
        ("http://u%3Ax:hidden-password@proxy:1", "must not contain a colon"),
        ("http://u:hidden%0Apassword@proxy:1", "control character"),
        ("http://u:hidden password@proxy:1", "expected a URL"),
        (3128, "expected a URL"),
        ("", "expected a URL"),
    ],
)
def test_what_is_no_proxy_is_refused_without_its_password(loaded, value, told):
    with pytest.raises(ConfigError) as caught:
        loaded(f"[flexport]\nproxy = {json.dumps(value)}")
    (problem,) = caught.value.problems
    assert "[flexport] proxy: found ***; " in problem
    assert told in problem
    assert "hidden" not in problem


def test_the_password_is_a_secret_from_every_source_and_shown_nowhere(loaded, tmp_path, capsys):
    file = tmp_path / "proxy"
    file.write_text(URL + "\n")
    (tmp_path / "flexport_proxy").write_text(URL)
    for found in (
        loaded(f'[flexport]\nproxy = "{URL}"'),
        loaded(f'[flexport]\nproxy_file = "{file}"'),
        loaded(FLEXPORTD_FLEXPORT__PROXY=URL),
        loaded(FLEXPORTD_FLEXPORT__PROXY_FILE=str(file)),
        loaded(CREDENTIALS_DIRECTORY=str(tmp_path)),
    ):
        assert found.settings.flexport.proxy.password == PASSWORD
        assert {PASSWORD, "correct-horse%2Fbattery", "dGVhbTpjb3JyZWN0LWhvcnNlL2JhdHRlcnk="} <= set(
            found.settings.secrets
        )
        assert {key: value for key, value, _ in describe_values(found)}["flexport.proxy"] == SHOWN
        assert "correct-horse" not in repr(found)
    loaded(f'[flexport]\nproxy = "{URL}"\n[storage]\ndata_dir = "{tmp_path}/data"')
    for command in (
        ["config", "show"],
        ["config", "show", "--json"],
        ["config", "show", "--origin"],
        ["config", "check"],
    ):
        assert run(["--config", str(tmp_path / "flexportd.toml"), *command]) == 0
        out = "".join(capsys.readouterr())
        assert "correct-horse" not in out
        assert (SHOWN in out) == ("show" in command)


@given(st.text(), st.text(), st.sampled_from(["http://{0}:{1}@proxy:1", "http://{0}@{1}:1", "{0}:{1}"]))
@example("u", "\udcff", "http://{0}:{1}@proxy:1")
def test_any_text_is_a_proxy_or_a_value_error(user, password, form):
    with contextlib.suppress(ValueError):
        found = parse_proxy(form.format(user, password))
        assert found.url.startswith("http://")
        assert str(found).isprintable()
        assert found.authorization is None or found.authorization.isascii()


def test_a_proxy_of_the_environment_is_noted_where_no_other_is_chosen(loaded):
    environ = {"HTTPS_PROXY": "http://u:hidden-password@proxy:1", "http_proxy": "http://proxy:2", "NO_PROXY": "x"}
    (note,) = loaded(**environ).notes
    assert note.startswith("HTTPS_PROXY and http_proxy in the environment: not used")
    assert "hidden" not in note
    assert "[flexport] proxy" in note
    assert loaded('[flexport]\nproxy = "http://proxy:3128"', **environ).notes == ()
    assert loaded(HTTPS_PROXY="").notes == ()
