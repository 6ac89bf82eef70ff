-- Conditions of the daemon itself that need a person, such as syncs that fail: one row a kind, its latest occurrence.
CREATE TABLE system_conditions (
    kind TEXT NOT NULL PRIMARY KEY,     -- such as sync_failed
    since TEXT NOT NULL,                -- when the fault began, as far as known
    detail TEXT NOT NULL,               -- a sentence for people, from the beginning
    ended_at TEXT                       -- when it was over; NULL while it lasts
) STRICT, WITHOUT ROWID;
