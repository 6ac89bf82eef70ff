"""All settings of one daemon."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flexportd.settings.sections import (
    ApiSettings,
    CacheSettings,
    DashboardSettings,
    DocumentsSettings,
    FlexportSettings,
    LogSettings,
    QueueSettings,
    ServerSettings,
    StorageSettings,
    SyncSettings,
    WebhookSettings,
)


class Settings(BaseModel):
    """Every section; a part of the daemon is handed the section it uses, never this whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

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
    log: LogSettings = Field(default_factory=LogSettings)

    @classmethod
    def for_tests(cls, directory: Path, **overrides: object) -> "Settings":
        """Settings that touch nothing outside `directory`; `overrides` are dotted keys with values as in a file."""
        values: dict[str, object] = {
            "webhook.secrets": ["test-secret-0123456789"],
            "server.listen": "127.0.0.1:0",
            "storage.data_dir": directory / "data",
            "storage.cache_dir": directory / "cache",
            "storage.control_socket": directory / "control.sock",
        }
        return cls.model_validate(nested(values | overrides))


def nested(values: dict[str, object]) -> dict[str, Any]:
    """Dotted keys as tables of keys."""
    root: dict[str, Any] = {}
    for dotted, value in values.items():
        *tables, name = dotted.split(".")
        table = root
        for part in tables:
            table = table.setdefault(part, {})
        table[name] = value
    return root
