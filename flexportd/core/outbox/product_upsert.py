"""Products by SKU: create those that Flexport does not have, change those that differ, leave the others alone."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from flexportd.core.outbox.actions import WriteCommand
from flexportd.core.outbox.comparison import equal
from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.core.outbox.product_file import visible_text
from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.problems import FieldProblem, shown
from flexportd.storage.queries.table import Key
from flexportd.storage.transaction import Transaction

MAX_ROWS = 500  # of one request
_MAX_UNFINISHED = 100  # operations on one product

UpsertAction = Literal["create", "update", "unchanged", "pending", "invalid"]


@dataclass(frozen=True, slots=True)
class ProductChange:
    """A field of a product with its present and its new value."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class ProductPlan:
    """What to do with one row. `operation_id` is the operation that does the same already (`pending`)."""

    action: UpsertAction
    sku: str | None
    product_id: Key | None = None
    changes: Sequence[ProductChange] = ()
    problems: Sequence[FieldProblem] = ()
    operation_id: int | None = None
    command: WriteCommand | None = None


def plan_product(tx: Transaction, row: object, now: datetime) -> ProductPlan:
    """What a row, a body of POST /products, needs. Flexport replaces lists as a whole, so a row has complete ones."""
    account = Account(tx, now)
    sku = row.get("sku") if isinstance(row, Mapping) else None
    name = sku.strip() if isinstance(sku, str) else None
    ids = account.product_ids(name) if name else []
    if not isinstance(row, Mapping) or not ids:
        return _plan_new(tx, row, name, account)
    if len(ids) > 1:
        listed = ", ".join(map(str, ids))
        problem = FieldProblem("/sku", f"is {name!r}, which {len(ids)} active products have: {listed}")
        return ProductPlan("invalid", name, problems=[problem])
    return _plan_change(tx, row, ids[0], account)


def _plan_new(tx: Transaction, row: object, sku: str | None, account: Account) -> ProductPlan:
    kind = OPERATION_KINDS["product.create"]
    problems = kind.check(row, account, None) or _look_alikes(sku, account)
    if problems or not isinstance(row, Mapping):
        return ProductPlan("invalid", sku, problems=problems)
    command = WriteCommand(kind, row)
    changes = [ProductChange(field, None, value) for field, value in row.items()]
    return _unless_pending(tx, ProductPlan("create", sku, changes=changes, command=command))


def _look_alikes(sku: str | None, account: Account) -> list[FieldProblem]:
    """The problem of a SKU that looks like that of a product but has other characters: it would make a second one."""
    seen = visible_text(sku or "")
    for other in (seen, unicodedata.normalize("NFD", seen)):
        if other and other != sku and (ids := account.product_ids(other)):
            detail = f"is {sku!a}; product {ids[0]} has {other!a}, which looks the same: use its characters"
            return [FieldProblem("/sku", f"sku {detail}")]
    return []


def _plan_change(tx: Transaction, row: Mapping[str, Any], product_id: Key, account: Account) -> ProductPlan:
    kind = OPERATION_KINDS["product.update"]
    record = account.find("products", product_id)
    present = msgspec.json.decode(record.raw) if record is not None and record.raw else {}
    unfinished = tx.operations.unfinished_of_target(kind.target(row, str(product_id)) or "", _MAX_UNFINISHED)
    planned = dict(present)  # once the operations that have not ended are carried out
    setters: dict[str, int] = {}
    for operation in unfinished:
        planned |= msgspec.json.decode(operation.body)
        setters |= dict.fromkeys(msgspec.json.decode(operation.body), operation.id)
    changes = [
        ProductChange(field, present.get(field), value)
        for field, value in row.items()
        if not equal(value, present.get(field)) or not equal(value, planned.get(field))
    ]
    sku = str(row["sku"]).strip()
    problems = kind.check(dict(row), account, product_id)
    if problems:
        return ProductPlan("invalid", sku, product_id, problems=problems)
    if not changes:
        return ProductPlan("unchanged", sku, product_id)
    if all(equal(change.new, planned.get(change.field)) for change in changes):
        last = max(setters[change.field] for change in changes)
        return ProductPlan("pending", sku, product_id, changes, operation_id=last)
    command = WriteCommand(kind, {change.field: change.new for change in changes}, product_id)
    return ProductPlan("update", sku, product_id, changes, command=command)


def _unless_pending(tx: Transaction, plan: ProductPlan) -> ProductPlan:
    """The plan; or that an operation which has not ended does the same, or creates the product with other values."""
    assert plan.command is not None
    target = plan.command.kind.target(plan.command.body, None)
    unfinished = tx.operations.unfinished_of_target(target or "", _MAX_UNFINISHED)
    for operation in unfinished:
        if operation.digest == plan.command.digest:
            return ProductPlan("pending", plan.sku, plan.product_id, plan.changes, operation_id=operation.id)
    if not unfinished:
        return plan
    detail = (
        f"sku is {shown(plan.sku)}; operation {unfinished[0].id}, which has not ended, creates it with other values"
    )
    return ProductPlan(
        "invalid", plan.sku, problems=[FieldProblem("/sku", f"{detail}: push the row after it has ended")]
    )
