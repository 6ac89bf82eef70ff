CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What Flexport told us, unchangeable but for what became of it.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,            -- our order of arrival
    id TEXT NOT NULL,                   -- Flexport's id; 'body-<hash>' for signed bytes that are no event
    type TEXT,
    source TEXT NOT NULL CHECK (source IN ('webhook', 'events')),
    received_at TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'applied', 'coalesced', 'ignored', 'dead')),
    ended_at TEXT,
    reason TEXT,
    created_at TEXT,                    -- when Flexport recorded it
    occurred_at TEXT,                   -- when it happened in the world
    resource TEXT,                      -- Flexport's name of what it is about, such as /shipment_leg
    resource_id TEXT,
    shipment_id INTEGER,
    CHECK ((state = 'ready') = (ended_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX events_id ON events (id);
CREATE INDEX events_shipment ON events (shipment_id, seq) WHERE shipment_id IS NOT NULL;
CREATE INDEX events_unusual ON events (state, seq) WHERE state IN ('coalesced', 'ignored', 'dead');

-- Apart from `events`, so that noting what became of an event does not rewrite its bytes.
CREATE TABLE event_payloads (
    seq INTEGER PRIMARY KEY REFERENCES events (seq),
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- How many events of each type came, and what became of them.
CREATE TABLE event_counts (
    type TEXT NOT NULL,
    state TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (type, state)
) STRICT, WITHOUT ROWID;

-- Queued work. A finished item leaves; its effect is its record.
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('ready', 'leased', 'dead')),
    priority INTEGER NOT NULL,          -- 0 interactive, 1 webhook, 2 events, 3 sync
    ready_at TEXT NOT NULL,
    enqueued_at TEXT NOT NULL,
    ref INTEGER,                        -- the event, for items that apply one
    lane TEXT,                          -- one at a time within a lane, in order of arrival
    merge_key TEXT,                     -- waiting items of one kind with the same key are one item
    payload TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    lease_until TEXT,
    ended_at TEXT,
    discarded_at TEXT,
    discarded_by TEXT,
    discarded_why TEXT,
    CHECK ((state = 'leased') = (lease_until IS NOT NULL)),
    CHECK ((state = 'dead') = (ended_at IS NOT NULL)),
    CHECK (discarded_at IS NULL OR state = 'dead')
) STRICT;
CREATE INDEX items_ready ON items (kind, priority, ready_at, id) WHERE state = 'ready';
CREATE INDEX items_leased ON items (lease_until) WHERE state = 'leased';
CREATE INDEX items_dead ON items (id) WHERE state = 'dead';
CREATE INDEX items_lane ON items (kind, lane, id) WHERE lane IS NOT NULL AND state <> 'dead';
CREATE INDEX items_ref ON items (ref) WHERE ref IS NOT NULL AND (state = 'dead' OR attempts > 0);
CREATE UNIQUE INDEX items_merge ON items (kind, merge_key) WHERE merge_key IS NOT NULL AND state = 'ready';

-- Every try that failed, in order.
CREATE TABLE attempts (
    item_id INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at TEXT NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (item_id, attempt, at)
) STRICT, WITHOUT ROWID;
