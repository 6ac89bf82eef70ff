"""What every channel has in common: what it is given, what it returns, and how it fails.

A new channel is one module with a subclass of `Channel`, one entry in `registry.CHANNEL_TYPES`, and its settings in
`settings/notify.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from flexportd.clock import Clock
from flexportd.errors import FlexportdError
from flexportd.notify.content import Content

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class ChannelContext:
    """What channels share: the clock, the title of the dashboard, and its URL for links (without a slash at the end).

    `user_agent` names flexportd with its version in HTTP requests.
    """

    clock: Clock
    title: str = "flexportd"
    public_url: str | None = None
    user_agent: str = "flexportd"

    def url(self, path: str | None) -> str | None:
        """The absolute URL of a page of the dashboard; None where the URL of the dashboard is not configured."""
        return None if path is None or self.public_url is None else f"{self.public_url}{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """One message to send.

    `key` identifies it in every attempt (letters, digits, `_`): the id of a webhook, the left part of a Message-ID.
    `thread` names the conversation that it belongs to, `root` is the remote id of the first message there; `edits` that
    of the message that it replaces. `is_repeated`: an attempt before this one may have arrived. `progress` is what the
    last attempt returned, such as the recipients that have accepted it.
    """

    key: str
    content: Content
    created_at: datetime
    thread: str | None = None
    root: str | None = None
    edits: str | None = None
    is_repeated: bool = False
    progress: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SendReceipt:
    """A message that was accepted.

    `remote_id` is by what it can be edited or answered: Slack's `ts`, a Message-ID. `note` is what a person should
    know although it was sent, such as a refused recipient.
    """

    remote_id: str | None = None
    note: str | None = None


class ChannelError(FlexportdError):
    """A message was not accepted. The sentence names the channel's answer, never a secret.

    `permanent`: repeating it cannot help. `retry_after` (seconds) is a minimum. `is_gone`: the channel refuses
    everything from now on (410, a revoked token) and is to be switched off. `progress` is given to the next attempt.
    `may_have_arrived`: it is not known whether the message was accepted, as when a connection broke before the answer.
    `is_channel_working`: only this message has to wait, as when a mail server defers one recipient of three.
    """

    slug = "channel"

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        retry_after: float = 0.0,
        is_gone: bool = False,
        progress: Mapping[str, Any] | None = None,
        may_have_arrived: bool = False,
        is_channel_working: bool = False,
    ) -> None:
        self.permanent = permanent
        self.retry_after = retry_after
        self.is_gone = is_gone
        self.progress = progress
        self.may_have_arrived = may_have_arrived
        self.is_channel_working = is_channel_working
        super().__init__(message)


class Channel(ABC, Generic[S]):
    """Sends messages to one configured destination. One is made for each `[notify.channels.NAME]`, again at reload."""

    folds: ClassVar[bool] = True
    """Whether it reaches people: messages of one cause are one message. A program gets each message by itself."""
    can_edit: bool = False
    """Whether a message that was sent can be replaced."""
    timeout: float = 30.0
    """Seconds that one attempt may take."""

    def __init__(self, name: str, settings: S, context: ChannelContext) -> None:
        self.name = name
        self.settings = settings
        self.context = context

    @property
    @abstractmethod
    def destination(self) -> str:
        """Where messages go, for people, without secrets: `ops@example.com`, `https://erp.example.com/hooks`."""

    @abstractmethod
    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Send one message. Raises ChannelError."""

    async def close(self) -> None:
        """Close connections."""
