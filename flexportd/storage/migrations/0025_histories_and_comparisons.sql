-- A position in the journal is good only in the history in which it was given out. A restored database gives the same
-- numbers to other entries, so each entry carries a random mark, and positions and cursors name it.
ALTER TABLE journal ADD COLUMN mark TEXT;   -- 12 hex digits
UPDATE journal SET mark = lower(hex(randomblob(6)));

-- The mark of what was read before the journal had any entry.
INSERT INTO meta (name, value) VALUES ('store_id', lower(hex(randomblob(6))));

-- Whether Flexport's list has the events that webhooks brought: only then can it show which ones they did not bring.
ALTER TABLE event_polls ADD COLUMN compared INTEGER NOT NULL DEFAULT 0;     -- events from webhooks that were looked for
ALTER TABLE event_polls ADD COLUMN lacking INTEGER NOT NULL DEFAULT 0;      -- those of them that the list did not have
ALTER TABLE event_polls ADD COLUMN lacking_types TEXT NOT NULL DEFAULT '{}';    -- JSON: how many of each type
ALTER TABLE event_polls ADD COLUMN lacking_at TEXT;     -- when the newest of them came, on our clock
ALTER TABLE event_polls ADD COLUMN compared_at TEXT;    -- the last poll that had any to look for, on our clock
