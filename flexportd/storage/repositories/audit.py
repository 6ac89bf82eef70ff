"""The audit log: who did what, and when. Entries are never changed."""

from typing import NamedTuple

from flexportd.storage.queries.filters import before, equals, since, word
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.repositories.repository import ListRepository


class AuditEntry(NamedTuple):
    """One action: `action` such as `operation.approve`, `subject` such as `operation 12`, `detail` a sentence."""

    id: int
    at: str
    actor: str
    action: str
    subject: str
    detail: str | None


LISTING = ListQuery(
    table="audit_log",
    columns=AuditEntry._fields,
    key="id",
    sorts={"id": "id"},
    filters={
        "actor": equals("actor"),
        "action": word("action", description="Only this action, such as operation.approve."),
        "subject": equals("subject"),
        "after": since("at"),
        "before": before("at"),
    },
)


class AuditLog(ListRepository):
    """Reads and writes `audit_log`."""

    family, listing = "audit", LISTING

    def add(self, at: str, actor: str, action: str, subject: str, detail: str | None = None) -> None:
        """Record an action."""
        self._run("add", at, actor, action, subject, detail)

    def of_subject(self, subject: str, limit: int) -> list[AuditEntry]:
        """What was done to one thing, oldest first."""
        return self._all(AuditEntry, "of_subject", subject, limit)

    def delete_old(self, before_at: str, limit: int) -> int:
        """Delete entries from before a time; how many."""
        return self._run("delete_old", before_at, limit).rowcount
