-- Which shipments were written since some time, read from the index alone: a list as it was begins with them.
DROP INDEX shipments_as_of;
CREATE INDEX shipments_as_of ON shipments (as_of, id, synced_at);

-- What an event changed.
CREATE INDEX changes_event ON changes (event_id, id) WHERE event_id IS NOT NULL;
