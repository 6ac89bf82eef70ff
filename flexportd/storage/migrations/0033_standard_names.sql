-- Standard terms for columns and values that people and the API read.
ALTER TABLE items RENAME COLUMN discarded_why TO discard_reason;

ALTER TABLE gaps RENAME COLUMN noticed_at TO detected_at;
ALTER TABLE gaps RENAME COLUMN deaf_since TO last_webhook_at;
ALTER TABLE gaps RENAME COLUMN repaired_by TO recovered_by;
DROP INDEX gaps_noticed;
CREATE INDEX gaps_detected ON gaps (detected_at);

ALTER TABLE jobs RENAME COLUMN failures_in_a_row TO consecutive_failures;

ALTER TABLE job_runs RENAME TO job_runs_old;
CREATE TABLE job_runs (
    id INTEGER PRIMARY KEY,
    job TEXT NOT NULL,
    cause TEXT NOT NULL CHECK (cause IN ('schedule', 'start', 'catch_up', 'manual')),
    started_at TEXT NOT NULL,
    ended_at TEXT,
    seconds REAL,
    outcome TEXT CHECK (outcome IN ('done', 'failed', 'cancelled', 'timed_out', 'interrupted')),
    message TEXT,
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
) STRICT;
INSERT INTO job_runs
SELECT id, job, iif(cause = 'hand', 'manual', cause), started_at, ended_at, seconds, outcome, message FROM job_runs_old;
DROP TABLE job_runs_old;
CREATE INDEX job_runs_job ON job_runs (job, id);
CREATE INDEX job_runs_open ON job_runs (id) WHERE ended_at IS NULL;

CREATE TABLE sync_runs_new (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('full', 'incremental')),
    cause TEXT NOT NULL CHECK (cause IN ('schedule', 'manual')),
    state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'held', 'failed')),
    started_at TEXT NOT NULL,
    ended_at TEXT,
    reason TEXT,
    CHECK ((state = 'running') = (ended_at IS NULL))
) STRICT;
INSERT INTO sync_runs_new
SELECT id, kind, iif(cause = 'person', 'manual', cause), state, started_at, ended_at, reason FROM sync_runs;
DROP TABLE sync_runs;
ALTER TABLE sync_runs_new RENAME TO sync_runs;
CREATE INDEX sync_runs_running ON sync_runs (kind, id) WHERE state = 'running';
CREATE INDEX sync_runs_state ON sync_runs (state, id);
CREATE INDEX sync_runs_kind ON sync_runs (kind, id);

ALTER TABLE drift RENAME TO drift_old;
CREATE TABLE drift (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('field', 'value', 'shape', 'object', 'event_type', 'response')),
    object TEXT NOT NULL,               -- Flexport's name of the object that contains it, such as /shipment
    name TEXT NOT NULL,                 -- path inside the object and, for a value, the value: status = "teleported"
    count INTEGER NOT NULL,             -- objects and events that contained it
    first_seen_at TEXT NOT NULL,        -- daemon's clock
    last_seen_at TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('webhook', 'events', 'sync')),  -- first source
    example TEXT NOT NULL,              -- beginning of the first occurrence's JSON
    UNIQUE (kind, object, name)
) STRICT;
INSERT INTO drift
SELECT id, iif(kind = 'answer', 'response', kind), object, name, count, first_seen_at, last_seen_at, source, example
FROM drift_old;
DROP TABLE drift_old;

ALTER TABLE document_files RENAME TO document_files_old;
CREATE TABLE document_files (
    id INTEGER PRIMARY KEY,
    document_id TEXT NOT NULL,
    current INTEGER NOT NULL,           -- 1: the document's current file; 0: an earlier version
    state TEXT NOT NULL CHECK (state IN ('pending', 'fetched', 'refused', 'failed', 'gone')),
    sha256 TEXT,                        -- its name in the archive; null until it is fetched
    size INTEGER,                       -- bytes
    media_type TEXT,
    file_name TEXT,
    declared_size INTEGER,              -- the document's size when the file was requested
    uploaded_at TEXT,
    requested_at TEXT NOT NULL,
    fetched_at TEXT,
    verified_at TEXT,                   -- when its checksum was last verified
    damage TEXT CHECK (damage IN ('missing', 'damaged')),  -- found in the archive, and not repaired yet
    error TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,  -- failed attempts since it was requested
    last_attempt_at TEXT,
    retry_at TEXT,                      -- next attempt; null: when the settings allow it
    CHECK (state <> 'fetched' OR sha256 IS NOT NULL),
    CHECK (current = 1 OR state = 'fetched')
) STRICT;
INSERT INTO document_files
SELECT id, document_id, current, iif(state = 'wanted', 'pending', state), sha256, size, media_type, file_name,
    declared_size, uploaded_at, wanted_at, fetched_at, verified_at, damage, error, attempts, tried_at, retry_at
FROM document_files_old;
DROP TABLE document_files_old;
CREATE UNIQUE INDEX document_files_current ON document_files (document_id) WHERE current = 1;
CREATE UNIQUE INDEX document_files_content ON document_files (document_id, sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX document_files_sha256 ON document_files (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX document_files_state ON document_files (state, id);
CREATE INDEX document_files_fetched ON document_files (fetched_at, id);
CREATE INDEX document_files_attempted ON document_files (last_attempt_at, id);
CREATE INDEX document_files_document ON document_files (document_id, id);
CREATE INDEX document_files_former ON document_files (id) WHERE current = 0;

-- The last verification of the archive.
UPDATE meta SET value = replace(replace(replace(replace(value,
    '"sound":', '"intact":'), '"strange":', '"unexpected":'), '"set_aside":', '"quarantined":'), '"more":', '"omitted":')
WHERE name = 'archive_verified';

UPDATE webhook_refusals SET reason = CASE reason
    WHEN 'unsigned' THEN 'signature-missing'
    WHEN 'signature' THEN 'signature-invalid'
    WHEN 'no-secret' THEN 'webhook-secret-missing'
    WHEN 'sha1-only' THEN 'sha1-signature'
    WHEN 'network' THEN 'network-not-allowed'
    WHEN 'slow' THEN 'request-timeout'
    WHEN 'too-large' THEN 'content-too-large'
    WHEN 'media-type' THEN 'unsupported-media-type'
    WHEN 'busy' THEN 'overloaded'
    ELSE reason
END;

ALTER TABLE sync_receipts RENAME TO sync_results;
ALTER TABLE sync_results RENAME COLUMN skips TO skipped_by_reason;

ALTER TABLE sync_resources RENAME COLUMN floor TO confirmed_at;
ALTER TABLE sync_resources RENAME COLUMN incremental_since TO incremental_until;
ALTER TABLE sync_resources RENAME COLUMN filter_refused_at TO filter_ignored_at;

ALTER TABLE shipment_list_richness RENAME TO shipment_list_completeness;
ALTER TABLE shipment_list_completeness RENAME COLUMN is_rich TO is_complete;
ALTER TABLE shipment_list_completeness RENAME COLUMN alike TO consecutive_matches;
ALTER TABLE shipment_list_completeness RENAME COLUMN poorer TO mismatches;

ALTER TABLE hearing RENAME TO event_delivery;
ALTER TABLE event_polls RENAME COLUMN good_at TO completed_at;
ALTER TABLE event_polls RENAME COLUMN lacking TO missing;
ALTER TABLE event_polls RENAME COLUMN lacking_types TO missing_types;
ALTER TABLE event_polls RENAME COLUMN lacking_at TO last_missing_at;

ALTER TABLE exception_told RENAME TO exception_notices;
ALTER TABLE exception_looks RENAME TO exception_checks;
ALTER TABLE forgotten_events RENAME TO deleted_events;
ALTER TABLE items RENAME COLUMN deaths TO crashes;
ALTER TABLE shipment_audiences RENAME COLUMN mark TO attribute;

ALTER TABLE shipments RENAME COLUMN told_estimated_picked_up_in_full TO own_estimated_picked_up_in_full;
ALTER TABLE shipments RENAME COLUMN told_actual_picked_up_in_full TO own_actual_picked_up_in_full;
ALTER TABLE shipments RENAME COLUMN told_estimated_departure TO own_estimated_departure;
ALTER TABLE shipments RENAME COLUMN told_actual_departure TO own_actual_departure;
ALTER TABLE shipments RENAME COLUMN told_estimated_arrival TO own_estimated_arrival;
ALTER TABLE shipments RENAME COLUMN told_actual_arrival TO own_actual_arrival;
ALTER TABLE shipments RENAME COLUMN told_estimated_delivered_in_full TO own_estimated_delivered_in_full;
ALTER TABLE shipments RENAME COLUMN told_actual_delivered_in_full TO own_actual_delivered_in_full;
