-- Writes to Flexport: each is stored before it is sent, and with everything that was learned of its outcome.
CREATE TABLE operations (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,           -- random; its marker at Flexport contains it
    kind TEXT NOT NULL,                 -- such as product.create
    target TEXT NOT NULL,               -- operations on one target are sent in their order
    resource TEXT,                      -- what is created or changed, such as products
    resource_id TEXT,                   -- null until it is known
    shipment_id INTEGER,                -- the shipment that it is about, if any
    title TEXT NOT NULL,                -- what it is about, for people
    body TEXT NOT NULL,                 -- JSON: as requested
    digest TEXT NOT NULL,               -- of kind, target and body
    state TEXT NOT NULL CHECK (state IN
        ('awaiting_approval', 'pending', 'sending', 'confirmed', 'failed', 'unknown', 'cancelled')),
    needs_decision INTEGER NOT NULL DEFAULT 0,  -- unknown, and no further look-up follows
    unknown_since TEXT,                 -- null: its outcome is not in doubt since it was queued
    is_suspect INTEGER NOT NULL DEFAULT 0,  -- it may have had an effect: after a restore, or given up by a person
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,           -- the name of an API key, or of a local user
    creator TEXT NOT NULL,              -- the same as an identity: a key's number, or the local user
    queued_at TEXT NOT NULL,            -- when it was last put into the queue
    updated_at TEXT NOT NULL,
    ended_at TEXT,
    approved_at TEXT,
    approved_by TEXT,
    sent_at TEXT,                       -- Flexport's clock: when it was first sent
    sends INTEGER NOT NULL DEFAULT 0,   -- how often it was sent
    lookups INTEGER NOT NULL DEFAULT 0, -- since it was last sent
    baseline TEXT,                      -- JSON: ids of equal objects that existed before it was sent
    is_pending INTEGER,                 -- an amendment: whether Flexport still has to apply it
    error TEXT,
    reason TEXT,                        -- why a person resolved or cancelled it
    idempotency_key TEXT
) STRICT;
CREATE UNIQUE INDEX operations_idempotency ON operations (creator, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX operations_unfinished ON operations (target, id)
    WHERE state IN ('awaiting_approval', 'pending', 'sending', 'unknown');
CREATE INDEX operations_state ON operations (state, id);
CREATE INDEX operations_resource ON operations (resource, resource_id);
CREATE INDEX operations_shipment ON operations (shipment_id, id) WHERE shipment_id IS NOT NULL;
CREATE INDEX operations_follow_up ON operations (id) WHERE is_pending = 1;
CREATE INDEX operations_ended ON operations (ended_at) WHERE ended_at IS NOT NULL;

-- Each request that was sent for an operation, and each look-up.
CREATE TABLE operation_attempts (
    id INTEGER PRIMARY KEY,
    operation_id INTEGER NOT NULL,
    type TEXT NOT NULL CHECK (type IN ('send', 'lookup')),
    started_at TEXT NOT NULL,           -- daemon's clock
    ended_at TEXT,                      -- null: running, or the process ended
    outcome TEXT,                       -- of a send: accepted, refused, unknown, not_sent; of a look-up: match, none, several, failed
    method TEXT,
    path TEXT,
    request TEXT,                       -- JSON, as sent
    status INTEGER,                     -- of Flexport's response
    request_id TEXT,                    -- Flexport's
    response TEXT,                      -- the beginning of Flexport's response, or what a look-up found as JSON
    error TEXT
) STRICT;
CREATE INDEX operation_attempts_operation ON operation_attempts (operation_id, id);

-- Who did what that is not undone by a later state: never changed.
CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,                -- the name of an API key, or of a local user
    action TEXT NOT NULL,               -- such as operation.approve
    subject TEXT NOT NULL,              -- what was acted on, such as operation 12
    detail TEXT                         -- a sentence
) STRICT;
CREATE INDEX audit_log_actor ON audit_log (actor COLLATE NOCASE, id);
CREATE INDEX audit_log_action ON audit_log (action, id);
CREATE INDEX audit_log_subject ON audit_log (subject, id);
