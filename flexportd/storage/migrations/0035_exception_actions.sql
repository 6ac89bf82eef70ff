-- How bad an exception is, and what people did about it: who works on it, and who is not to be notified until when.
ALTER TABLE exceptions ADD COLUMN degree INTEGER NOT NULL DEFAULT 0;  -- the rule's measure: greater is worse
ALTER TABLE exceptions ADD COLUMN peak_severity TEXT NOT NULL DEFAULT 'notice'
    CHECK (peak_severity IN ('critical', 'warning', 'notice'));  -- the most severe since it opened
UPDATE exceptions SET peak_severity = severity;
ALTER TABLE exceptions ADD COLUMN acknowledged_at TEXT;
ALTER TABLE exceptions ADD COLUMN acknowledged_by TEXT;
ALTER TABLE exceptions ADD COLUMN assigned_to TEXT;
ALTER TABLE exceptions ADD COLUMN snoozed_at TEXT;             -- null: not snoozed; always for a closed exception
ALTER TABLE exceptions ADD COLUMN snoozed_by TEXT;
ALTER TABLE exceptions ADD COLUMN snoozed_until TEXT;          -- null: until it gets worse or closes
ALTER TABLE exceptions ADD COLUMN snoozed_until_worse INTEGER NOT NULL DEFAULT 0;
ALTER TABLE exceptions ADD COLUMN snoozed_degree INTEGER;      -- the degree when it was snoozed
CREATE INDEX exceptions_snooze_end ON exceptions (snoozed_until) WHERE snoozed_until IS NOT NULL;
CREATE INDEX exceptions_snoozed ON exceptions (opened_at, id) WHERE snoozed_at IS NOT NULL;
CREATE INDEX exceptions_acknowledged ON exceptions (opened_at, id) WHERE acknowledged_at IS NOT NULL;
CREATE INDEX exceptions_assigned ON exceptions (assigned_to COLLATE NOCASE, opened_at, id) WHERE assigned_to IS NOT NULL;

-- What people did about exceptions, in order.
CREATE TABLE exception_actions (
    id INTEGER PRIMARY KEY,
    exception_id INTEGER NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('acknowledge', 'unacknowledge', 'assign', 'note', 'snooze', 'unsnooze')),
    by TEXT NOT NULL,                   -- the name of an API key, or of a local user
    at TEXT NOT NULL,                   -- daemon's clock
    text TEXT                           -- the note; the assignee; until when it is snoozed
) STRICT;
CREATE INDEX exception_actions_exception ON exception_actions (exception_id, id);
