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

-- of_severity: the open ones of one severity that are not snoozed, the longest-standing problem first
SELECT {columns} FROM exceptions WHERE closed_at IS NULL AND severity = ? AND snoozed_at IS NULL
ORDER BY since, id LIMIT ?;

-- counts: how many are open of each kind and severity
SELECT kind, severity, count(*) FROM exceptions WHERE closed_at IS NULL GROUP BY kind, severity;

-- open: add a new one
INSERT INTO exceptions (kind, severity, resource, resource_id, shipment_id, opened_at, updated_at, evidence, since, degree,
    peak_severity)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, coalesce(?8, ?6), ?9, ?2);

-- update: update one that stays open
UPDATE exceptions SET severity = ?, shipment_id = ?, evidence = ?, since = coalesce(?, since), updated_at = ?, degree = ?,
    peak_severity = ? WHERE id = ?;

-- close: close one; that ends its snooze
UPDATE exceptions SET closed_at = ?1, updated_at = ?1, snoozed_at = NULL, snoozed_by = NULL, snoozed_until = NULL,
    snoozed_until_worse = 0, snoozed_degree = NULL WHERE id = ?2 AND closed_at IS NULL;

-- acknowledge: who has acknowledged one, and when
UPDATE exceptions SET acknowledged_at = ?, acknowledged_by = ? WHERE id = ?;

-- assign: who works on one
UPDATE exceptions SET assigned_to = ? WHERE id = ?;

-- snooze: snooze one; its degree now is what a worse one exceeds
UPDATE exceptions SET snoozed_at = ?, snoozed_by = ?, snoozed_until = ?, snoozed_until_worse = ?, snoozed_degree = degree
WHERE id = ?;

-- unsnooze: end the snooze of one
UPDATE exceptions SET snoozed_at = NULL, snoozed_by = NULL, snoozed_until = NULL, snoozed_until_worse = 0,
    snoozed_degree = NULL WHERE id = ?;

-- ended_snoozes: the snoozes that have ended, the first to end first
SELECT id FROM exceptions WHERE snoozed_until IS NOT NULL AND snoozed_until <= ? ORDER BY snoozed_until LIMIT ?;

-- next_snooze_end: when the next snooze ends
SELECT min(snoozed_until) FROM exceptions WHERE snoozed_until IS NOT NULL;

-- add_action: record what a person did
INSERT INTO exception_actions (exception_id, action, by, at, text) VALUES (?, ?, ?, ?, ?);

-- actions: what people did about one, in order
SELECT action, by, at, text FROM exception_actions WHERE exception_id = ? ORDER BY id;

-- count_actions: how many actions are recorded of one
SELECT count(*) FROM exception_actions WHERE exception_id = ?;

-- scheduled: when these objects are due for evaluation
SELECT key, due_at FROM exception_checks WHERE resource = ? AND key IN (SELECT value FROM json_each(?));

-- due: the objects that are due, the longest due first
SELECT resource, key, due_at FROM exception_checks WHERE due_at <= ? ORDER BY due_at LIMIT ?;

-- next_due: when the next object is due
SELECT min(due_at) FROM exception_checks;

-- schedule: set when objects are due, as a JSON list of (id, time)
INSERT INTO exception_checks (resource, key, due_at)
SELECT ?, json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?) WHERE true
ON CONFLICT (resource, key) DO UPDATE SET due_at = excluded.due_at;

-- unschedule: time alone changes nothing about these objects
DELETE FROM exception_checks WHERE resource = ? AND key IN (SELECT value FROM json_each(?));

-- was_notified: whether a notice of a topic was sent for an object, on an occasion (or on an unknown one) or on any
SELECT 1 FROM exception_notices WHERE topic = ?1 AND key = ?2 AND (?3 IS NULL OR occasion IN (?3, ''));

-- record_notified: a notice of a topic was sent for an object
INSERT OR IGNORE INTO exception_notices (topic, key, occasion, at) VALUES (?, ?, ?, ?);

-- due_operations: the operations whose exception opens, changes or closes now: unknown since before one time; its
-- exception is critical if it is unknown since before the other
SELECT o.id FROM operations AS o LEFT JOIN exceptions AS x ON x.closed_at IS NULL AND x.kind = 'operation_unknown'
    AND x.resource = 'operations' AND x.resource_id = CAST(o.id AS TEXT)
WHERE o.state = 'unknown' AND CASE WHEN x.id IS NULL THEN o.unknown_since <= ?1
    ELSE (x.severity <> 'critical' AND o.unknown_since <= ?2) OR x.since IS NOT o.unknown_since
        OR json_extract(x.evidence, '$.error') IS NOT o.error
        OR json_extract(x.evidence, '$.needs_decision') IS NOT o.needs_decision END
UNION ALL
SELECT CAST(x.resource_id AS INTEGER) FROM exceptions AS x LEFT JOIN operations AS o ON o.id = CAST(x.resource_id AS INTEGER)
WHERE x.closed_at IS NULL AND x.kind = 'operation_unknown' AND x.resource = 'operations' AND o.state IS NOT 'unknown'
LIMIT ?3;

-- unknown_operations: since when the first of the unknown operations without an exception, and the first of those whose
-- exception is not critical, have been unknown
SELECT min(CASE WHEN x.id IS NULL THEN o.unknown_since END),
    min(CASE WHEN x.severity <> 'critical' THEN o.unknown_since END)
FROM operations AS o LEFT JOIN exceptions AS x ON x.closed_at IS NULL AND x.kind = 'operation_unknown'
    AND x.resource = 'operations' AND x.resource_id = CAST(o.id AS TEXT)
WHERE o.state = 'unknown';

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

-- value_since: since when a field of these objects has its present value, on Flexport's clock: since it became that, or
-- since the object was first received
SELECT resource_id, max(as_of) FROM changes WHERE resource = ? AND resource_id IN (SELECT value FROM json_each(?))
    AND (field = 'id' OR (field = ? AND new = ?)) AND as_of <> '' GROUP BY resource_id;

-- delete_closed: delete those that were closed between two times, the first closed first (the newest of all stays,
-- so that no id is used twice)
DELETE FROM exceptions WHERE id IN (
    SELECT id FROM exceptions WHERE closed_at >= ? AND closed_at < ? ORDER BY closed_at LIMIT ?)
    AND id < (SELECT max(id) FROM exceptions);

-- delete_actions: delete what people did about those that delete_closed deletes next
DELETE FROM exception_actions WHERE exception_id IN (
    SELECT id FROM exceptions WHERE closed_at >= ? AND closed_at < ? ORDER BY closed_at LIMIT ?)
    AND exception_id < (SELECT max(id) FROM exceptions);
