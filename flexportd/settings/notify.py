"""The section `[notify]`: channels, rules and what applies to all of them.

Only structure and types are checked here. `flexportd.notify.rules` checks what needs knowledge of topics and fields:
patterns, conditions, schedules, templates, and whether a rule's channels exist.
"""

import base64
import functools
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from flexportd.settings.addresses import HostName, check_target_url, is_private_host
from flexportd.settings.defaults import default_rules
from flexportd.settings.mail_address import MailAddress, parse_mail_address
from flexportd.settings.section_model import SectionModel, TimeZone, require_both
from flexportd.settings.value_types import (
    Duration,
    Line,
    RuleError,
    Switch,
    Token,
    ValueType,
    Whole,
    ensure,
    key,
    show_list,
    toml_value,
)

MAX_CHANNELS = 50
MAX_RULES = 200
MAX_RECIPIENTS = 50
MAX_SECRETS = 5
_SECRET_BYTES = (24, 64)  # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
_SECRET_PREFIX = "whsec_"  # noqa: S105 (what each secret begins with)
_MAX_TEMPLATE = 20_000  # characters
_ZERO = timedelta(0)

CHANNEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def _as_list(value: object) -> object:
    """One item as a list of one."""
    return [value] if isinstance(value, str | SecretStr | MailAddress) else value


def _check_addresses(value: tuple[MailAddress, ...]) -> tuple[MailAddress, ...]:
    if not 1 <= len(value) <= MAX_RECIPIENTS:
        raise ValueError(f"expected from 1 to {MAX_RECIPIENTS} mail addresses")
    return tuple({each.address: each for each in value}.values())


def _check_secret_text(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or not text.isprintable() or len(text) > 1000:
        raise ValueError("expected one line of text")
    return value


def _check_slack_url(value: SecretStr) -> SecretStr:
    url = check_target_url(value.get_secret_value())
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_private_host(parts.hostname or ""):
        raise ValueError("expected an https:// URL; http:// is allowed only for private and loopback addresses")
    return value


def _check_apprise_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[!-~\xa1-\U0010ffff]{1,2000}", text):
        raise ValueError('expected an Apprise URL such as "ntfy://ntfy.example.com/freight" or "msteams://..."')
    return value


def _check_signing_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    least, most = _SECRET_BYTES
    try:
        size = len(base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True))
    except ValueError:
        size = 0
    size = size if text.startswith(_SECRET_PREFIX) else 0
    if not least <= size <= most:
        raise ValueError(
            f'expected "{_SECRET_PREFIX}" and the base64 text of {least} to {most} random bytes, such as the output of '
            f"`echo {_SECRET_PREFIX}$(openssl rand -base64 32)`"
        )
    return value


def _show_target(url: str) -> str:
    """A URL for people, without its query, which often contains a token."""
    bare, query, _ = url.partition("?")
    return f"{bare}?***" if query else bare


SecretText = Annotated[SecretStr, AfterValidator(_check_secret_text), ValueType("text", article="", secret=True)]
Address = Annotated[MailAddress, BeforeValidator(parse_mail_address), ValueType("mail address")]
Recipients = Annotated[
    tuple[Annotated[MailAddress, BeforeValidator(parse_mail_address)], ...],
    BeforeValidator(_as_list),
    AfterValidator(_check_addresses),
    ValueType(f"mail address or list of at most {MAX_RECIPIENTS}", kind="list", show=show_list),
]
SlackUrl = Annotated[
    SecretStr, AfterValidator(_check_slack_url), ValueType("https address", article="an ", secret=True)
]
TargetUrl = Annotated[
    str, AfterValidator(check_target_url), ValueType("http(s) address", article="an ", show=_show_target)
]
SigningSecrets = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_check_signing_secret)], ...],
    BeforeValidator(_as_list),
    ensure(lambda value: 1 <= len(value) <= MAX_SECRETS, f"expected from 1 to {MAX_SECRETS} secrets"),
    ValueType(
        f'text "{_SECRET_PREFIX}..." or list of at most {MAX_SECRETS}',
        kind="list",
        secret=True,
    ),
]
AppriseUrls = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_check_apprise_url)], ...],
    BeforeValidator(_as_list),
    ensure(lambda value: 1 <= len(value) <= MAX_RECIPIENTS, f"expected from 1 to {MAX_RECIPIENTS} URLs"),
    ValueType("URL of Apprise or list of them", kind="list", secret=True),
]
Texts = Annotated[
    tuple[Line, ...],
    BeforeValidator(_as_list),
    ensure(lambda value: len(value) <= 50, "expected at most 50 texts"),
    ValueType("text or list of texts", kind="list", show=show_list, missing="all"),
]
Template = Annotated[
    str,
    ensure(lambda text: len(text) <= _MAX_TEMPLATE, f"expected at most {_MAX_TEMPLATE} characters"),
    ValueType("Jinja2 template", show=lambda text: text if len(text) <= 60 else f"{text[:57]}..."),
]


Conditions = Annotated[
    Mapping[str, Any], ValueType("table of conditions", kind="table", show=toml_value, missing="none")
]


Schedule = Annotated[Line, ValueType('"daily HH:MM" or "weekly DAY HH:MM"', article="")]
Window = Annotated[Line, ValueType('two times "HH:MM-HH:MM"', article="")]


class EmailChannelSettings(SectionModel):
    """Mail through an SMTP server."""

    type: Literal["email"] = key(..., "The type of the channel.")
    to: Recipients = key(..., "The recipients.", sample=["team@example.com"])
    sender: Address = key(..., "The sender.", alias="from", sample="flexportd@example.com")
    smtp_host: HostName = key(..., "The SMTP server. It may have a private address.", sample="mail.example.com")
    tls: Switch = key(False, "Connect with TLS from the first byte (port 465).")
    starttls: Switch = key(
        lambda data: not data.get("tls", False),
        "Require STARTTLS: a server that does not offer it gets no message.",
        shown="true, unless tls = true",
        sample=True,
    )
    smtp_port: Whole = key(
        lambda data: 465 if data.get("tls") else 587,
        "The port of the SMTP server.",
        shown="587; 465 with tls = true",
        sample=587,
        ge=1,
        le=65535,
    )
    smtp_user: Line | None = key(None, "The user name for the SMTP server.", sample="flexportd", max_length=320)
    smtp_password: SecretText | None = key(None, "The password that belongs to smtp_user.", sample="...")

    @field_validator("starttls")
    @classmethod
    def _one_encryption(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("tls"):
            raise RuleError("starttls and tls exclude each other: set only one of them to true")
        return value

    @field_validator("smtp_password")
    @classmethod
    def _both_or_none(cls, value: object, info: ValidationInfo) -> object:
        if "smtp_user" in info.data:
            require_both(value, info.data["smtp_user"], "smtp_user")
        return value

    @property
    def is_encrypted(self) -> bool:
        """Whether messages and password leave this machine encrypted."""
        return self.tls or self.starttls

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret of the channel."""
        return (self.smtp_password.get_secret_value(),) if self.smtp_password else ()


class SlackChannelSettings(SectionModel):
    """Slack, through an incoming webhook or as a bot, which can also reply in threads and update its messages."""

    type: Literal["slack"] = key(..., "The type of the channel.")
    webhook_url: SlackUrl | None = key(
        None,
        "The URL of an incoming webhook. Use either this, or bot_token and channel.",
        sample="https://hooks.slack.com/services/...",
    )
    bot_token: Token | None = key(None, "The token of a Slack app (xoxb-...) with the scope chat:write.", sample="...")
    channel: Line | None = key(
        None, "The channel that the bot writes to, by its ID or #name.", sample="C0123456789", max_length=100
    )
    api_url: Annotated[TargetUrl, AfterValidator(lambda url: f"{url.rstrip('/')}/")] = key(
        "https://slack.com/api/", "The URL of Slack's API, for compatible servers. It may be a private address."
    )

    @field_validator("channel")
    @classmethod
    def _one_way_to_send(cls, value: object, info: ValidationInfo) -> object:
        if "webhook_url" not in info.data or "bot_token" not in info.data:
            return value
        bot_token = info.data["bot_token"]
        if info.data["webhook_url"] is not None:
            if bot_token is not None or value is not None:
                raise RuleError("set either webhook_url, or bot_token and channel, not both")
        elif bot_token is None and value is None:
            raise RuleError("missing: set either webhook_url, or bot_token and channel")
        require_both(value, bot_token, "bot_token")
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret of the channel."""
        given = (self.webhook_url, self.bot_token)
        return tuple(secret.get_secret_value() for secret in given if secret is not None)


class WebhookChannelSettings(SectionModel):
    """Signed HTTP requests to a program, after the Standard Webhooks specification."""

    type: Literal["webhook"] = key(..., "The type of the channel.")
    allow_private: Switch = key(False, "Allow a target with a private or loopback address, and http:// to it.")
    url: TargetUrl = key(..., "The URL that receives the messages.", sample="https://erp.example.com/hooks")
    secret: SigningSecrets = key(
        ...,
        "The secret that signs the messages. To replace it, give the new one and the old one; each signs.",
        sample="whsec_...",
    )

    @field_validator("url")
    @classmethod
    def _safe_target(cls, value: str, info: ValidationInfo) -> str:
        parts = urlsplit(value)
        is_private = is_private_host(parts.hostname or "")
        if is_private and not info.data.get("allow_private", True):
            raise ValueError("this is a private or loopback address, which requires allow_private = true")
        if parts.scheme == "http" and not is_private:
            raise ValueError(
                "expected an https:// URL; http:// is allowed only for private and loopback addresses, with "
                "allow_private = true"
            )
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret of the channel, also those in its URL."""
        query = urlsplit(self.url).query
        return (*(secret.get_secret_value() for secret in self.secret), *([query] if len(query) > 3 else []))


class AppriseChannelSettings(SectionModel):
    """Any service that Apprise supports: Microsoft Teams, Discord, ntfy, Telegram, SMS and others."""

    type: Literal["apprise"] = key(..., "The type of the channel.")
    url: AppriseUrls = key(
        ...,
        "The URL of the service, as described on https://appriseit.com. It contains its tokens.",
        sample="ntfys://ntfy.sh/...",
    )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret of the channel."""
        return tuple(secret.get_secret_value() for secret in self.url)


ChannelSettings = EmailChannelSettings | SlackChannelSettings | WebhookChannelSettings | AppriseChannelSettings

CHANNEL_MODELS: Mapping[str, type[ChannelSettings]] = {
    "email": EmailChannelSettings,
    "slack": SlackChannelSettings,
    "webhook": WebhookChannelSettings,
    "apprise": AppriseChannelSettings,
}
"""The model of each type of channel."""


class RuleSettings(SectionModel):
    """Which messages are sent, to which channels, and when."""

    name: Annotated[Line, AfterValidator(str.strip)] = key(
        ..., "The name of the rule, different from that of every other rule.", sample="ETA slips", max_length=100
    )
    on: Annotated[Texts, ensure(bool, "expected one or more topics")] = key(
        ..., "Topics or patterns of topics, such as shipment.eta_changed or exception.*.", sample="shipment.eta_changed"
    )
    when: Conditions = key({}, "The conditions; all of them must hold.", shown="none", sample={"days_later": 2})
    channels: Texts = key((), "The channels that the messages are sent to.", shown="all channels", sample=["ops"])
    digest: Schedule | None = key(
        None, "Send one digest at this time instead of single messages.", shown="none", sample="daily 07:30"
    )
    quiet: Window | None = key(
        None, "Hold messages back between these times of day.", shown="none", sample="22:00-07:00"
    )
    timezone: TimeZone | None = key(
        None, "The IANA time zone of digest and quiet.", shown="timezone of [notify]", sample="Europe/Berlin"
    )
    max_per_hour: Whole | None = key(
        None,
        "The maximum number of messages per channel and hour; the others are summarized.",
        shown="no limit",
        sample=20,
        ge=1,
        le=1000,
    )
    template: Template | None = key(None, "The text of a message.", shown="the standard text", sample="{{ title }}")
    subject: Template | None = key(
        None, "The subject or title of a message.", shown="the standard subject", sample="{{ title }}"
    )
    enabled: Switch = key(True, "Apply the rule.")


class NotifySettings(SectionModel):
    """Notifications by mail, Slack, webhooks and other services."""

    default_rules: Switch | None = key(
        None,
        "Apply the rules that ship with flexportd (config/notify.toml). A rule of the same name replaces one of them.",
        shown="true, unless [[notify.rules]] are set",
        sample=True,
    )
    gather: Duration = key(
        "10s",
        "How long a message waits for others about the same matter.",
        ge=_ZERO,
        le=timedelta(minutes=10),
    )
    timezone: TimeZone | None = key(
        None,
        "The IANA time zone of digests and quiet hours.",
        shown="timezone of [dashboard]",
        sample="Europe/Berlin",
    )
    channels: Mapping[str, Annotated[ChannelSettings, Field(discriminator="type")]] = Field(default_factory=dict)
    rules: tuple[RuleSettings, ...] = ()

    @property
    def active_rules(self) -> tuple[RuleSettings, ...]:
        """The rules in force: those of the file, then the shipped ones unless replaced or switched off."""
        applies = not self.rules if self.default_rules is None else self.default_rules
        names = {rule.name.casefold() for rule in self.rules}
        shipped = (rule for rule in shipped_rules() if rule.name.casefold() not in names) if applies else ()
        return (*self.rules, *shipped)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret of the channels."""
        return tuple(secret for channel in self.channels.values() for secret in channel.secrets)


@functools.cache
def shipped_rules() -> tuple[RuleSettings, ...]:
    """The rules in config/notify.toml."""
    return tuple(RuleSettings.model_validate(rule) for rule in default_rules())
