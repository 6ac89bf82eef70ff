-- shipments: what the entries of a calendar tell of their shipments, and the zone of the place where each is unloaded
SELECT s.id, s.name, s.port_of_unloading, s.port_of_unloading_code, s.actual_arrival, s.estimated_arrival,
    s.removed_at, (
        SELECT l.destination_timezone FROM legs l
        WHERE l.shipment_id = s.id AND l.destination = s.port_of_unloading AND l.destination_timezone IS NOT NULL
            AND l.deleted_at IS NULL AND l.removed_at IS NULL
        ORDER BY l.id LIMIT 1
    ), max(s.synced_at, coalesce((SELECT max(l.synced_at) FROM legs l WHERE l.shipment_id = s.id), ''))
FROM shipments s WHERE s.id IN (SELECT value FROM json_each(?));

-- loads: the containers on these legs, those that left one included
SELECT b.leg_id, c.container_number, b.removed_at IS NULL AND c.removed_at IS NULL,
    max(b.synced_at, coalesce(c.synced_at, ''))
FROM container_legs b LEFT JOIN containers c ON c.id = b.container_id
WHERE b.leg_id IN (SELECT value FROM json_each(?)) ORDER BY b.leg_id, c.container_number, b.id;
