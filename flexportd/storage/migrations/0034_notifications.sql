-- What a channel is told: one row for each occurrence that a rule matched, and what became of it.
CREATE TABLE notifications (
    id INTEGER PRIMARY KEY,
    occurrence TEXT NOT NULL,           -- identifies what happened, the same whenever it is read again
    rule TEXT NOT NULL,
    channel TEXT NOT NULL,
    topic TEXT NOT NULL,
    subject TEXT NOT NULL,              -- what it is about, for limits on repetition: exception:late_arrival:shipments:42
    resource TEXT,
    resource_id TEXT,
    shipment_id INTEGER,
    exception_id INTEGER,
    message TEXT NOT NULL,              -- the stream message, JSON
    created_at TEXT NOT NULL,
    hold TEXT NOT NULL CHECK (hold IN ('gather', 'quiet', 'rate', 'repeat', 'outage', 'digest')),
    due_at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'dropped')),
    ended_at TEXT,
    reason TEXT,                        -- why it was dropped
    delivery_id INTEGER REFERENCES deliveries,
    CHECK ((state = 'waiting') = (ended_at IS NULL)),
    CHECK ((state = 'dropped') = (reason IS NOT NULL)),
    CHECK ((state = 'sent') = (delivery_id IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX notifications_occurrence ON notifications (occurrence, rule, channel);
CREATE INDEX notifications_due ON notifications (due_at, id) WHERE state = 'waiting';
CREATE INDEX notifications_subject ON notifications (channel, subject, id);
CREATE INDEX notifications_shipment ON notifications (shipment_id, id) WHERE shipment_id IS NOT NULL;
CREATE INDEX notifications_exception ON notifications (exception_id, channel) WHERE exception_id IS NOT NULL;
CREATE INDEX notifications_delivery ON notifications (delivery_id) WHERE delivery_id IS NOT NULL;
CREATE INDEX notifications_rule ON notifications (rule, id);

-- One message to one channel.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,           -- identifies the message in every attempt: Message-ID, webhook-id
    channel TEXT NOT NULL,
    channel_type TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('message', 'summary', 'digest', 'test')),
    rules TEXT NOT NULL,                -- the names of its rules, a JSON list
    title TEXT NOT NULL,
    content TEXT NOT NULL,              -- JSON
    thread TEXT,                        -- the conversation that it belongs to: shipment:42
    cause TEXT,                         -- what its shipments have in common: vessel:EVER GIVEN:012W
    edits INTEGER REFERENCES deliveries,-- the delivery whose message it replaces
    notifications INTEGER NOT NULL,     -- how many it contains
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sending', 'sent', 'failed', 'discarded')),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    sent_at TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    is_repeated INTEGER NOT NULL DEFAULT 0 CHECK (is_repeated IN (0, 1)),   -- it may have arrived twice
    remote_id TEXT,                     -- by what the channel knows it
    progress TEXT,                      -- what the last attempt achieved, JSON
    error TEXT,                         -- why the last attempt failed
    note TEXT,                          -- what a person should know although it was sent
    CHECK ((state = 'sent') = (sent_at IS NOT NULL))
) STRICT;
CREATE INDEX deliveries_channel ON deliveries (channel, id);
CREATE INDEX deliveries_state ON deliveries (state, id);
CREATE INDEX deliveries_cause ON deliveries (channel, cause, id) WHERE cause IS NOT NULL;
CREATE INDEX deliveries_thread ON deliveries (channel, thread, id) WHERE thread IS NOT NULL;
CREATE INDEX deliveries_created ON deliveries (created_at);

-- The date that a channel was last told, by object and field; without a delivery it is where the comparison begins.
CREATE TABLE told_dates (
    channel TEXT NOT NULL,
    resource TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    field TEXT NOT NULL,
    day TEXT,                           -- null: no date was known
    told_at TEXT NOT NULL,
    delivery_id INTEGER,
    day_before TEXT,                    -- what was told before the delivery, for when that fails
    PRIMARY KEY (channel, resource, resource_id, field)
) STRICT, WITHOUT ROWID;

-- Whether a channel accepts messages; none is stored for a channel that never failed.
CREATE TABLE channel_states (
    channel TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('working', 'failing', 'off')),
    failures INTEGER NOT NULL,          -- since the last success
    failing_since TEXT,
    retry_at TEXT,                      -- before this time nothing is sent
    error TEXT,
    last_sent_at TEXT
) STRICT, WITHOUT ROWID;

-- When each digest was last due.
CREATE TABLE digest_runs (
    rule TEXT NOT NULL,
    channel TEXT NOT NULL,
    due_at TEXT NOT NULL,               -- the next time
    PRIMARY KEY (rule, channel)
) STRICT, WITHOUT ROWID;
