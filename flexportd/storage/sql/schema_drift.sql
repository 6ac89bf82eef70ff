-- known: where it stands in its lists, if it was seen before
SELECT id, last_seen_at, count FROM drift WHERE kind = ? AND object = ? AND name = ?;

-- again: it was seen before; the first example stays
UPDATE drift SET count = count + ?, last_seen_at = max(last_seen_at, ?) WHERE id = ?;

-- keep: it was never seen before
INSERT INTO drift (kind, object, name, count, first_seen_at, last_seen_at, source, example)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- total: how many different ones there are
SELECT count(*) FROM drift;

-- sums: how many different ones of each kind, and how often they were seen
SELECT kind, count(*), sum(count) FROM drift GROUP BY kind ORDER BY kind;

-- put_unreadable: an answer that is not what it should be
INSERT INTO unreadable (resource, resource_id, error, first_seen_at, last_seen_at, count, raw) VALUES (?1, ?2, ?3, ?4, ?4, 1, ?5)
ON CONFLICT DO UPDATE SET error = excluded.error, last_seen_at = excluded.last_seen_at, count = count + 1, raw = excluded.raw;

-- readable: it can be read after all
DELETE FROM unreadable WHERE resource = ? AND resource_id IN (SELECT CAST(value AS TEXT) FROM json_each(?));

-- any_unreadable: whether an object of a resource cannot be read
SELECT 1 FROM unreadable WHERE resource = ? LIMIT 1;

-- delete_unseen: what was last seen before a time
DELETE FROM unreadable WHERE resource = ? AND last_seen_at < ?;

-- count_unreadable: how many objects of each resource cannot be read
SELECT resource, count(*) FROM unreadable GROUP BY resource;
