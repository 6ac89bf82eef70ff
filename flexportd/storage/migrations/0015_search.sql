-- What search finds: objects, and the texts that each is known by. The index over parts of them is made when the
-- daemon starts, since what it is made of depends on SQLite (storage/substring_index.py).
CREATE TABLE search_objects (
    id INTEGER PRIMARY KEY,
    resource TEXT NOT NULL,
    key ANY NOT NULL,                   -- the object's id, a number or a text
    shipment_id INTEGER,
    title TEXT NOT NULL,                -- what a hit is called
    removed_at TEXT
) STRICT;
CREATE UNIQUE INDEX search_objects_key ON search_objects (resource, key);

CREATE TABLE search_entries (
    id INTEGER PRIMARY KEY,             -- the number of its kind in the bits from 40 up, and a number that rises
    object INTEGER NOT NULL,
    shipment_id INTEGER,                -- that of its object
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    folded TEXT NOT NULL                -- the value as it is compared: small letters, no blanks, no punctuation
) STRICT;
CREATE INDEX search_entries_shipment ON search_entries (shipment_id, object, folded);
