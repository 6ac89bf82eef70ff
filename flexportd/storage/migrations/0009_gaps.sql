-- Events that polling found and no webhook had brought. Times are Flexport's unless a comment says otherwise.
CREATE TABLE gaps (
    seq INTEGER PRIMARY KEY,            -- the event's place in our order of arrival
    event_id TEXT NOT NULL,
    type TEXT,
    created_at TEXT NOT NULL,           -- when Flexport recorded it; when it was noticed where the event did not say
    occurred_at TEXT,
    noticed_at TEXT NOT NULL,           -- on our clock
    resource TEXT,
    resource_id TEXT,
    shipment_id INTEGER,
    after_seq INTEGER NOT NULL,         -- the newest event before it that a webhook brought; 0 for none
    deaf_since TEXT,                    -- when that one came, on our clock
    repaired_by TEXT NOT NULL CHECK (repaired_by IN ('polling')),
    delivered_at TEXT,                  -- when a webhook brought it after all, on our clock
    on_time INTEGER NOT NULL DEFAULT 0, -- 1: so soon that polling was only quicker
    CHECK ((after_seq = 0) = (deaf_since IS NULL)),
    CHECK (on_time = 0 OR delivered_at IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX gaps_event ON gaps (event_id);
CREATE INDEX gaps_outage ON gaps (after_seq, created_at) WHERE on_time = 0;
CREATE INDEX gaps_created ON gaps (created_at, seq);
CREATE INDEX gaps_delivered ON gaps (delivered_at) WHERE delivered_at IS NOT NULL;

-- How far Flexport's list of events was read, by the span that is asked for.
CREATE TABLE event_polls (
    span TEXT PRIMARY KEY CHECK (span IN ('narrow', 'wide', 'deep')),
    since TEXT,                         -- from which occurred_at the last complete poll read
    read_until TEXT,                    -- when it began, on Flexport's clock: what was listed by then is known
    newest_id TEXT,                     -- the highest id that it saw
    good_at TEXT,                       -- when it ended, on our clock
    read INTEGER NOT NULL DEFAULT 0,
    new INTEGER NOT NULL DEFAULT 0,
    pages INTEGER NOT NULL DEFAULT 0,
    failing_since TEXT,                 -- the first poll since then that could not be completed, on our clock
    failed_at TEXT,                     -- the last one
    failure TEXT,
    CHECK ((good_at IS NULL) = (since IS NULL) AND (good_at IS NULL) = (read_until IS NULL)),
    CHECK ((failing_since IS NULL) = (failure IS NULL) AND (failing_since IS NULL) = (failed_at IS NULL))
) STRICT, WITHOUT ROWID;

-- The ways by which events are heard of: one row, made by the first poll.
CREATE TABLE hearing (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    since TEXT NOT NULL,                -- from when on this store listened, on Flexport's clock: before is history
    upstream_created_at TEXT,           -- the newest that polling saw
    upstream_occurred_at TEXT,
    through_seq INTEGER NOT NULL DEFAULT 0, -- up to where the newest webhook was looked for; below, it is this one:
    webhook_seq INTEGER,
    webhook_at TEXT,                    -- when it came, on our clock
    webhook_created_at TEXT
) STRICT;
