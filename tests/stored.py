"""Objects put straight into a store, as if an event had brought them."""

import json
import secrets

from flexportd.core.resources.registry import Registry
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.storage.repositories.operations import NewOperation
from flexportd.storage.repositories.resources import Record

AT = "2026-03-04T02:41:10.000Z"
REGISTRY = Registry()


def record(resource, key, removed_at=None, raw=None, **fields):
    """(resource, an object of it with these fields and no others); `raw` is its JSON at Flexport."""
    blank = dict.fromkeys(REGISTRY[resource].table.names)
    if "release_state" in blank:
        blank["release_state"] = "pending"
    told = {name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in fields.items()}
    return resource, Record(key, {**blank, **told}, json.dumps(raw or {}), AT, 1, "webhook", AT, AT, removed_at)


def put(*records):
    """What writes them, within a transaction."""

    def work(tx):
        workspace = UnitOfWork(tx)
        for resource, one in records:
            workspace.put(REGISTRY[resource], one, ChangeCause(AT, "webhook", "evt"))
        workspace.flush(AT)

    return work


def new_operation(kind="product.create", **fields):
    """An operation as `tx.operations.add` takes it."""
    key = secrets.token_hex(8)
    usual = {
        "key": key, "kind": kind, "target": f"operation:{key}", "resource": "products", "resource_id": None,
        "shipment_id": None, "title": "SKU-1", "body": "{}", "digest": key, "state": "pending",
        "created_by": "erp", "creator": "key:1",
    }  # fmt: skip
    return NewOperation(**{**usual, **fields})
