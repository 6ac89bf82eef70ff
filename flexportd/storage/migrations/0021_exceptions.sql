-- What is not as it should be: opened once, with what it rests on, and closed by itself.
CREATE TABLE exceptions (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('critical', 'warning', 'notice')),
    resource TEXT NOT NULL,             -- what it concerns
    resource_id TEXT NOT NULL,
    shipment_id INTEGER,
    opened_at TEXT NOT NULL,            -- on our clock, as are the next two
    updated_at TEXT NOT NULL,
    closed_at TEXT,
    evidence TEXT NOT NULL              -- JSON: the facts that it rests on
) STRICT;
CREATE UNIQUE INDEX exceptions_one ON exceptions (kind, resource, resource_id) WHERE closed_at IS NULL;
CREATE INDEX exceptions_opened ON exceptions (opened_at, id);
CREATE INDEX exceptions_open ON exceptions (opened_at, id) WHERE closed_at IS NULL;
CREATE INDEX exceptions_closed ON exceptions (opened_at, id) WHERE closed_at IS NOT NULL;
CREATE INDEX exceptions_ended ON exceptions (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX exceptions_kind ON exceptions (kind, opened_at, id);
CREATE INDEX exceptions_severity ON exceptions (severity, opened_at, id);
CREATE INDEX exceptions_shipment ON exceptions (shipment_id, opened_at, id);
CREATE INDEX exceptions_shipment_open ON exceptions (shipment_id, kind) WHERE closed_at IS NULL;
CREATE INDEX exceptions_about ON exceptions (resource, resource_id) WHERE closed_at IS NULL;
CREATE INDEX exceptions_kind_open ON exceptions (kind, severity, shipment_id) WHERE closed_at IS NULL;
CREATE INDEX exceptions_worst ON exceptions (severity, opened_at, id) WHERE closed_at IS NULL;

-- When an object has to be looked at again though nothing of it moves: a date will have passed.
CREATE TABLE exception_looks (
    resource TEXT NOT NULL,
    key ANY NOT NULL,
    due_at TEXT NOT NULL,
    PRIMARY KEY (resource, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX exception_looks_due ON exception_looks (due_at, resource, key);

-- What is told of once for each object.
CREATE TABLE exception_told (
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (topic, key)
) STRICT, WITHOUT ROWID;
