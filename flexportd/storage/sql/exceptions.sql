-- one: an exception by its id
SELECT {columns} FROM exceptions WHERE id = ?;

-- of_shipments: the open ones of these shipments; an invoice may be for several
SELECT {columns} FROM exceptions WHERE id IN (
    SELECT one.id FROM exceptions AS one
    WHERE one.closed_at IS NULL AND one.shipment_id IN (SELECT value FROM json_each(?1)) UNION ALL
    SELECT one.id FROM json_each(?1) AS asked
    CROSS JOIN list_entries AS entry ON entry.listed = 'invoices.shipment_ids' AND entry.value = asked.value
    CROSS JOIN exceptions AS one ON one.closed_at IS NULL AND one.resource = 'invoices' AND one.resource_id = entry.key);

-- of_kind: the open one of a kind about an object
SELECT {columns} FROM exceptions WHERE closed_at IS NULL AND kind = ? AND resource = ? AND resource_id = ?;

-- of_objects: the open ones about some objects, of any kind
SELECT {columns} FROM exceptions WHERE closed_at IS NULL AND resource = ?
AND resource_id IN (SELECT value FROM json_each(?));

-- of_severity: the open ones of one severity, the longest-standing problem first
SELECT {columns} FROM exceptions WHERE closed_at IS NULL AND severity = ? ORDER BY since, id LIMIT ?;

-- counts: how many are open of each kind and severity
SELECT kind, severity, count(*) FROM exceptions WHERE closed_at IS NULL GROUP BY kind, severity;

-- open: add a new one
INSERT INTO exceptions (kind, severity, resource, resource_id, shipment_id, opened_at, updated_at, evidence, since)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, coalesce(?8, ?6));

-- update: update one that stays open
UPDATE exceptions SET severity = ?, shipment_id = ?, evidence = ?, since = coalesce(?, since), updated_at = ? WHERE id = ?;

-- close: close one
UPDATE exceptions SET closed_at = ?1, updated_at = ?1 WHERE id = ?2 AND closed_at IS NULL;

-- scheduled: when these objects are due for evaluation
SELECT key, due_at FROM exception_checks WHERE resource = ? AND key IN (SELECT value FROM json_each(?));

-- due: the objects that are due, the longest due first
SELECT resource, key, due_at FROM exception_checks WHERE due_at <= ? ORDER BY due_at LIMIT ?;

-- next_due: when the next object is due
SELECT min(due_at) FROM exception_checks;

-- schedule: set when an object is due
INSERT INTO exception_checks (resource, key, due_at) VALUES (?, ?, ?)
ON CONFLICT (resource, key) DO UPDATE SET due_at = excluded.due_at;

-- unschedule: time alone changes nothing about an object
DELETE FROM exception_checks WHERE resource = ? AND key = ?;

-- was_notified: whether a notice of a topic was sent for an object, on an occasion (or on an unknown one) or on any
SELECT 1 FROM exception_notices WHERE topic = ?1 AND key = ?2 AND (?3 IS NULL OR occasion IN (?3, ''));

-- record_notified: a notice of a topic was sent for an object
INSERT OR IGNORE INTO exception_notices (topic, key, occasion, at) VALUES (?, ?, ?, ?);

-- milestones: the newest applied milestones of a shipment
SELECT id, type, created_at, occurred_at, resource, resource_id FROM events
WHERE shipment_id = ? AND state IN ('applied', 'coalesced') ORDER BY seq DESC LIMIT ?;

-- date_changes: the changes of the departure and the estimated arrivals of a shipment, and of their places, with
-- their cause: changes by legs have the time of the shipment's own newest state
SELECT as_of, changed_at || ' ' || coalesce(event_id, run_id, ''), field, old, new
FROM changes WHERE resource = 'shipments' AND resource_id = ? AND changed_at <= ? AND field IN
        ('actual_departure', 'estimated_arrival', 'estimated_ramp_arrival', 'port_of_unloading', 'inland_ramp')
    ORDER BY id;

-- changed_at: when a date of one of these objects last changed, on Flexport's clock
SELECT max(as_of) FROM changes WHERE resource = ? AND resource_id IN (SELECT value FROM json_each(?))
    AND (field GLOB 'actual_*' OR field GLOB 'estimated_*' OR field GLOB '*_date' OR field GLOB 'delivery_*'
        OR field IN ('available_for_pickup', 'last_free_day'));

-- delete_closed: delete those that were closed between two times, the first closed first (the newest of all stays,
-- so that no id is used twice)
DELETE FROM exceptions WHERE id IN (
    SELECT id FROM exceptions WHERE closed_at >= ? AND closed_at < ? ORDER BY closed_at LIMIT ?)
    AND id < (SELECT max(id) FROM exceptions);
