-- add: one change of one field
INSERT INTO changes (resource, resource_id, field, old, new, as_of, changed_at, source, event_id, run_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- last: the newest row
SELECT max(id) FROM changes;

-- recent: the newest changes of one field, for the overview
SELECT c.id, c.resource_id, s.name, c.field, c.old, c.new, c.as_of, c.changed_at, c.event_id
FROM changes c JOIN shipments s ON s.id = CAST(c.resource_id AS INTEGER)
WHERE c.resource = 'shipments' AND c.id > (SELECT coalesce(max(id), 0) - 5000 FROM changes)
    AND c.field IN (SELECT value FROM json_each(?))
ORDER BY c.id DESC LIMIT ?;

-- had_value: whether a field of any object of a resource had this value before a change
SELECT 1 FROM changes WHERE resource = ? AND field = ? AND old = ? LIMIT 1;

-- newest: the newest change of each field of one object, with its event if that is still stored
SELECT {columns}, event_type, received_at, event_source FROM changes LEFT JOIN
    (SELECT id AS known_id, type AS event_type, received_at, source AS event_source FROM events) ON known_id = event_id
WHERE id IN (SELECT max(id) FROM changes WHERE resource = ? AND resource_id = ? GROUP BY field) ORDER BY id;

-- of_object: the changes of one object before one of them, newest first, each with its event
SELECT {columns}, event_type, received_at, event_source FROM changes LEFT JOIN
    (SELECT id AS known_id, type AS event_type, received_at, source AS event_source FROM events) ON known_id = event_id
WHERE resource = ? AND resource_id = ? AND id < ? ORDER BY id DESC LIMIT ?;

-- of_event: the changes that one event caused, oldest first
SELECT {columns}, event_type, received_at, event_source FROM changes LEFT JOIN
    (SELECT id AS known_id, type AS event_type, received_at, source AS event_source FROM events) ON known_id = event_id
WHERE event_id = ? ORDER BY id LIMIT ?;

-- last_until: the last change of one object up to a time on our clock
SELECT {columns}, event_type, received_at, event_source FROM changes LEFT JOIN
    (SELECT id AS known_id, type AS event_type, received_at, source AS event_source FROM events) ON known_id = event_id
WHERE resource = ? AND resource_id = ? AND changed_at <= ? ORDER BY id DESC LIMIT 1;

-- deleted_until: until when history was deleted
SELECT value FROM meta WHERE name = ?;

-- value_at: the value that a field had at a time
SELECT new FROM changes WHERE resource = ? AND resource_id = ? AND field = ? AND changed_at <= ? ORDER BY id DESC LIMIT 1;
