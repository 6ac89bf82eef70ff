-- keep: the newest figure of a leg
INSERT OR REPLACE INTO carbon_figures (leg_id, shipment_id, mode, kg, request, raw, as_of, calculated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- of_shipment: the figures of one shipment's legs
SELECT leg_id, shipment_id, mode, kg, request, raw, as_of, calculated_at FROM carbon_figures WHERE shipment_id = ?
ORDER BY leg_id;
