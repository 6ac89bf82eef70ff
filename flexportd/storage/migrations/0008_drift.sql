-- What Flexport sends that nobody published: noted once, then counted.
CREATE TABLE drift (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('field', 'value', 'shape', 'object', 'event_type', 'answer')),
    object TEXT NOT NULL,               -- Flexport's name of what has it, such as /shipment
    name TEXT NOT NULL,                 -- where in it, and for a value which: status = "teleported"
    count INTEGER NOT NULL,             -- objects and events that had it
    first_seen_at TEXT NOT NULL,        -- on our clock
    last_seen_at TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('webhook', 'events', 'sync')),  -- what brought it first
    example TEXT NOT NULL,              -- the beginning of the first value's JSON
    UNIQUE (kind, object, name)
) STRICT;
