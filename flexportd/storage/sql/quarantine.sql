-- put: an answer that is not what it should be
INSERT INTO unreadable (resource, resource_id, error, first_seen_at, last_seen_at, count, raw) VALUES (?1, ?2, ?3, ?4, ?4, 1, ?5)
ON CONFLICT DO UPDATE SET error = excluded.error, last_seen_at = excluded.last_seen_at, count = count + 1, raw = excluded.raw;

-- readable: it can be read after all
DELETE FROM unreadable WHERE resource = ? AND resource_id IN (SELECT CAST(value AS TEXT) FROM json_each(?));

-- any: whether an object of a resource cannot be read
SELECT 1 FROM unreadable WHERE resource = ? LIMIT 1;

-- forget: what was last seen before a time
DELETE FROM unreadable WHERE resource = ? AND last_seen_at < ?;

-- counts: how many objects of each resource cannot be read
SELECT resource, count(*) FROM unreadable GROUP BY resource;
