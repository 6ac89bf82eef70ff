-- add: the entry of one commit
INSERT INTO journal (at, first_change, last_change, states, events, notices, mark)
VALUES (?, ?, ?, ?, ?, ?, lower(hex(randomblob(6))));

-- add_position: the former position of rows without a history
INSERT INTO journal (at, places, mark) VALUES (?, ?, lower(hex(randomblob(6))));

-- last: the newest entry
SELECT max(id) FROM journal;

-- first_mark: the mark of the first entry from a number on
SELECT mark FROM journal WHERE id >= ? ORDER BY id LIMIT 1;

-- last_until: the newest entry up to a time on our clock
SELECT id FROM journal WHERE at <= ? ORDER BY at DESC, id DESC LIMIT 1;

-- store_id: the mark of this database
SELECT value FROM meta WHERE name = 'store_id';

-- first: the oldest entry that is stored
SELECT min(id) FROM journal;

-- after: the entries after one, oldest first
SELECT {columns} FROM journal WHERE id > ? ORDER BY id LIMIT ?;

-- changes: the rows of the history that an entry wrote
SELECT resource, resource_id, field, old, new, as_of, source, event_id, run_id FROM changes
WHERE id BETWEEN ? AND ? ORDER BY id;

-- changes_of_fields: those of them that are about these fields
SELECT resource, resource_id, field, old, new, as_of, source, event_id, run_id FROM changes
WHERE id BETWEEN ? AND ? AND field IN (SELECT value FROM json_each(?)) ORDER BY id;

-- next_change: the first change of a field of an object after a row of the history
SELECT resource, resource_id, field, old, new, as_of, source, event_id, run_id FROM changes
WHERE resource = ? AND resource_id = ? AND id > ? AND field = ? ORDER BY id LIMIT 1;

-- events: the events that an entry completed
SELECT seq, id, type, source, state, created_at, occurred_at, resource, resource_id, shipment_id FROM events
WHERE seq IN (SELECT value FROM json_each(?));

-- shipments_of_events: the shipments of the events that entries completed
SELECT DISTINCT shipment_id FROM events WHERE seq IN (SELECT value FROM json_each(?)) AND shipment_id IS NOT NULL;

-- last_change_before: the last row of the history before an entry that wrote none
SELECT coalesce(
    (SELECT last_change FROM journal WHERE id < ?1 AND last_change IS NOT NULL ORDER BY id DESC LIMIT 1),
    (SELECT first_change - 1 FROM journal WHERE id > ?1 AND first_change IS NOT NULL ORDER BY id LIMIT 1),
    (SELECT max(id) FROM changes),
    0);

-- last_before: the newest entry from before a time
SELECT id FROM journal WHERE at < ? ORDER BY at DESC, id DESC LIMIT 1;

-- of_event: the entry that completed an event
SELECT {columns} FROM journal WHERE at >= ?1 AND events IS NOT NULL
    AND EXISTS (SELECT 1 FROM json_each(events) AS done WHERE done.value = ?2)
ORDER BY at, id LIMIT 1;

-- of_change: the entry that wrote a row of the history
SELECT {columns} FROM journal WHERE at >= ?1 AND last_change >= ?2 ORDER BY at, id LIMIT 1;
