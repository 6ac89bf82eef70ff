-- shipments: the fields of the shipments that calendar entries show
SELECT id, name, removed_at, synced_at FROM shipments WHERE id IN (SELECT value FROM json_each(?));

-- loads: the containers on these legs, including those that have left one
SELECT b.leg_id, c.container_number, b.removed_at IS NULL AND c.removed_at IS NULL,
    max(b.synced_at, coalesce(c.synced_at, ''))
FROM container_legs b LEFT JOIN containers c ON c.id = b.container_id
WHERE b.leg_id IN (SELECT value FROM json_each(?)) ORDER BY b.leg_id, c.container_number, b.id;
