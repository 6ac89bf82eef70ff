-- Conditions of the daemon itself that need a person, such as syncs that fail: one row a kind, its latest occurrence.
CREATE TABLE system_conditions (
    kind TEXT NOT NULL PRIMARY KEY,     -- such as sync_failed
    since TEXT NOT NULL,                -- when the fault began, as far as known
    detail TEXT NOT NULL,               -- a sentence for people, from the beginning
    ended_at TEXT                       -- when it was over; NULL while it lasts
) STRICT, WITHOUT ROWID;
-- Notices that are sent once for an object are sent once for each occasion: for invoices, the due date.
CREATE TABLE exception_notices_new (
    topic TEXT NOT NULL,
    key TEXT NOT NULL,                  -- of the object
    occasion TEXT NOT NULL,             -- such as the due date; empty if unknown
    at TEXT NOT NULL,
    PRIMARY KEY (topic, key, occasion)
) STRICT, WITHOUT ROWID;
INSERT INTO exception_notices_new
SELECT topic, key, coalesce((SELECT due_date FROM invoices WHERE invoices.id = exception_notices.key), ''), at
FROM exception_notices;
DROP TABLE exception_notices;
ALTER TABLE exception_notices_new RENAME TO exception_notices;
