-- add: what one commit did
INSERT INTO journal (at, first_change, last_change, states, events, notices) VALUES (?, ?, ?, ?, ?, ?);

-- place: where rows without a history stood
INSERT INTO journal (at, places) VALUES (?, ?);

-- last: the newest entry
SELECT max(id) FROM journal;

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
