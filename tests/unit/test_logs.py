"""Logs: structured, without secrets, without forged lines."""

import json
import logging

import pytest
import structlog

from flexportd import logs
from flexportd.escape import display_width, escape_control

SECRET = "very-secret-value-0123"


@pytest.fixture
def lines(capsys):
    def read(style="json", level="info"):
        logs.configure(level, style, [SECRET])
        return structlog.get_logger("flexportd.test"), lambda: capsys.readouterr().err

    yield read
    logs.configure("warning", "json")


def test_a_line_is_json_with_its_fields(lines):
    log, read = lines()
    log.info("event_applied", event_id="1", resource="/shipment")
    document = json.loads(read())
    assert (document["event"], document["event_id"], document["level"]) == ("event_applied", "1", "info")
    assert document["timestamp"].endswith("Z")


def test_secrets_are_taken_out_at_any_depth_and_anywhere_in_text(lines):
    log, read = lines()
    log.info(
        "x",
        headers={"Authorization": "Bearer abc", "deep": [{"api_key": "k"}, f"text {SECRET} text"]},
        webhook_secret="s",
        body=SECRET.encode(),
    )
    logging.getLogger("flexportd.other").warning("stdlib too: %s", SECRET)
    text = read()
    for hidden in ("Bearer abc", '"k"', SECRET):
        assert hidden not in text
    assert text.count(logs.REDACTED) >= 5


def test_a_traceback_shows_no_local_variables_and_no_secret(lines):
    log, read = lines()
    try:
        hidden = "local-variable-value"
        raise ValueError(SECRET + hidden[:0])
    except ValueError:
        log.exception("failed")
    text = read()
    assert "Traceback" in text
    assert SECRET not in text
    assert "local-variable-value" not in text.replace("hidden = ", "")  # the source line aside


def test_a_console_line_cannot_be_forged(lines):
    log, read = lines("console")
    log.info("x", name="a\n2026 [info] forged\x1b[2J\u202e")
    text = read()
    assert text.count("\n") == 1
    assert "\x1b[2J" not in text
    assert "\u202e" not in text


def test_the_level_can_change_while_running(lines):
    log, read = lines(level="warning")
    log.info("unseen")
    logs.set_level("debug")
    log.debug("seen")
    assert [json.loads(line)["event"] for line in read().splitlines()] == ["seen"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("a\x00b", "a\\u0000b"),
        ("\x1b[31m", "\\u001b[31m"),
        ("x\u202ey", "x\\u202ey"),
        ("é漢🚢", "é漢🚢"),
        ("a" * 300, "a" * 199 + "…"),
    ],
)
def test_hostile_text_becomes_harmless(value, shown):
    assert escape_control(value) == shown


def test_width_counts_columns():
    assert (display_width("abc"), display_width("漢字"), display_width("e\u0301")) == (3, 4, 1)


def test_what_is_no_http_leaves_no_traceback(lines):
    from aiohttp.http_exceptions import BadHttpMessage

    _, read = lines()
    server = logging.getLogger("aiohttp.server")
    for error in (BadHttpMessage("GET /?token=abc"), ValueError("ours")):
        try:
            raise error
        except Exception:
            server.exception("Error handling request")
    text = read()
    assert "token=abc" not in text
    assert "ours" in text
