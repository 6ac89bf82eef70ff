-- What a sync did: a run, a receipt for each resource, and the pages it has behind it.
CREATE TABLE sync_runs (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('full', 'incremental')),
    cause TEXT NOT NULL CHECK (cause IN ('schedule', 'person')),
    state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'held', 'failed')),
    started_at TEXT NOT NULL,
    ended_at TEXT,
    reason TEXT,
    CHECK ((state = 'running') = (ended_at IS NULL))
) STRICT;
CREATE INDEX sync_runs_running ON sync_runs (kind, id) WHERE state = 'running';

-- The books of one resource in one run: total = unchanged + changed + new + skipped + failed.
CREATE TABLE sync_receipts (
    run_id INTEGER NOT NULL REFERENCES sync_runs (id),
    resource TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'complete', 'held', 'unavailable', 'failed')),
    as_of TEXT,                         -- Flexport's time at which the reading began
    started_at TEXT,
    ended_at TEXT,
    next_page INTEGER NOT NULL DEFAULT 1,
    first_total INTEGER,                -- what Flexport said first and last; null where it did not say
    total INTEGER,
    objects INTEGER NOT NULL DEFAULT 0, -- rows that its pages held
    unchanged INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    new INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    skips TEXT NOT NULL DEFAULT '{}',   -- JSON: why -> how many
    missing INTEGER NOT NULL DEFAULT 0, -- known here, and not in the list
    removed INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    PRIMARY KEY (run_id, resource)
) STRICT, WITHOUT ROWID;

-- The ids that each page of a running pass held, as a JSON list; gone when the pass has been judged.
CREATE TABLE sync_pages (
    run_id INTEGER NOT NULL,
    resource TEXT NOT NULL,
    page INTEGER NOT NULL,
    keys TEXT NOT NULL,
    PRIMARY KEY (run_id, resource, page)
) STRICT, WITHOUT ROWID;

-- Objects that a complete list did not have.
CREATE TABLE sync_missing (
    resource TEXT NOT NULL,
    resource_id ANY NOT NULL,
    passes INTEGER NOT NULL,
    first_missed_at TEXT NOT NULL,      -- on Flexport's clock
    held INTEGER NOT NULL DEFAULT 0,    -- 1: too many at once, a person decides
    PRIMARY KEY (resource, resource_id)
) STRICT, WITHOUT ROWID;

-- What we know of each resource's list.
CREATE TABLE sync_resources (
    resource TEXT PRIMARY KEY,
    floor TEXT,                         -- Flexport's time at which all its objects were last found as we have them
    complete_at TEXT,                   -- when that pass ended, on our clock
    total INTEGER,
    requests INTEGER,
    incremental_since TEXT,             -- Flexport's time up to which changes were read
    filter_refused_at TEXT,             -- when Flexport was seen to ignore the filter on update time
    unavailable_at TEXT,                -- since when the account may not read it
    unavailable_reason TEXT
) STRICT, WITHOUT ROWID;

-- Answers that could not be read as what they should be, kept as they came.
CREATE TABLE unreadable (
    id INTEGER PRIMARY KEY,
    resource TEXT NOT NULL,
    resource_id TEXT NOT NULL,          -- its id, or a name made from its bytes
    error TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL,
    count INTEGER NOT NULL,
    raw BLOB NOT NULL,
    UNIQUE (resource, resource_id)
) STRICT;

-- The budget book: what was asked of Flexport, by hour and purpose.
CREATE TABLE api_calls (
    hour TEXT NOT NULL,                 -- 2026-03-04T02
    purpose TEXT NOT NULL,
    resource TEXT NOT NULL,             -- the path without ids
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (hour, purpose, resource)
) STRICT, WITHOUT ROWID;
