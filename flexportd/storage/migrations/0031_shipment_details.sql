-- The entry of a shipment in a list may be poorer than the shipment's own response, so that is fetched, too.
CREATE TABLE shipment_details (
    id INTEGER PRIMARY KEY,             -- the shipment
    entry_digest INTEGER,               -- of its newest list entry that was read
    fetched_as_of TEXT,                 -- of the newest own response
    pending INTEGER NOT NULL,           -- 0 no, 1 to be fetched, 2 in any case: its list entry left out what is stored
    retry_at TEXT                       -- our time before which it is not tried again
) STRICT;
CREATE INDEX shipment_details_pending ON shipment_details (pending, id) WHERE pending > 0;

-- One row: whether list entries of this account are as rich as the shipments' own responses.
CREATE TABLE shipment_list_richness (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    is_rich INTEGER NOT NULL,           -- 1: own responses are fetched only where an entry left something out
    alike INTEGER NOT NULL,             -- comparisons in a row that showed no difference
    poorer INTEGER NOT NULL,            -- comparisons ever in which the list entry was poorer
    decided_at TEXT                     -- our time since which is_rich is as it is
) STRICT;
INSERT INTO shipment_list_richness VALUES (1, 0, 0, 0, NULL);

INSERT INTO shipment_details (id, pending) SELECT id, 1 FROM shipments WHERE removed_at IS NULL;
