-- What each commit did, in order: the stream, the search index and cursors follow it.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,                   -- on our clock
    first_change INTEGER,               -- the rows of `changes` that it wrote, both ends included
    last_change INTEGER,
    states TEXT,                        -- JSON: table -> [[id, as_of before; null for a new one], ...]
    events TEXT,                        -- JSON: the places (events.seq) of the events that ended
    notices TEXT,                       -- JSON: [{"topic": ..., ...}, ...], what no change and no event tells
    CHECK ((first_change IS NULL) = (last_change IS NULL))
) STRICT;
