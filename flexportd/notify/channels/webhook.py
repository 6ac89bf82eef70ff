"""Outgoing webhooks: each message is one signed POST request.

Source: the Standard Webhooks specification,
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
from yarl import URL

from flexportd.clock import stamp
from flexportd.notify.channels.channel import Channel, ChannelContext, ChannelError, OutgoingMessage, SendReceipt
from flexportd.notify.channels.http import ChannelClient, ChannelResponse, display_url
from flexportd.settings.notify import WebhookChannelSettings

_PREFIX = "whsec_"
_HINTS = {
    401: "check whether it verifies the signature with the secret of this channel",
    403: "check whether it verifies the signature with the secret of this channel",
    404: "check the url of this channel",
    405: "the url of this channel does not accept POST requests",
}


class _Payload(msgspec.Struct, frozen=True):
    type: str
    timestamp: str
    data: dict[str, Any]


class WebhookChannel(Channel[WebhookChannelSettings]):
    """Sends each message to one URL, signed with every secret.

    Any status but 2xx is a failure. 410 switches the channel off; after every other one the message is sent again,
    since the endpoint or its URL may be repaired.
    """

    folds: ClassVar[bool] = False
    request_timeout: float = 20.0
    """Seconds that one request may take."""

    def __init__(self, name: str, settings: WebhookChannelSettings, context: ChannelContext) -> None:
        super().__init__(name, settings, context)
        secrets = [secret.get_secret_value() for secret in settings.secret]
        self._keys = [_key(secret) for secret in secrets]
        self._url = url = URL(settings.url)
        hidden = (*secrets, *(secret.removeprefix(_PREFIX) for secret in secrets), url.raw_query_string, url.password)
        self._client = ChannelClient(context, filter(None, hidden), allow_private=settings.allow_private)

    @property
    def destination(self) -> str:
        """The URL without its query."""
        return display_url(self.settings.url)

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Send one message. Raises ChannelError."""
        body = payload(message)
        timestamp = str(int(self.context.clock.machine.now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.key,
            "webhook-timestamp": timestamp,
            "webhook-signature": signatures(self._keys, message.key, timestamp, body),
        }
        response = await self._client.request(
            "POST", self._url, headers=headers, body=body, seconds=self.request_timeout
        )
        if not response.is_success:
            raise self._refusal(response)
        return SendReceipt(remote_id=message.key)

    def _refusal(self, response: ChannelResponse) -> ChannelError:
        host = response.host
        if response.is_redirect:
            return ChannelError(
                f"{host} redirects to {response.redirect_host} ({response.status}), and redirects are not followed; "
                "set url to the final URL",
                retry_after=response.retry_after,
            )
        sentence = f"{host} answered {response.status_text}"
        if response.status == 410:
            return ChannelError(f"{sentence}: it accepts no more messages", permanent=True, is_gone=True)
        parts = filter(None, (_HINTS.get(response.status), self._client.excerpt(response)))
        return ChannelError(
            ": ".join((sentence, *parts)),
            retry_after=response.retry_after,
            may_have_arrived=response.status >= 500,
        )


def payload(message: OutgoingMessage) -> bytes:
    """The body of the request: the same bytes in every attempt."""
    content = message.content
    document = _Payload(content.topic or "notification", stamp(message.created_at), dict(content.data))
    return msgspec.json.encode(document, order="deterministic")


def signatures(keys: Iterable[bytes], message_id: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`: one signature for each key."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f'a secret is not "{_PREFIX}" and base64 text') from error
