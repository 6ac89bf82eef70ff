"""Slack, by incoming webhook and as a bot: what is posted, and what each answer of Slack leads to."""

import json
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from flexportd.notify.channels.channel import ChannelError
from flexportd.notify.channels.registry import CHANNEL_TYPES
from flexportd.notify.channels.slack import SlackChannel
from flexportd.notify.content import Content
from tests.http_target import CREATED, HttpTarget, context, endless, message, reply, silent

TOKEN = "xoxb-1234567890-very-secret"
PATH = "/services/T00000000/B00000000/ThisPartIsSecret"


@dataclass
class Settings:
    webhook_url: SecretStr | None = None
    bot_token: SecretStr | None = None
    channel: str | None = None
    api_url: str = "https://slack.com/api/"


def ok(**more):
    return reply(
        json.dumps({"ok": True, "channel": "C1", "ts": "1772625600.000100", **more}), Content_Type="application/json"
    )


def failed(error, status=200, **more):
    return reply(json.dumps({"ok": False, "error": error, **more}), status, Content_Type="application/json")


@pytest.fixture
async def slack():
    async with HttpTarget(ok()).running() as target:
        yield target


def webhook(slack):
    return SlackChannel("ops", Settings(webhook_url=SecretStr(slack.url + PATH)), context())


def bot(slack, channel="C1"):
    return SlackChannel("ops", Settings(None, SecretStr(TOKEN), channel, f"{slack.url}/api/"), context())


def calls(slack):
    return [request.path.rpartition("/")[2] for request in slack.requests]


def documents(slack):
    return [json.loads(body) if body else None for body in slack.bodies]


async def refusal(channel, slack, *answers, **more):
    slack.script.extend(answers)
    with pytest.raises(ChannelError) as caught:
        await channel.send(message(**more))
    assert TOKEN not in str(caught.value)
    assert "ThisPartIsSecret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


# Incoming webhook


async def test_a_webhook_gets_blocks_and_a_text(slack):
    slack.script.append(reply("ok", Content_Type="text/html"))
    channel = webhook(slack)
    receipt = await channel.send(message())
    assert receipt.note is None
    assert receipt.remote_id is None
    assert not channel.can_edit
    assert slack.requests[0].path == PATH
    assert "Authorization" not in slack.requests[0].headers
    (document,) = documents(slack)
    assert document["text"] == "🟠 Warning · Two shipments arrive later: Ever Given 042W is late"
    assert document["blocks"][0]["type"] == "header"
    assert document["unfurl_links"] is document["link_names"] is False
    assert "ThisPartIsSecret" not in channel.destination
    assert channel.destination == f"incoming webhook at 127.0.0.1:{slack.port}"


async def test_a_repeated_message_to_a_webhook_says_so(slack):
    await webhook(slack).send(message(is_repeated=True))
    assert "Sent again after an interruption" in slack.bodies[0].decode()


@pytest.mark.parametrize(
    ("status", "text", "is_gone", "permanent", "says"),
    [
        (404, "no_service", True, True, "set its webhook_url"),
        (403, "invalid_token", True, True, "set its webhook_url"),
        (404, "no_team", True, True, "workspace"),
        (404, "channel_not_found", True, True, "deleted"),
        (410, "channel_is_archived", True, True, "archived"),
        (410, "", True, True, "410 Gone"),
        (403, "action_prohibited", False, False, "ask for permission"),
        (400, "no_text", False, True, "no text"),
        (400, "user_not_found", True, True, "create a new webhook"),
        (500, "rollup_error", False, False, "internal error"),
        (500, "Internal Server Error", False, False, "500 Internal Server Error"),
        (404, "<html>not here</html>", False, False, "a web page"),
        (200, "<html>log in</html>", False, False, "not an answer of Slack"),
        (400, "something_new", False, False, "something_new"),
        (302, "", False, False, "redirects to slack.com (302)"),
        (429, "", False, False, "too many messages"),
        (429, "Too many requests", False, False, "too many messages"),
    ],
)
async def test_each_answer_to_a_webhook_says_what_to_do(slack, status, text, is_gone, permanent, says):
    error = await refusal(
        webhook(slack), slack, reply(text, status, Retry_After="30", Location="https://slack.com/x?y")
    )
    assert (error.is_gone, error.permanent, error.retry_after) == (is_gone, permanent, 30)
    assert says in str(error)


async def test_a_webhook_that_repeats_its_path_does_not_reveal_it(slack):
    for text in (f"no route {slack.url}{PATH}", f"no route {PATH}", "no route ThisPartIsSecret"):
        error = await refusal(webhook(slack), slack, reply(text, 500))
        assert str(error).endswith("500 Internal Server Error: no route ***")


async def test_json_that_reports_a_failure_is_not_a_success(slack):
    error = await refusal(webhook(slack), slack, failed("no_service"))
    assert error.is_gone


# Bot


async def test_a_bot_posts_and_says_where(slack):
    channel = bot(slack)
    receipt = await channel.send(message())
    assert receipt.remote_id == "C1:1772625600.000100"
    assert channel.can_edit
    assert channel.destination == "C1"
    assert calls(slack) == ["chat.postMessage"]
    assert slack.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert slack.requests[0].headers["Content-Type"] == "application/json; charset=utf-8"
    (document,) = documents(slack)
    assert document["channel"] == "C1"
    assert document["parse"] == "none"
    assert document["metadata"] == {"event_type": "flexportd_message", "event_payload": {"key": "msg_1"}}
    assert "thread_ts" not in document


async def test_a_reply_goes_into_the_thread_of_its_root(slack):
    await bot(slack).send(message(root="C1:1.5"))
    assert documents(slack)[0]["thread_ts"] == "1.5"


async def test_an_edit_replaces_the_message(slack):
    slack.script.append(ok(ts="1.5"))
    receipt = await bot(slack).send(message(edits="C1:1.5", root="C1:1.5", is_repeated=True))
    assert calls(slack) == ["chat.update"]
    (document,) = documents(slack)
    assert (document["channel"], document["ts"], document["parse"]) == ("C1", "1.5", "none")
    assert receipt.remote_id == "C1:1.5"


@pytest.mark.parametrize(
    ("error", "root", "thread"),
    [
        ("message_not_found", "C1:1.0", "1.0"),
        ("message_not_found", "C1:1.5", None),
        ("edit_window_closed", None, "1.5"),
        ("cant_update_message", "C1:1.0", "1.0"),
        ("channel_not_found", "C1:1.0", None),
    ],
)
async def test_a_message_that_cannot_be_edited_is_posted_in_its_thread(slack, error, root, thread):
    slack.script.append(failed(error))
    receipt = await bot(slack).send(message(edits="C1:1.5", root=root))
    assert calls(slack) == ["chat.update", "chat.postMessage"]
    assert documents(slack)[1].get("thread_ts") == thread
    assert error in receipt.note


async def test_a_thread_of_another_channel_is_left(slack):
    """The configuration names another channel now, by its name or by its id."""
    channel = bot(slack, "#ops")
    first = await channel.send(message())
    assert first.remote_id == "C1:1772625600.000100:#ops"
    await channel.send(message(root=first.remote_id))
    await bot(slack, "#other").send(message(root=first.remote_id, edits=first.remote_id))
    await bot(slack, "C2").send(message(root="C1:1.5"))
    assert calls(slack) == ["chat.postMessage"] * 4
    assert [(each["channel"], each.get("thread_ts")) for each in documents(slack)] == [
        ("#ops", None), ("C1", "1772625600.000100"), ("#other", None), ("C2", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "is_gone", "permanent", "says"),
    [
        ("invalid_auth", True, True, "set bot_token"),
        ("token_revoked", True, True, "reinstall the app"),
        ("account_inactive", True, True, "install it again"),
        ("is_archived", True, True, "archived"),
        ("not_in_channel", False, False, "/invite"),
        ("channel_not_found", False, False, "check channel"),
        ("ratelimited", False, False, "too many messages"),
        ("restricted_action", False, False, "ask for permission"),
        ("no_text", False, True, "no text"),
        ("new_error_of_slack", False, False, "new_error_of_slack"),
        (f"echo {TOKEN} \n\u202e", False, False, "***"),
    ],
)
async def test_each_refusal_of_the_api_says_what_to_do(slack, error, is_gone, permanent, says):
    refused = await refusal(bot(slack), slack, failed(error))
    assert (refused.is_gone, refused.permanent) == (is_gone, permanent)
    assert says in str(refused)


async def test_a_missing_scope_is_named(slack):
    error = await refusal(bot(slack), slack, failed("missing_scope", needed="chat:write", provided="users:read"))
    assert not error.permanent
    assert str(error).endswith("reinstall the app (chat:write)")


async def test_429_waits_as_long_as_slack_says(slack):
    error = await refusal(bot(slack), slack, failed("ratelimited", 429))
    assert error.retry_after == 0
    error = await refusal(bot(slack), slack, reply("", 429, Retry_After="17"))
    assert (error.retry_after, error.permanent, error.may_have_arrived) == (17, False, False)


@pytest.mark.parametrize("answer", [endless(), silent, reply("[1]"), reply("{"), reply("", 503), reply("[" * 5000)])
async def test_what_is_no_answer_of_slack_is_tried_again(slack, answer, monkeypatch):
    monkeypatch.setattr(SlackChannel, "request_timeout", 0.3)
    error = await refusal(bot(slack), slack, answer)
    assert not error.permanent
    assert error.may_have_arrived


@pytest.mark.parametrize("error", ["msg_too_long", "invalid_blocks", "msg_blocks_too_long"])
@pytest.mark.parametrize("edits", [None, "C1:1.5"])
async def test_a_refused_form_is_sent_as_plain_text_in_the_same_attempt(slack, error, edits):
    slack.script.append(failed(error))
    receipt = await bot(slack).send(message(edits=edits))
    assert len(slack.requests) == 2
    second = documents(slack)[1]
    assert second["blocks"] == []
    assert second["mrkdwn"] is False
    assert "FLEX-1042 · Winter jackets" in second["text"]
    assert "plain text" in receipt.note
    assert error in receipt.note


async def test_a_message_that_is_refused_as_plain_text_too_is_given_up(slack):
    error = await refusal(bot(slack), slack, failed("msg_too_long"), failed("msg_too_long"))
    assert error.permanent
    assert not error.is_gone
    error = await refusal(webhook(slack), slack, reply("invalid_payload", 400), reply("invalid_payload", 400))
    assert error.permanent


async def test_threads_and_metadata_are_left_out_where_slack_refuses_them(slack):
    slack.script.extend(
        [failed("metadata_must_be_sent_from_app"), failed("thread_not_found"), failed("invalid_blocks")]
    )
    receipt = await bot(slack).send(message(root="C1:1.5"))
    last = documents(slack)[-1]
    assert "metadata" not in last
    assert "thread_ts" not in last
    assert "outside its thread" in receipt.note


# Again, after a crash


def posted(key):
    return {"ts": "9.9", "metadata": {"event_type": "flexportd_message", "event_payload": {"key": key}}}


async def test_a_message_that_was_posted_already_is_found_and_not_posted_again(slack):
    odd = [{"metadata": None}, {"metadata": {"event_type": "other", "event_payload": {"key": "msg_1"}}}, 5, {"ts": "1"}]
    slack.script.append(ok(messages=[*odd, posted("msg_0")], response_metadata={"next_cursor": "page2="}))
    slack.script.append(ok(messages=[posted("msg_1")]))
    receipt = await bot(slack).send(message(is_repeated=True))
    assert receipt.remote_id == "C1:9.9"
    assert calls(slack) == ["conversations.history"] * 2
    query = slack.requests[1].query
    assert (query["channel"], query["cursor"], query["include_all_metadata"]) == ("C1", "page2=", "true")
    assert float(query["oldest"]) < CREATED.timestamp()


async def test_a_reply_is_looked_for_in_its_thread(slack):
    slack.script.append(ok(messages=[]))
    await bot(slack).send(message(is_repeated=True, root="C1:1.5"))
    assert calls(slack) == ["conversations.replies", "chat.postMessage"]
    assert slack.requests[0].query["ts"] == "1.5"


@pytest.mark.parametrize(
    "answer",
    [
        *map(failed, ["missing_scope", "channel_not_found", "not_in_channel", "unknown_method"]),
        *(reply("no such page", status) for status in (200, 404, 405, 501)),
        endless(),
    ],
)
async def test_without_the_history_a_message_may_be_posted_twice_and_says_so(slack, answer):
    slack.script.append(answer)
    receipt = await bot(slack).send(message(is_repeated=True))
    assert calls(slack) == ["conversations.history", "chat.postMessage"]
    assert receipt.note.startswith("This message may have been posted twice")


@pytest.mark.parametrize("answer", [failed("ratelimited", 429), reply("", 500), failed("internal_error")])
async def test_while_the_history_cannot_be_read_nothing_is_posted(slack, answer):
    error = await refusal(bot(slack), slack, answer, is_repeated=True)
    assert not error.permanent
    assert calls(slack) == ["conversations.history"]


async def test_the_search_of_a_busy_channel_ends(slack):
    slack.script.extend([ok(messages=[posted("x")], response_metadata={"next_cursor": "more"})] * 4)
    receipt = await bot(slack).send(message(is_repeated=True))
    assert calls(slack) == ["conversations.history"] * 4 + ["chat.postMessage"]
    assert "too many new messages" in receipt.note


async def test_hostile_names_mention_nobody(slack):
    await bot(slack).send(message(Content("<!channel> & @here", summary="<@U1> *x*", notes=["<#C1>"])))
    (document,) = documents(slack)
    text = json.dumps(document, ensure_ascii=False)
    assert "<!" not in text
    assert "<@" not in text
    assert "@here" not in text
    assert "&lt;!channel&gt; &amp; @\u2060here" in document["text"]


async def test_a_token_that_no_header_can_hold_is_reported_without_it(slack):
    channel = SlackChannel("ops", Settings(None, SecretStr(f"{TOKEN}\r\nX: y"), "C1", slack.url), context())
    error = await refusal(channel, slack)
    assert slack.requests == []
    assert not error.permanent


def test_the_channel_is_registered():
    assert CHANNEL_TYPES["slack"] is SlackChannel
    assert SlackChannel.folds
