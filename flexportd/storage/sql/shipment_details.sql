-- of_shipments: the state of these shipments' details
SELECT id, entry_digest, fetched_as_of, pending FROM shipment_details WHERE id IN (SELECT value FROM json_each(?));

-- put: store the state of one shipment's details
INSERT INTO shipment_details (id, entry_digest, fetched_as_of, pending) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET entry_digest = excluded.entry_digest, fetched_as_of = excluded.fetched_as_of,
    pending = excluded.pending, retry_at = CASE WHEN excluded.pending = 0 THEN NULL ELSE retry_at END;

-- due: shipments whose details are due, urgent ones first, except those that a waiting item fetches
SELECT d.id FROM shipment_details d WHERE d.pending >= ?1 AND (d.retry_at IS NULL OR d.retry_at <= ?2)
    AND NOT EXISTS (SELECT 1 FROM items i WHERE i.kind = 'refresh' AND i.merge_key = 'shipments:' || d.id AND i.state = 'ready')
ORDER BY d.pending DESC, d.id DESC LIMIT ?3;

-- pending: how many are pending
SELECT count(*) FROM shipment_details WHERE pending >= ?;

-- fetched: how many shipments have a response of their own
SELECT count(*) FROM shipment_details WHERE fetched_as_of IS NOT NULL;

-- postpone: not before a time on our clock
UPDATE shipment_details SET retry_at = ? WHERE id = ? AND pending > 0;

-- make_due: a time that only a wrong clock can have set
UPDATE shipment_details SET retry_at = NULL WHERE pending > 0 AND retry_at > ?;

-- delete: nothing is to be fetched for a removed shipment
UPDATE shipment_details SET pending = 0 WHERE id IN (SELECT value FROM json_each(?));

-- completeness: whether lists have all fields, as comparisons have shown
SELECT is_complete, consecutive_matches, mismatches, decided_at FROM shipment_list_completeness;

-- put_completeness: store what comparisons have shown
UPDATE shipment_list_completeness SET is_complete = ?, consecutive_matches = ?, mismatches = ?, decided_at = ?;

-- put_carbon: store the newest figure of a leg
INSERT OR REPLACE INTO carbon_figures (leg_id, shipment_id, mode, kg, request, raw, as_of, calculated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- carbon_of_shipment: the figures of one shipment's legs
SELECT leg_id, shipment_id, mode, kg, request, raw, as_of, calculated_at FROM carbon_figures WHERE shipment_id = ?
ORDER BY leg_id;
