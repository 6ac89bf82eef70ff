"""What a unit of work sees: the repositories, over one connection. It never begins or ends a transaction."""

import sqlite3

from flexportd.storage.agenda import Agenda
from flexportd.storage.audiences import Audiences
from flexportd.storage.calls import Calls
from flexportd.storage.carbon import Carbon
from flexportd.storage.changes import Changes
from flexportd.storage.document_files import DocumentFiles
from flexportd.storage.drift import DriftLedger
from flexportd.storage.events import Events
from flexportd.storage.exceptions import Exceptions
from flexportd.storage.gaps import Gaps
from flexportd.storage.items import Items
from flexportd.storage.jobs import Jobs
from flexportd.storage.journal import Journal
from flexportd.storage.keys import Keys
from flexportd.storage.meta import Meta
from flexportd.storage.past import Past
from flexportd.storage.resources import Resources
from flexportd.storage.retention import Retention
from flexportd.storage.search import Search
from flexportd.storage.shares import Shares
from flexportd.storage.shipment_details import ShipmentDetails
from flexportd.storage.sync import Sync
from flexportd.storage.unreadable import Unreadable
from flexportd.storage.webhook_refusals import WebhookRefusals


class Session:
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
        self.agenda = Agenda(raw)
        self.audiences = Audiences(raw)
        self.calls = Calls(raw)
        self.carbon = Carbon(raw)
        self.meta = Meta(raw)
        self.jobs = Jobs(raw)
        self.journal = Journal(raw)
        self.keys = Keys(raw)
        self.retention = Retention(raw)
        self.search = Search(raw)
        self.shares = Shares(raw)
        self.shipment_details = ShipmentDetails(raw)
        self.sync = Sync(raw)
        self.drift = DriftLedger(raw)
        self.files = DocumentFiles(raw)
        self.unreadable = Unreadable(raw)
        self.webhook_refusals = WebhookRefusals(raw)

    def forget(self) -> None:
        """Drop what was remembered from a transaction that was undone."""
        self.items.forget()
