"""What a unit of work sees: the repositories, over one connection. It never begins or ends a transaction."""

import sqlite3

from flexportd.storage.change_log import Journal
from flexportd.storage.queries.as_of import Past
from flexportd.storage.repositories.access import Keys, Shares
from flexportd.storage.repositories.audiences import Audiences
from flexportd.storage.repositories.audit import AuditLog
from flexportd.storage.repositories.calendar import CalendarEntries
from flexportd.storage.repositories.changes import Changes
from flexportd.storage.repositories.conditions import Conditions
from flexportd.storage.repositories.counters import ApiUsage, WebhookRefusals
from flexportd.storage.repositories.deliveries import Deliveries
from flexportd.storage.repositories.document_files import DocumentFiles
from flexportd.storage.repositories.events import Events
from flexportd.storage.repositories.exceptions import Exceptions
from flexportd.storage.repositories.gaps import Gaps
from flexportd.storage.repositories.items import Items
from flexportd.storage.repositories.jobs import Jobs
from flexportd.storage.repositories.notifications import Notifications
from flexportd.storage.repositories.operations import Operations
from flexportd.storage.repositories.repository import Meta
from flexportd.storage.repositories.resources import Resources
from flexportd.storage.repositories.retention import Retention
from flexportd.storage.repositories.schema_drift import DriftRecords, UnreadableObjects
from flexportd.storage.repositories.shipment_details import CarbonFigures, ShipmentDetails
from flexportd.storage.repositories.sync import Sync
from flexportd.storage.search_index import SearchIndex


class Transaction:
    """The repositories of one connection, made once for its life."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw = raw
        self.events = Events(raw)
        self.exceptions = Exceptions(raw)
        self.gaps = Gaps(raw)
        self.items = Items(raw)
        self.resources = Resources(raw)
        self.past = Past(raw)
        self.changes = Changes(raw)
        self.calendar = CalendarEntries(raw)
        self.audiences = Audiences(raw)
        self.audit = AuditLog(raw)
        self.api_usage = ApiUsage(raw)
        self.deliveries = Deliveries(raw)
        self.notifications = Notifications(raw)
        self.carbon = CarbonFigures(raw)
        self.conditions = Conditions(raw)
        self.meta = Meta(raw)
        self.operations = Operations(raw)
        self.jobs = Jobs(raw)
        self.journal = Journal(raw)
        self.keys = Keys(raw)
        self.retention = Retention(raw)
        self.search = SearchIndex(raw)
        self.shares = Shares(raw)
        self.shipment_details = ShipmentDetails(raw)
        self.sync = Sync(raw)
        self.drift = DriftRecords(raw)
        self.files = DocumentFiles(raw)
        self.unreadable = UnreadableObjects(raw)
        self.webhook_refusals = WebhookRefusals(raw)

    def reset(self) -> None:
        """Drop what was remembered from a transaction that was undone."""
        self.items.reset()
