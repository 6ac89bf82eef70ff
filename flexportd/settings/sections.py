"""The sections of the configuration. Type, default and sentence of each key are also its documentation.

Rules between keys are checked at the later key, against the earlier ones that are sound: so every problem of a file
is found at once, and each has a key, and so a line, to point at.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from flexportd.settings import places
from flexportd.settings.addresses import AllowedNetworks, Listens, Networks, OptionalUrl, Route, Url, check_socket_path
from flexportd.settings.forms import (
    FilePath,
    Line,
    Number,
    OptionalLine,
    OptionalPath,
    OptionalSwitch,
    RuleError,
    Switch,
    Token,
    WebhookSecrets,
    Whole,
    Words,
    key,
)
from flexportd.settings.origins import Origins
from flexportd.settings.profiles import lifetimes, profile, profile_names
from flexportd.settings.rates import RateLimit
from flexportd.settings.resources import Resources
from flexportd.settings.units import Duration, Retention, Size, format_duration

_NONE = timedelta(0)
_OFTEN = timedelta(seconds=10)  # oftener would be a flood, of requests and of runs that overlap
_DAY = timedelta(days=1)
_BY_PROFILE = {"shown": "by environment", "sample": "https://api.flexport.com"}
_TOKENS = _BY_PROFILE | {"sample": "https://api.flexport.com/oauth/token"}


class SectionModel(BaseModel):
    """What all sections share: nothing changes after loading, nothing unknown gets in, no input in error texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


def _check_environment(value: str) -> str:
    if value not in profile_names():
        raise ValueError(f"allowed are {', '.join(profile_names())}")
    return value


def _from_profile(data: dict[str, Any]) -> Any:
    return profile(data.get("environment", "production"))


def _check_timezone(value: str) -> str:
    # zoneinfo raises OSError for folders of its database ("America") and for names that are too long.
    try:
        ZoneInfo(value)
    except (LookupError, ValueError, OSError):
        raise ValueError('an IANA time zone such as "UTC" or "Europe/Berlin" is needed') from None
    return value


class FlexportSettings(SectionModel):
    """Flexport's API: where it is, how to sign in, how gently to ask."""

    environment: Annotated[Line, AfterValidator(_check_environment)] = key(
        "production",
        "The profile that supplies base_url, token_url and audience: production, or sandbox for `flexportd sandbox`.",
    )
    base_url: Url = key(lambda data: _from_profile(data).base_url, "Where Flexport's API answers.", **_BY_PROFILE)
    api_version: Literal["2"] = key("2", "The version of Flexport's API that is asked for.")
    api_key: Token = key(None, "An API key of Flexport; use this, or client_id with client_secret.", sample="...")
    client_id: OptionalLine = key(None, "The id of Flexport API credentials (OAuth).", sample="...")
    client_secret: Token = key(None, "The secret that belongs to client_id.", sample="...")
    token_url: Url = key(lambda data: _from_profile(data).token_url, "Where tokens are fetched.", **_TOKENS)
    audience: Line = key(lambda data: _from_profile(data).audience, "For whom tokens are asked for.", **_BY_PROFILE)
    requests_per_second: Number = key(5, "How many requests a second may be sent.", gt=0, allow_inf_nan=False)
    concurrency: Whole = key(4, "How many requests may be under way at once.", ge=1, le=32)
    timeout: Duration = key("30s", "How long one request may take.", gt=_NONE)

    @field_validator("client_secret")
    @classmethod
    def _one_way_to_sign_in(cls, value: object, info: ValidationInfo) -> object:
        if "api_key" not in info.data or "client_id" not in info.data:
            return value
        name = info.data["client_id"]
        if info.data["api_key"] is not None and (name is not None or value is not None):
            raise RuleError("give either api_key, or client_id and client_secret, not both")
        if (name is None) != (value is None):
            raise RuleError("missing, client_id needs it" if value is None else "needs client_id, which is missing")
        return value


class WebhookSettings(SectionModel):
    """What Flexport sends to us."""

    path: Route = key("/webhooks/flexport", "Where Flexport's webhooks arrive.")
    secrets: WebhookSecrets = key(
        (),
        "The secrets that Flexport signs with; any may match, so that they can be rotated.",
        shown="none: every webhook is refused",
        sample=["CHANGE-ME"],
    )
    allow_sha1: Switch = key(False, "Whether the older SHA-1 signature is enough where no SHA-256 one is sent.")
    max_body: Size = key("8MiB", "The largest webhook accepted; an event embeds whole shipments.", ge=1024, le=2**28)
    allowed_networks: AllowedNetworks = key((), "Only these networks may send webhooks; empty: all.", shown="[]")
    max_pending: Whole = key(100_000, "With this many items waiting, webhooks get 503 and Retry-After.", ge=1)


class ServerSettings(SectionModel):
    """Where flexportd listens."""

    listen: Listens = key("127.0.0.1:8080", "The address or addresses of the web server; port 0 takes a free one.")
    public_url: OptionalUrl = key(
        None, "The address under which others reach flexportd, for links.", sample="https://freight.example.com"
    )
    trusted_proxies: Networks = key((), "The proxies whose X-Forwarded-For and -Proto are trusted.", shown="[]")
    tls_cert: OptionalPath = key(
        None, "The certificate chain (PEM), to serve HTTPS without a proxy.", sample="/etc/flexportd/tls/cert.pem"
    )
    tls_key: OptionalPath = key(
        None, "The private key (PEM) that belongs to tls_cert.", sample="/etc/flexportd/tls/key.pem"
    )

    max_connections: Whole = key(
        8192, "The most connections at once; fewer where the limit of open files is too low for as many.", ge=16
    )
    max_connections_per_address: Whole = key(
        2048, "The most connections from one address (IPv6: /64); trusted proxies may have any number.", ge=8
    )

    @field_validator("tls_key")
    @classmethod
    def _both_or_none(cls, value: object, info: ValidationInfo) -> object:
        if "tls_cert" in info.data and (value is None) != (info.data["tls_cert"] is None):
            raise RuleError("missing, tls_cert needs it" if value is None else "needs tls_cert, which is missing")
        return value


class StorageSettings(SectionModel):
    """Where flexportd keeps what it knows, and for how long."""

    data_dir: FilePath = key(
        lambda: places.data_folder(os.environ),
        "The folder of the database; back this up.",
        shown="$STATE_DIRECTORY, else ~/.local/share/flexportd",
        sample="/var/lib/flexportd",
    )
    cache_dir: FilePath = key(
        lambda: places.cache_folder(os.environ),
        "The folder for what can be fetched again; it may be deleted at any time.",
        shown="$CACHE_DIRECTORY, else ~/.cache/flexportd",
        sample="/var/cache/flexportd",
    )
    control_socket: Annotated[FilePath, AfterValidator(check_socket_path)] = key(
        lambda data: places.control_socket(os.environ, data.get("data_dir", Path("/"))),
        "The Unix socket by which the other commands reach the daemon.",
        shown="$RUNTIME_DIRECTORY/control.sock, else control.sock in data_dir",
        sample="/run/flexportd/control.sock",
    )
    event_retention: Retention = key("400d", "How long the bytes of an event are kept.")
    history_retention: Retention = key("forever", "How long the history of changes is kept.")

    @field_validator("cache_dir")
    @classmethod
    def _apart(cls, value: Path, info: ValidationInfo) -> Path:
        if "data_dir" in info.data:
            mine, other = (os.path.realpath(path) for path in (value, info.data["data_dir"]))
            # The cache may be deleted at any time, which must never reach the data.
            if os.path.commonpath([mine, other]) in {mine, other}:
                raise ValueError("must lie apart from data_dir, neither may be inside the other")
        return value


class QueueSettings(SectionModel):
    """How items are worked off, and how failures are tried again."""

    workers: Whole = key(4, "How many items that act elsewhere (fetches, sends) run at once.", ge=1, le=64)
    max_attempts: Whole = key(8, "After this many failed attempts an item becomes a dead letter.", ge=1, le=100)
    base_delay: Duration = key("2s", "The wait after the first failure; it doubles with each further one.", gt=_NONE)
    max_delay: Duration = key("15m", "The longest wait between two attempts.", gt=_NONE)
    lease: Duration = key("60s", "How long an item that acts elsewhere may run before it is taken back.", gt=_NONE)

    @field_validator("max_delay")
    @classmethod
    def _not_below_base(cls, value: timedelta, info: ValidationInfo) -> timedelta:
        if "base_delay" in info.data and value < info.data["base_delay"]:
            raise ValueError(f"must be at least base_delay, which is {format_duration(info.data['base_delay'])}")
        return value


class SyncSettings(SectionModel):
    """How what webhooks missed is found."""

    full_interval: Duration = key("1h", "How often everything is compared.", ge=_OFTEN)
    incremental_interval: Duration = key("5m", "How often what changed lately is read.", ge=_OFTEN)
    events_interval: Duration = key("2m", "How often Flexport's list of events is read.", ge=_OFTEN)
    overlap: Duration = key("10m", "How far each reading reaches back into the one before.", ge=_NONE, le=_DAY)
    resources: Resources = key((), "Only these resources are read; empty: all.", shown="[]", sample=["shipments"])
    refresh_after_event: Switch = key(True, "Whether the resource of an event is fetched once after it.")


class DocumentsSettings(SectionModel):
    """The files of documents."""

    archive: Switch = key(False, "Whether the file of every document is fetched and kept in data_dir, for good.")
    max_size: Size = key("50MiB", "Larger files are not fetched.", ge=1024, le=2**30)
    types: Words = key(
        (),
        "Only files of these types are archived, in Flexport's words; empty: all.",
        shown="[]",
        sample=["commercial_invoice", "packing_list"],
    )


def _kept(kind: str, what: str) -> Any:
    return key(lifetimes()[kind], f"How long {what} may be kept.")


class Lifetimes(SectionModel):
    """How long each type of answer may be kept; `0s` keeps none."""

    shipment: Duration = _kept("shipment", "answers about shipments")
    leg: Duration = _kept("leg", "answers about legs")
    container: Duration = _kept("container", "answers about containers")
    container_leg: Duration = _kept("container_leg", "answers about container legs")
    product: Duration = _kept("product", "answers about products")
    invoice: Duration = _kept("invoice", "answers about freight invoices")
    commercial_invoice: Duration = _kept("commercial_invoice", "answers about commercial invoices")
    booking: Duration = _kept("booking", "answers about bookings")
    booking_line_item: Duration = _kept("booking_line_item", "answers about booking line items")
    purchase_order: Duration = _kept("purchase_order", "answers about purchase orders")
    purchase_order_line_item: Duration = _kept("purchase_order_line_item", "answers about purchase order line items")
    document: Duration = _kept("document", "answers about documents")
    customs_entry: Duration = _kept("customs_entry", "answers about customs entries")
    company: Duration = _kept("company", "answers about companies")
    company_entity: Duration = _kept("company_entity", "answers about company entities")
    contact: Duration = _kept("contact", "answers about contacts")
    location: Duration = _kept("location", "answers about locations")
    port: Duration = _kept("port", "answers about ports")
    timeline: Duration = _kept("timeline", "timelines of shipments")
    page: Duration = _kept("page", "pages of the dashboard, and answers of no other type here,")
    file: Duration = _kept("file", "files of documents")


class CacheSettings(SectionModel):
    """Finished answers, kept in cache_dir until what they show changes; a lifetime of 0s keeps none."""

    size_limit: Size = key("256MiB", "The most that may be kept on disk.", ge=2**20)
    ttl: Lifetimes = Field(default_factory=Lifetimes)

    def seconds(self) -> dict[str, float]:
        """The lifetime of each type of answer."""
        return {kind: span.total_seconds() for kind, span in self.ttl}


class ApiSettings(SectionModel):
    """The JSON API."""

    require_key: OptionalSwitch = key(
        None,
        "Whether every caller needs a key, for the pages and administration too. Unless set, keys are needed when "
        "listen names anything but loopback addresses (a Unix socket counts, also one from systemd), or when "
        "public_url or trusted_proxies is set. With false, everyone who can connect reads everything and administers.",
        shown="true, unless listen is loopback only and neither public_url nor trusted_proxies is set",
        sample=True,
    )
    cors_origins: Origins = key(
        (),
        'The web sites whose pages may ask, as https://app.example.com; ["*"] is all of them, where keys are required.',
        shown="[]",
        sample=["https://app.example.com"],
    )
    rate_limit: RateLimit = key("3000/1m", "How often one key may ask, unless it has a rate of its own.")
    page_size: Whole = key(50, "How many rows a list has unless asked otherwise.", ge=1, le=1000)
    max_page_size: Whole = key(500, "How many rows may be asked for at once.", ge=1, le=1000)

    @field_validator("max_page_size")
    @classmethod
    def _not_below_page(cls, value: int, info: ValidationInfo) -> int:
        if "page_size" in info.data and value < info.data["page_size"]:
            raise ValueError(f"must be at least page_size, which is {info.data['page_size']}")
        return value


class DashboardSettings(SectionModel):
    """The pages for people."""

    enabled: Switch = key(True, "Whether the pages are served.")
    title: Line = key("flexportd", "The name on every page.", max_length=80)
    timezone: Annotated[Line, AfterValidator(_check_timezone)] = key("UTC", "The IANA time zone of times on pages.")


class LogSettings(SectionModel):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = key("info", "The least important lines that are written.")
    format: Literal["auto", "console", "json"] = key("auto", "auto: console on a terminal, JSON otherwise.")
    access: Switch = key(True, "Whether each request is a line in the log (level info); webhooks have the event log.")
