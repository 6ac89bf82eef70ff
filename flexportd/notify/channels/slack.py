"""Slack: an incoming webhook, or an app's bot, which also replies in threads and updates its messages.

Sources: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, and the pages of chat.postMessage,
chat.update, conversations.history and conversations.replies in https://docs.slack.dev/reference/methods.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from yarl import URL

from flexportd.notify.channels import slack_blocks
from flexportd.notify.channels.channel import Channel, ChannelContext, ChannelError, OutgoingMessage, SendReceipt
from flexportd.notify.channels.http import MAX_BODY, ChannelClient, ChannelResponse, display_host
from flexportd.notify.channels.slack_blocks import SlackMessage
from flexportd.notify.render import render_text
from flexportd.settings.notify import SlackChannelSettings

EVENT_TYPE = "flexportd_message"
"""The type of the metadata by which a posted message is found again."""

_MAX_SEARCH_BODY = 4 << 20  # bytes
_SEARCH_PAGE = 50  # messages
_SEARCH_PAGES = 4
_CLOCK_TOLERANCE = timedelta(minutes=5)  # between Slack's clock and ours

_AGAIN = "Sent again after an interruption"
_MAYBE_TWICE = "This message may have been posted twice"

# What each error of Slack means for the person who runs flexportd, and what to do. Nothing is accepted until somebody
# acts: the channel is switched off.
_GONE = {
    "invalid_auth": "the bot token is not valid; set bot_token to the token of an installed app",
    "not_authed": "the bot token is missing; set bot_token",
    "token_revoked": "the bot token was revoked; reinstall the app and set its new bot_token",
    "token_expired": "the bot token has expired; set a new bot_token",
    "account_inactive": "the app was removed from the workspace; install it again and set its new bot_token",
    "not_allowed_token_type": "the token is not that of a bot; set bot_token to one that begins with xoxb-",
    "is_archived": "the channel is archived; restore it in Slack or choose another one",
    "channel_is_archived": "the channel is archived; restore it in Slack or choose another one",
    "no_service": "the incoming webhook was removed or disabled; create a new one and set its webhook_url",
    "no_service_id": "the incoming webhook was removed or disabled; create a new one and set its webhook_url",
    "invalid_token": "the incoming webhook is not valid; create a new one and set its webhook_url",
    "no_team": "the workspace no longer exists; create a webhook in another one",
    "team_disabled": "the workspace was deleted or disabled; use another one",
    "user_not_found": "the user whom the webhook writes to no longer exists; create a new webhook",
}
_GONE_WEBHOOK = {"channel_not_found": "the channel of the webhook was deleted; create a webhook for another one"}
# The message is sent again: somebody can repair it in Slack without touching flexportd.
_TEMPORARY = {
    "not_in_channel": "the bot is not a member of the channel; invite it there with /invite",
    "channel_not_found": "the bot does not see the channel; check channel, and invite the bot if it is private",
    "missing_scope": "the app lacks a scope; add it under OAuth & Permissions and reinstall the app",
    "action_prohibited": "an administrator of the workspace restricts posting by this webhook; ask for permission",
    "posting_to_general_channel_denied": "the bot may not post to this channel; choose another one",
    "restricted_action": "an administrator of the workspace restricts posting; ask for permission",
    "restricted_action_read_only_channel": "the channel is read-only; allow the app to post or choose another one",
    "restricted_action_non_threadable_channel": "the channel does not allow threads; choose another one",
    "team_access_not_granted": "the app has no access to the workspace; ask an administrator to grant it",
    "access_denied": "access is denied; ask an administrator of the workspace",
    "ekm_access_denied": "administrators have suspended posting",
    "org_login_required": "the workspace is being migrated",
    "team_added_to_org": "the workspace is being migrated",
    "ratelimited": "there were too many messages in a short time",
    "rate_limited": "there were too many messages in a short time",
    "message_limit_exceeded": "the workspace has reached its limit of messages",
    "internal_error": "Slack has an internal error",
    "fatal_error": "Slack has an internal error",
    "rollup_error": "Slack has an internal error",
    "service_unavailable": "Slack is temporarily unavailable",
    "request_timeout": "Slack did not receive the whole request in time",
}
# This message is refused, others are not.
_PERMANENT = {
    "no_text": "the message has no text",
    "invalid_payload": "Slack does not understand the message",
    "invalid_arguments": "Slack does not understand the message",
    "invalid_json": "Slack does not understand the message",
    "json_not_object": "Slack does not understand the message",
    "too_many_attachments": "the message is too long",
    "msg_too_long": "the message is too long",
    "msg_blocks_too_long": "the message is too long",
    "invalid_blocks": "Slack does not accept the form of the message",
    "invalid_blocks_format": "Slack does not accept the form of the message",
}
# What is tried within the same attempt.
_AS_PLAIN_TEXT = frozenset(
    {"msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "invalid_payload"}
)
_WITHOUT_THREAD = frozenset(
    {
        "thread_not_found",
        "invalid_thread_ts",
        "cannot_reply_to_message",
        "restricted_action_thread_locked",
        "restricted_action_non_threadable_channel",
    }
)
_WITHOUT_METADATA = frozenset(
    {"metadata_too_large", "metadata_must_be_sent_from_app", "invalid_metadata_format", "invalid_metadata_schema"}
)
_NOT_EDITABLE = frozenset(
    {"message_not_found", "edit_window_closed", "cant_update_message", "channel_not_found", "is_inactive"}
)
_UNCERTAIN = frozenset({"internal_error", "fatal_error", "rollup_error"})  # Slack: it may have succeeded in part
_BUSY = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)


class SlackError(ChannelError):
    """Slack refused a request; `code` is its own name for the reason, None if it named none."""

    code: str | None = None
    status: int = 0


class SlackChannel(Channel[SlackChannelSettings]):
    """Posts messages to one channel of Slack."""

    timeout: float = 60.0
    request_timeout: float = 15.0
    """Seconds that one request may take; an attempt may need several."""

    def __init__(self, name: str, settings: SlackChannelSettings, context: ChannelContext) -> None:
        super().__init__(name, settings, context)
        self._token = settings.bot_token.get_secret_value() if settings.bot_token is not None else None
        self._webhook = URL(settings.webhook_url.get_secret_value()) if settings.webhook_url is not None else None
        self.can_edit = self._token is not None
        secrets = [self._token] if self._token else []
        if self._webhook is not None:
            secrets += [str(self._webhook), self._webhook.path, self._webhook.name, self._webhook.raw_query_string]
        self._client = ChannelClient(context, filter(None, secrets))

    @property
    def destination(self) -> str:
        """The channel; for a webhook, whose URL is secret, the host."""
        if self._webhook is not None:
            return f"incoming webhook at {display_host(self._webhook)}"
        return str(self.settings.channel)

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Post or update one message. Raises ChannelError."""
        plain = f"{message.content.title}\n{render_text(message.content, self.context.url)}"
        if self._webhook is not None:
            notes = [_AGAIN] if message.is_repeated else []
            return await self._send_to_webhook(slack_blocks.render(message.content, self.context, plain, notes))
        return await self._send_as_bot(message, slack_blocks.render(message.content, self.context, plain))

    async def _send_to_webhook(self, rendered: SlackMessage) -> SendReceipt:
        assert self._webhook is not None
        delivery = _Document(rendered)
        while True:
            response = await self._request("POST", self._webhook, delivery.body)
            error = self._webhook_error(response)
            if error is None:
                return SendReceipt(note=delivery.note)
            if not delivery.adapt(error.code):
                raise error

    def _webhook_error(self, response: ChannelResponse) -> SlackError | None:
        text = response.body.decode("utf-8", "replace").strip()
        answer = _parse(response.body) or {}
        if response.is_success and not text.startswith("<") and answer.get("ok") is not False:
            return None
        code = answer.get("error") or (text if re.fullmatch("[a-z][a-z_]{1,99}", text) else "")
        return self._error(response, str(code), _GONE_WEBHOOK)

    async def _send_as_bot(self, message: OutgoingMessage, rendered: SlackMessage) -> SendReceipt:
        edited, root = self._place(message.edits), self._place(message.root)
        notes = []
        if edited is not None:
            try:
                return await self._update(edited, rendered)
            except SlackError as error:
                if error.code not in _NOT_EDITABLE:
                    raise
                notes.append(f"The earlier message could not be updated ({error.code}), so this is a new one")
                root = root or edited
                if error.code == "channel_not_found" or (error.code == "message_not_found" and root == edited):
                    root = None  # it was deleted: nobody would see a reply to it
        if message.is_repeated:
            posted, note = await self._find(message, root)
            if posted is not None:
                return SendReceipt(posted, _join(notes))
            notes += [note] if note else []
        document = _Document(rendered, notes)
        document.body |= {
            "channel": self.settings.channel if root is None else root.channel,
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"key": message.key}},
        }
        if root is not None:
            document.body["thread_ts"] = root.ts
        answer = await self._call_adapted("chat.postMessage", document)
        return SendReceipt(self._remote_id(answer), document.note)

    async def _update(self, edited: "_Place", rendered: SlackMessage) -> SendReceipt:
        document = _Document(rendered)
        document.body |= {"channel": edited.channel, "ts": edited.ts}
        answer = await self._call_adapted("chat.update", document)
        return SendReceipt(self._remote_id({"channel": edited.channel, "ts": edited.ts, **answer}), document.note)

    async def _call_adapted(self, method: str, document: "_Document") -> Mapping[str, Any]:
        while True:
            try:
                return await self._call(method, document.body)
            except SlackError as error:
                if not document.adapt(error.code):
                    raise

    async def _find(self, message: OutgoingMessage, root: "_Place | None") -> tuple[str | None, str | None]:
        """The remote id of this message if it was posted already, and a note if that cannot be known."""
        channel = root.channel if root is not None else str(self.settings.channel)
        query = {
            "channel": channel,
            "oldest": f"{_oldest(message, self.context.clock.machine.now()):.6f}",
            "include_all_metadata": "true",
            "limit": str(_SEARCH_PAGE),
        }
        if root is not None:
            query["ts"] = root.ts
        for _ in range(_SEARCH_PAGES):
            try:
                answer = await self._call("conversations.history" if root is None else "conversations.replies", query)
            except SlackError as error:
                if error.is_gone or error.code in _BUSY or (error.status >= 500 and error.status != 501):
                    raise
                reason = error.code or f"HTTP status {error.status}"
                return None, f"{_MAYBE_TWICE}: the bot cannot read the channel's history ({self._client.clean(reason)})"
            for each in _dicts(answer.get("messages")):
                if _key_of(each) == message.key:
                    return self._remote_id({"channel": channel, "ts": each.get("ts")}), None
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return None, None
            query["cursor"] = str(cursor)
        return None, f"{_MAYBE_TWICE}: the channel has too many new messages to search"

    async def _call(self, method: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call a method of the API and return its answer. Raises SlackError for any other than `ok: true`."""
        url = URL(self.settings.api_url.rstrip("/") + "/" + method)
        if method.startswith("conversations."):
            response = await self._request("GET", url.with_query(arguments), None)
        else:
            response = await self._request("POST", url, arguments)
        answer = _parse(response.body)
        if response.is_success and answer is not None and answer.get("ok") is True:
            return answer
        error = self._error(response, str((answer or {}).get("error") or ""), {})
        if error.code == "missing_scope" and answer is not None and answer.get("needed"):
            error.args = (f"Slack: {_TEMPORARY['missing_scope']} ({self._client.clean(str(answer['needed']))})",)
        raise error

    async def _request(self, method: str, url: URL, document: Mapping[str, Any] | None) -> ChannelResponse:
        headers = {} if self._webhook is not None else {"Authorization": f"Bearer {self._token}"}
        body, size = None, _MAX_SEARCH_BODY
        if document is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
            body, size = msgspec.json.encode(document), MAX_BODY
        return await self._client.request(
            method, url, headers=headers, body=body, seconds=self.request_timeout, max_body=size
        )

    def _error(self, response: ChannelResponse, code: str, gone: Mapping[str, str]) -> SlackError:
        code = code or ("ratelimited" if response.status == 429 else "")
        meaning = gone.get(code) or _GONE.get(code)
        is_gone = meaning is not None
        meaning = meaning or _TEMPORARY.get(code) or _PERMANENT.get(code)
        if meaning is not None:
            message = f"Slack: {meaning} ({code})"
        elif code:
            message = f"Slack refuses the message ({response.status_text}: {self._client.clean(code)})"
        elif response.is_redirect:
            message = f"{response.host} redirects to {response.redirect_host} ({response.status}); check the URL"
        elif response.status == 410:
            message, is_gone = f"{response.host} answered 410 Gone: it accepts no more messages", True
        else:
            message = ": ".join(
                filter(None, (f"{response.host} answered {response.status_text}", self._client.excerpt(response)))
            )
            if response.is_success:
                message += ", which is not an answer of Slack"
        error = SlackError(
            message,
            permanent=is_gone or code in _PERMANENT,
            retry_after=response.retry_after,
            is_gone=is_gone,
            may_have_arrived=code in _UNCERTAIN or (not code and (response.is_success or response.status >= 500)),
        )
        error.code, error.status = code or None, response.status
        return error

    def _place(self, remote_id: str | None) -> "_Place | None":
        """Where an earlier message is; None if it belongs to a channel that was configured before."""
        channel, _, rest = (remote_id or "").partition(":")
        ts, _, name = rest.partition(":")
        if not ts or self.settings.channel not in (channel, name):
            return None
        return _Place(channel, ts)

    def _remote_id(self, answer: Mapping[str, Any]) -> str | None:
        """`channel-id:ts`, then the configured channel if that is not the id."""
        channel, ts = answer.get("channel"), answer.get("ts")
        if not isinstance(channel, str) or not isinstance(ts, str):
            return None
        return f"{channel}:{ts}" + ("" if channel == self.settings.channel else f":{self.settings.channel}")


class _Place(msgspec.Struct, frozen=True):
    """A message in Slack."""

    channel: str
    ts: str


class _Document:
    """What is sent to Slack, and how it is adapted when Slack refuses it."""

    def __init__(self, rendered: SlackMessage, notes: Sequence[str] = ()) -> None:
        self._plain = rendered.plain
        self._notes = list(notes)
        self._adapted = set[frozenset[str]]()
        # parse and link_names: nothing in the text becomes a mention. chat.update parses unless told otherwise.
        self.body: dict[str, Any] = {
            "text": rendered.text,
            "blocks": list(rendered.blocks),
            "parse": "none",
            "link_names": False,
            "unfurl_links": False,
            "unfurl_media": False,
        }

    @property
    def note(self) -> str | None:
        """What a person should know about the message."""
        return _join(self._notes)

    def adapt(self, code: str | None) -> bool:
        """Change what this error is about, once each. Returns whether there is something to try."""
        codes = next((each for each in (_AS_PLAIN_TEXT, _WITHOUT_THREAD, _WITHOUT_METADATA) if code in each), None)
        if codes is None or codes in self._adapted:
            return False
        self._adapted.add(codes)
        if codes is _AS_PLAIN_TEXT:
            # Without an empty list, chat.update would keep the blocks of the earlier message.
            self.body |= {"text": self._plain, "blocks": [], "mrkdwn": False}
            self._notes.append(f"Sent as plain text, because Slack refused the formatted message ({code})")
        elif codes is _WITHOUT_THREAD:
            if self.body.pop("thread_ts", None) is None:
                return False
            self._notes.append(f"Sent outside its thread, because Slack refused the reply ({code})")
        else:
            self.body.pop("metadata", None)
        return True


def _join(notes: Sequence[str]) -> str | None:
    return "; ".join(notes) or None


def _parse(body: bytes) -> Mapping[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _key_of(posted: Mapping[str, Any]) -> str | None:
    """The key of one of our messages."""
    metadata = posted.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("event_type") != EVENT_TYPE:
        return None
    values = metadata.get("event_payload")
    return values.get("key") if isinstance(values, dict) else None


def _oldest(message: OutgoingMessage, now: datetime) -> float:
    return (min(message.created_at, now) - _CLOCK_TOLERANCE).timestamp()
