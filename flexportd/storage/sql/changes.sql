-- add: one field of one resource moved
INSERT INTO changes (resource, resource_id, field, old, new, as_of, changed_at, source, event_id, run_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- recent: the newest changes of one field, for the overview
SELECT c.id, c.resource_id, s.name, c.field, c.old, c.new, c.as_of, c.changed_at, c.event_id
FROM changes c JOIN shipments s ON s.id = CAST(c.resource_id AS INTEGER)
WHERE c.resource = 'shipments' AND c.id > (SELECT coalesce(max(id), 0) - 5000 FROM changes)
    AND c.field IN (SELECT value FROM json_each(?))
ORDER BY c.id DESC LIMIT ?;
