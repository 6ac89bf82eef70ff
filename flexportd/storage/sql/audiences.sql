-- visible: those of these shipments that have one of these values of a mark
SELECT DISTINCT a.shipment_id FROM json_each(?1) wanted CROSS JOIN shipment_audiences a ON a.shipment_id = wanted.value
WHERE a.attribute = ?2 AND a.value IN (SELECT value FROM json_each(?3));

-- delete: delete the marks of these shipments
DELETE FROM shipment_audiences WHERE shipment_id IN (SELECT value FROM json_each(?));

-- add: add a mark of a shipment
INSERT OR IGNORE INTO shipment_audiences (attribute, value, shipment_id) VALUES (?, ?, ?);

-- count: how many shipments have one of these values of a mark
SELECT count(DISTINCT shipment_id) FROM shipment_audiences
WHERE attribute = ? AND value IN (SELECT value FROM json_each(?));

-- membership_changes: the last change of each of these objects that assigned it to another shipment, or gave a
-- document another type
SELECT wanted.value, c.id, c.changed_at, c.source, c.event_id, c.run_id
FROM json_each(?1) wanted CROSS JOIN changes c ON c.id = (
    SELECT b.id FROM changes b WHERE b.resource = ?2 AND b.resource_id = wanted.value
        AND b.field IN ('shipment_id', 'document_type') ORDER BY b.id DESC LIMIT 1);
