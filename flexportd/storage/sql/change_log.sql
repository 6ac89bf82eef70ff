-- add: what one commit did
INSERT INTO journal (at, first_change, last_change, states, events, notices, mark)
VALUES (?, ?, ?, ?, ?, ?, lower(hex(randomblob(6))));

-- place: where rows without a history stood
INSERT INTO journal (at, places, mark) VALUES (?, ?, lower(hex(randomblob(6))));

-- last: the newest entry
SELECT max(id) FROM journal;

-- mark_from: the mark of the first entry from a number on
SELECT mark FROM journal WHERE id >= ? ORDER BY id LIMIT 1;

-- up_to: the newest entry up to some time of ours
SELECT id FROM journal WHERE at <= ? ORDER BY at DESC, id DESC LIMIT 1;

-- store_id: the mark of the store itself
SELECT value FROM meta WHERE name = 'store_id';

-- first: the oldest entry that is kept
SELECT min(id) FROM journal;

-- after: the entries behind one, oldest first
SELECT {columns} FROM journal WHERE id > ? ORDER BY id LIMIT ?;

-- moved: the rows of the history that an entry wrote
SELECT resource, resource_id, field, old, new, as_of, source, event_id, run_id FROM changes
WHERE id BETWEEN ? AND ? ORDER BY id;

-- happened: the events that an entry ended
SELECT seq, id, type, source, state, created_at, occurred_at, resource, resource_id, shipment_id FROM events
WHERE seq IN (SELECT value FROM json_each(?));

-- shipments_of: the shipments of the events that entries ended
SELECT DISTINCT shipment_id FROM events WHERE seq IN (SELECT value FROM json_each(?)) AND shipment_id IS NOT NULL;

-- history_before: the last row of the history that was written before an entry which wrote none
SELECT coalesce(
    (SELECT last_change FROM journal WHERE id < ?1 AND last_change IS NOT NULL ORDER BY id DESC LIMIT 1),
    (SELECT first_change - 1 FROM journal WHERE id > ?1 AND first_change IS NOT NULL ORDER BY id LIMIT 1),
    (SELECT max(id) FROM changes),
    0);
