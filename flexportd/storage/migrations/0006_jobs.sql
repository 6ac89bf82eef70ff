-- What the scheduler knows of each job, one row each; when and how often it runs is declared in code.
CREATE TABLE jobs (
    name TEXT PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    next_due_at TEXT,                   -- null while paused
    last_started_at TEXT,               -- of the last run that has ended, like the other last_…
    last_ended_at TEXT,
    last_outcome TEXT CHECK (last_outcome IN ('done', 'failed', 'cancelled', 'timed_out', 'interrupted')),
    last_message TEXT,                  -- what it did, or why it failed
    last_seconds REAL,                  -- null where it cannot be known
    last_success_at TEXT,
    runs INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    failures_in_a_row INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0, -- times it was due while it still ran
    CHECK ((last_outcome IS NULL) = (last_ended_at IS NULL))
) STRICT, WITHOUT ROWID;

-- The last runs of each job. One without an end is under way, or was when the process died.
CREATE TABLE job_runs (
    id INTEGER PRIMARY KEY,
    job TEXT NOT NULL,
    cause TEXT NOT NULL CHECK (cause IN ('schedule', 'start', 'catch_up', 'hand')),
    started_at TEXT NOT NULL,
    ended_at TEXT,
    seconds REAL,
    outcome TEXT CHECK (outcome IN ('done', 'failed', 'cancelled', 'timed_out', 'interrupted')),
    message TEXT,
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
) STRICT;
CREATE INDEX job_runs_job ON job_runs (job, id);
CREATE INDEX job_runs_open ON job_runs (id) WHERE ended_at IS NULL;
