"""All settings of one daemon."""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from flexportd.settings.addresses import ANY_ORIGIN
from flexportd.settings.sections import (
    ApiSettings,
    CacheSettings,
    DashboardSettings,
    DocumentsSettings,
    ExceptionsSettings,
    FlexportSettings,
    LogSettings,
    QueueSettings,
    SectionModel,
    ServerSettings,
    StorageSettings,
    SyncSettings,
    WebhookSettings,
)
from flexportd.settings.value_types import RuleError


class Settings(SectionModel):
    """All sections."""

    flexport: FlexportSettings = Field(default_factory=FlexportSettings)
    webhook: WebhookSettings = Field(default_factory=WebhookSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    queue: QueueSettings = Field(default_factory=QueueSettings)
    sync: SyncSettings = Field(default_factory=SyncSettings)
    documents: DocumentsSettings = Field(default_factory=DocumentsSettings)
    cache: CacheSettings = Field(default_factory=CacheSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    dashboard: DashboardSettings = Field(default_factory=DashboardSettings)
    exceptions: ExceptionsSettings = Field(default_factory=ExceptionsSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @field_validator("api")
    @classmethod
    def _any_origin_with_keys_alone(cls, value: ApiSettings, info: ValidationInfo) -> ApiSettings:
        if ANY_ORIGIN in value.cors_origins and "server" in info.data and not value.keys_required(info.data["server"]):
            raise RuleError('cors_origins = ["*"] lets every web page read all data: it requires require_key = true')
        return value

    @property
    def keys_required(self) -> bool:
        """Whether every client on the network needs a key."""
        return self.api.keys_required(self.server)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret of the configuration, to be redacted in logs and stored responses."""
        secrets = (*self.webhook.secrets, self.flexport.api_key, self.flexport.client_secret)
        values = tuple(secret.get_secret_value() for secret in secrets if secret is not None)
        return values if self.flexport.proxy is None else (*values, *self.flexport.proxy.secrets)

    @classmethod
    def for_tests(cls, directory: Path, **overrides: object) -> "Settings":
        """Settings that touch nothing outside `directory`; `overrides` are dotted keys with values as in a file."""
        values: dict[str, object] = {
            "webhook.secrets": ["test-secret-0123456789"],
            "server.listen": "127.0.0.1:0",
            "storage.data_dir": directory / "data",
            "storage.cache_dir": directory / "cache",
            "storage.control_socket": directory / "control.sock",
            "log.access": False,
        }
        return cls.model_validate(nest(values | overrides))


def nest(values: dict[str, object]) -> dict[str, Any]:
    """Dotted keys as nested tables."""
    root: dict[str, Any] = {}
    for dotted, value in values.items():
        *tables, name = dotted.split(".")
        table = root
        for part in tables:
            table = table.setdefault(part, {})
        table[name] = value
    return root
