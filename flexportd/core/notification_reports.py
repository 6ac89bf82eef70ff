"""What people are answered about notifications: previews of rules, explanations of events, tests, digests."""

from typing import Annotated, NotRequired, TypedDict

from flexportd.core.json_types import Stamp, doc


class PreviewMessage(TypedDict):
    """A message that a rule would have sent."""

    at: Stamp
    channel: str
    kind: Annotated[str, doc("message, summary of what was held back, or digest.")]
    title: str
    text: Annotated[str, doc("As plain text.")]
    notifications: Annotated[int, doc("Number of matches in it.")]


class RulePreview(TypedDict):
    """What a rule would have done since a time.

    `matched` occurrences became `sent` messages; `held` are those that are no message of their own: `merged` into
    another one, `waiting`, or `dropped` by reason. The first messages are listed.
    """

    rule: str
    since: Stamp
    until: Stamp
    matched: int
    sent: int
    held: int
    merged: int
    waiting: int
    dropped: Annotated[dict[str, int], doc("Reason and number of matches.")]
    messages: list[PreviewMessage]
    is_complete: Annotated[bool, doc("False if there was too much to compose; the numbers are then too low.")]


class RuleVerdict(TypedDict):
    """What a rule says of a message: whether it matches, and why or why not; what became of it on each channel."""

    rule: str
    matched: bool
    reason: str
    channels: NotRequired[Annotated[dict[str, str], doc("Channel and what became of the message there.")]]


class ExplainedMessage(TypedDict):
    """A message that an event caused, with the verdict of each rule."""

    topic: str
    resource: str | None
    resource_id: str | None
    shipment_id: int | None
    at: Stamp
    is_news: Annotated[bool, doc("False for the milestone of an old event that was replayed.")]
    rules: list[RuleVerdict]


class EventExplanation(TypedDict):
    """The messages that an event caused, as far as the change log still has them."""

    event_id: str
    messages: list[ExplainedMessage]
    note: Annotated[str | None, doc("Why there are no messages.")]


class ChannelTestResult(TypedDict):
    """The result of a test message; `error` is None if it was accepted, `note` what should be known nevertheless."""

    channel: str
    type: str
    destination: str
    delivery_id: str
    sent: bool
    error: str | None
    note: str | None


class DigestResult(TypedDict):
    """A digest; `delivery_id` is None in a dry run, and the texts are None if there is nothing to say."""

    rule: str
    channel: str
    title: str | None
    text: str | None
    delivery_id: str | None
