-- Events that came in another version of Flexport's API than 2, by version. Times are ours.
CREATE TABLE event_versions (
    version TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    first_seen_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
