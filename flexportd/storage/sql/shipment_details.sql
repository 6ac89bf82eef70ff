-- some: what is known of these shipments' details
SELECT id, entry_digest, fetched_as_of, pending FROM shipment_details WHERE id IN (SELECT value FROM json_each(?));

-- put: what is known of one shipment's details now
INSERT INTO shipment_details (id, entry_digest, fetched_as_of, pending) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET entry_digest = excluded.entry_digest, fetched_as_of = excluded.fetched_as_of,
    pending = excluded.pending, retry_at = CASE WHEN excluded.pending = 0 THEN NULL ELSE retry_at END;

-- due: shipments whose details are to be fetched now, urgent ones first; what a waiting item fetches is left to it
SELECT d.id FROM shipment_details d WHERE d.pending >= ?1 AND (d.retry_at IS NULL OR d.retry_at <= ?2)
    AND NOT EXISTS (SELECT 1 FROM items i WHERE i.kind = 'refresh' AND i.merge_key = 'shipments:' || d.id AND i.state = 'ready')
ORDER BY d.pending DESC, d.id DESC LIMIT ?3;

-- waiting: how many are to be fetched
SELECT count(*) FROM shipment_details WHERE pending >= ?;

-- fetched: how many shipments have their own response
SELECT count(*) FROM shipment_details WHERE fetched_as_of IS NOT NULL;

-- postpone: not before a time of ours
UPDATE shipment_details SET retry_at = ? WHERE id = ? AND pending > 0;

-- hasten: a time that only a wrong clock gave
UPDATE shipment_details SET retry_at = NULL WHERE pending > 0 AND retry_at > ?;

-- forget: nothing is to be fetched of what is gone
UPDATE shipment_details SET pending = 0 WHERE id IN (SELECT value FROM json_each(?));

-- richness: what comparisons have shown
SELECT is_complete, consecutive_matches, mismatches, decided_at FROM shipment_list_completeness;

-- decide: what comparisons have shown now
UPDATE shipment_list_completeness SET is_complete = ?, consecutive_matches = ?, mismatches = ?, decided_at = ?;

-- put_carbon: the newest figure of a leg
INSERT OR REPLACE INTO carbon_figures (leg_id, shipment_id, mode, kg, request, raw, as_of, calculated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- carbon_of_shipment: the figures of one shipment's legs
SELECT leg_id, shipment_id, mode, kg, request, raw, as_of, calculated_at FROM carbon_figures WHERE shipment_id = ?
ORDER BY leg_id;
