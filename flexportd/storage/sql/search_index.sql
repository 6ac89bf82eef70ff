-- stored: the index entries of some objects of one resource, a row each
SELECT o.key, o.id, o.shipment_id, o.title, o.removed_at, o.marks, e.id, e.field, e.value, e.folded
FROM search_objects o CROSS JOIN search_entries e ON e.shipment_id IS o.shipment_id AND e.object = o.id
WHERE o.resource = ? AND o.key IN (SELECT value FROM json_each(?));

-- add_object: an object that has entries now
INSERT INTO search_objects (resource, key, shipment_id, title, removed_at, marks) VALUES (?, ?, ?, ?, ?, ?);

-- update_object: update the title of an object
UPDATE search_objects SET shipment_id = ?, title = ?, removed_at = ?, marks = ? WHERE id = ?;

-- delete_object: an object without entries
DELETE FROM search_objects WHERE id = ?;

-- newest: the newest entry within a range of ids
SELECT max(id) FROM search_entries WHERE id BETWEEN ? AND ?;

-- add_entry: one text of an object
INSERT INTO search_entries (id, object, shipment_id, field, value, folded) VALUES (?, ?, ?, ?, ?, ?);

-- move_entry: an object belongs to another shipment
UPDATE search_entries SET shipment_id = ? WHERE id = ?;

-- delete_entry: delete one text of an object
DELETE FROM search_entries WHERE id = ?;

-- of_shipments: the entries of these shipments
SELECT id FROM search_entries WHERE shipment_id IN (SELECT value FROM json_each(?));

-- indexed_texts: the indexed text of these entries with the marks of their shipment
-- (the + prevents a comparison as a number, for which there is no index)
SELECT e.id, e.folded, coalesce(o.marks, '')
FROM json_each(?) wanted CROSS JOIN search_entries e ON e.id = wanted.value
LEFT JOIN search_objects o ON o.resource = 'shipments' AND o.key = +e.shipment_id;

-- hits: these entries, of some kinds, with the objects that they find; kinds above 100 are titles of the shipment
SELECT e.id, e.object, e.field, e.value, e.folded, o.resource, o.key, o.shipment_id, o.title, o.removed_at
FROM json_each(?1) found CROSS JOIN search_entries e ON e.id = found.value
CROSS JOIN search_objects o ON o.id = CASE WHEN e.id >> 40 > 100 THEN (
    SELECT s.id FROM search_objects s WHERE s.resource = 'shipments' AND s.key = +e.shipment_id) ELSE e.object END
WHERE e.id >> 40 IN (SELECT value FROM json_each(?2));

-- hits_of_audience: those of them whose shipment an audience can see, documents of some types only
SELECT e.id, e.object, e.field, e.value, e.folded, o.resource, o.key, o.shipment_id, o.title, o.removed_at
FROM json_each(?1) found CROSS JOIN search_entries e ON e.id = found.value
CROSS JOIN search_objects o ON o.id = CASE WHEN e.id >> 40 > 100 THEN (
    SELECT s.id FROM search_objects s WHERE s.resource = 'shipments' AND s.key = +e.shipment_id) ELSE e.object END
WHERE e.id >> 40 IN (SELECT value FROM json_each(?2)) AND EXISTS (
    SELECT 1 FROM shipment_audiences a
    WHERE a.attribute = ?3 AND a.value IN (SELECT value FROM json_each(?4)) AND a.shipment_id = e.shipment_id)
    AND (o.resource <> 'documents' OR EXISTS (
        SELECT 1 FROM documents d WHERE d.id = o.key AND d.document_type IN (SELECT value FROM json_each(?5))));

-- clear_entries: delete all texts
DELETE FROM search_entries;

-- clear_objects: delete all objects
DELETE FROM search_objects;

-- units: the shipment of these entries, of some kinds, or the object if it has no shipment; the newest
SELECT e.shipment_id, e.object FROM json_each(?1) found CROSS JOIN search_entries e ON e.id = found.value
WHERE instr(e.folded, ?2) BETWEEN 1 AND ?3
    AND (e.id >> 40 IN (SELECT value FROM json_each(?4))
        OR instr(e.folded, ?5) AND e.id >> 40 IN (SELECT value FROM json_each(?6)))
ORDER BY e.id DESC;

-- shipments_with_text: those of these shipments that contain a text
SELECT unit.value FROM json_each(?1) unit WHERE EXISTS (
    SELECT 1 FROM search_entries e WHERE e.shipment_id = +unit.value AND instr(e.folded, ?2) BETWEEN 1 AND ?3
    AND (e.id >> 40 IN (SELECT value FROM json_each(?4))
        OR instr(e.folded, ?5) AND e.id >> 40 IN (SELECT value FROM json_each(?6))));

-- objects_with_text: those of these objects without a shipment that contain a text
SELECT unit.value FROM json_each(?1) unit WHERE EXISTS (
    SELECT 1 FROM search_entries e WHERE e.shipment_id IS NULL AND e.object = +unit.value
    AND instr(e.folded, ?2) BETWEEN 1 AND ?3
    AND (e.id >> 40 IN (SELECT value FROM json_each(?4))
        OR instr(e.folded, ?5) AND e.id >> 40 IN (SELECT value FROM json_each(?6))));

-- entries_of_shipments: the entries of these shipments that contain a text
SELECT e.id FROM json_each(?1) unit CROSS JOIN search_entries e ON e.shipment_id = +unit.value
WHERE instr(e.folded, ?2) BETWEEN 1 AND ?3
    AND (e.id >> 40 IN (SELECT value FROM json_each(?4))
        OR instr(e.folded, ?5) AND e.id >> 40 IN (SELECT value FROM json_each(?6)));

-- entries_of_objects: the entries of these objects without a shipment that contain a text
SELECT e.id FROM json_each(?1) unit CROSS JOIN search_entries e ON e.shipment_id IS NULL AND e.object = +unit.value
WHERE instr(e.folded, ?2) BETWEEN 1 AND ?3
    AND (e.id >> 40 IN (SELECT value FROM json_each(?4))
        OR instr(e.folded, ?5) AND e.id >> 40 IN (SELECT value FROM json_each(?6)));

-- titles: the titles of these shipments
SELECT key, id, title, removed_at FROM search_objects
WHERE resource = 'shipments' AND key IN (SELECT value FROM json_each(?));
