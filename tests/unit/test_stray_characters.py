"""Quotation marks, blanks and invisible characters around a value: noted, refused in paths, and never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.cli.main import run
from flexportd.errors import ConfigError
from flexportd.settings import load
from flexportd.settings.stray_characters import stray_characters

KEY = "k3y-of-flexport-8472"
SECRET = "correct-horse-battery"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"abc"', "is in quotation marks"),
        ("'abc'", "is in quotation marks"),
        ("`abc`", "is in quotation marks"),
        ("\u201cabc\u201d", "is in quotation marks"),
        ("\u201eabc\u201c", "is in quotation marks"),
        ('""', "is in quotation marks"),
        ('"abc', "begins with a quotation mark"),
        ("abc'", "ends with a quotation mark"),
        ("abc\u2019", "ends with a quotation mark"),
        ('"', "begins with a quotation mark"),
        ("abc\r", "ends with a carriage return (CR)"),
        ("abc\n", "ends with a newline"),
        (" abc", "begins with a space"),
        ("\tabc ", "begins with a tab and ends with a space"),
        (" abc ", "begins and ends with a space"),
        (" ", "begins and ends with a space"),
        ("\ufeffabc", "begins with a byte order mark"),
        ("abc\u200b", "ends with an invisible character (U+200B)"),
        ("abc\u00a0", "ends with an invisible character (U+00A0)"),
        ("abc\u2800", "ends with an invisible character (U+2800)"),
        ("\x00abc", "begins with an invisible character (U+0000)"),
        ('"abc"\r', "ends with a carriage return (CR) and is in quotation marks"),
        ('\ufeff "abc"', "begins with a byte order mark and is in quotation marks"),
        ('Freight "North"', None),
        ("it's", None),
        ("a b\u00a0c", None),
        ("", None),
        ("$2b$12$" + "'" + "x", None),
    ],
)
def test_what_hardly_belongs_to_a_value_is_named(text, found):
    assert stray_characters(text) == found


@given(st.text(st.characters(codec="utf-8", categories=["L", "N"], exclude_characters="\u3164\uffa0\u115f\u1160")))
def test_letters_and_digits_are_no_stray_characters(text):
    assert stray_characters(text, anywhere=True) is None


def test_inside_a_secret_invisible_characters_count_too():
    assert stray_characters("ab\u200bc", anywhere=True) == "contains an invisible character (U+200B)"
    assert stray_characters("ab\u00a0c", anywhere=True) == "contains an invisible character (U+00A0)"
    assert stray_characters("a b", anywhere=True) is None


@pytest.fixture
def notes(tmp_path):
    """The notes about a configuration that is made of variables alone."""

    def of(**environ):
        (tmp_path / "flexportd.toml").touch()
        found = load(tmp_path / "flexportd.toml", {"HOME": str(tmp_path), **environ})
        assert not [note for note in found.notes if KEY in note or SECRET in note]
        return [note.replace(f"{tmp_path}/", "") for note in found.notes]

    return of


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("FLEXPORT__API_KEY", f'"{KEY}"', "the value is in quotation marks"),
        ("FLEXPORT__API_KEY", f"'{KEY}'", "the value is in quotation marks"),
        ("WEBHOOK__SECRETS", f'"{SECRET}"', "the value is in quotation marks"),
        ("WEBHOOK__SECRETS", f"{SECRET}\r", "the value ends with a carriage return (CR)"),
        ("WEBHOOK__SECRETS", f"{SECRET}-other,'{SECRET}'", "the value has an item 2 that is in quotation marks"),
        ("WEBHOOK__SECRETS", f"""["'{SECRET}'"]""", "the value has an item 1 that is in quotation marks"),
        ("WEBHOOK__SECRETS", f"{SECRET}\u200bx", "the value contains an invisible character (U+200B)"),
        ("DASHBOARD__TITLE", " Freight", "the value begins with a space"),
        ("FLEXPORT__AUDIENCE", "'https://api.flexport.com'", "the value is in quotation marks"),
    ],
)
def test_a_variable_with_stray_characters_is_noted_by_its_name(notes, name, text, note):
    assert notes(**{f"FLEXPORTD_{name}": text}) == [
        f"environment FLEXPORTD_{name}: {note}; remove these characters unless they are intended"
    ]


@pytest.mark.parametrize(
    ("key", "content", "note"),
    [
        ("flexport.api_key", f"{KEY}\n", None),
        ("flexport.api_key", f"{KEY}\r\n", "ends with a carriage return (CR)"),
        ("flexport.api_key", f'"{KEY}"\n', "is in quotation marks"),
        ("webhook.secrets", f"{SECRET}\n\n", None),
        ("webhook.secrets", f"{SECRET}\n{SECRET}x", None),
        ("webhook.secrets", f"\ufeff{SECRET}\n", "in line 1 begins with a byte order mark"),
        ("webhook.secrets", f"{SECRET}\n \n{SECRET}x \n", "in line 3 ends with a space"),
        ("webhook.secrets", f"{SECRET}\r\n{SECRET}x\r\n", "in line 1 ends with a carriage return (CR)"),
    ],
)
def test_the_file_of_a_secret_with_stray_characters_is_noted_by_its_path(notes, tmp_path, key, content, note):
    section, name = key.split(".")
    (tmp_path / name).write_bytes(content.encode())
    for place, environ in (
        (f"file {name}", {f"FLEXPORTD_{section}__{name}_FILE".upper(): str(tmp_path / name)}),
        (f"credential {name}", {"CREDENTIALS_DIRECTORY": str(tmp_path)}),
    ):
        assert notes(**environ) == (
            [f"{place}: the value {note}; remove these characters unless they are intended"] if note else []
        )


@pytest.mark.parametrize(
    "name",
    [
        "FLEXPORTD_STORAGE__DATA_DIR", "FLEXPORTD_STORAGE__CACHE_DIR", "FLEXPORTD_STORAGE__CONTROL_SOCKET",
        "FLEXPORTD_SERVER__TLS_CERT", "FLEXPORTD_WEBHOOK__SECRETS_FILE", "FLEXPORTD_CONFIG", "STATE_DIRECTORY",
        "CACHE_DIRECTORY", "RUNTIME_DIRECTORY",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ['"/srv/x"', "'/srv/x'", "/srv/x\r", " /srv/x", "/srv/x\u200b"])
def test_a_path_with_stray_characters_is_refused(tmp_path, name, path):
    (tmp_path / "flexportd.toml").touch()
    environ = {"HOME": str(tmp_path), "FLEXPORTD_CONFIG": str(tmp_path / "flexportd.toml"), name: path}
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    problem = caught.value.problems[0]
    assert problem.startswith(f"environment {name}: ")
    assert f"which {stray_characters(path)}; expected only the path" in problem
    assert "/srv/x" in problem


@pytest.mark.parametrize("key", ["data_dir", "cache_dir"])
def test_a_quoted_path_in_the_file_is_refused_with_its_line(tmp_path, key):
    file = tmp_path / "flexportd.toml"
    file.write_text(f"[storage]\n{key} = '\"/srv/x\"'\n")
    with pytest.raises(ConfigError) as caught:
        load(file, {"HOME": str(tmp_path)})
    assert caught.value.problems == [
        f'{file}:2: [storage] {key}: found "\\"/srv/x\\"", which is in quotation marks; expected only the path'
    ]


def test_a_value_that_does_not_fit_because_of_its_quotation_marks_says_so(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(
            None, {"HOME": str(tmp_path), "FLEXPORTD_QUEUE__WORKERS": '"8"', "FLEXPORTD_FLEXPORT__API_KEY": f"{KEY}\n"}
        )
    key, workers = caught.value.problems
    assert key.endswith("found ***; expected one line of ASCII text without spaces; the value ends with a newline")
    assert workers.endswith('found "\\"8\\""; expected a whole number from 1 to 64; the value is in quotation marks')


def test_config_check_prints_the_notes(tmp_path, monkeypatch, capsys):
    (tmp_path / "flexportd.toml").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FLEXPORTD_FLEXPORT__API_KEY", f'"{KEY}"')
    assert run(["--config", str(tmp_path / "flexportd.toml"), "config", "check"]) == 0
    out = capsys.readouterr().out
    assert "Note: environment FLEXPORTD_FLEXPORT__API_KEY: the value is in quotation marks; " in out
    assert KEY not in out
