-- known: the position in the lists, if it was seen before
SELECT id, last_seen_at, count FROM drift WHERE kind = ? AND object = ? AND name = ?;

-- count_again: it was seen before; the first example stays
UPDATE drift SET count = count + ?, last_seen_at = max(last_seen_at, ?) WHERE id = ?;

-- add: it was never seen before
INSERT INTO drift (kind, object, name, count, first_seen_at, last_seen_at, source, example)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- total: how many different findings there are
SELECT count(*) FROM drift;

-- totals: how many different findings of each kind, and how often they were seen
SELECT kind, count(*), sum(count) FROM drift GROUP BY kind ORDER BY kind;

-- put_unreadable: an object that cannot be parsed
INSERT INTO unreadable (resource, resource_id, error, first_seen_at, last_seen_at, count, raw) VALUES (?1, ?2, ?3, ?4, ?4, 1, ?5)
ON CONFLICT DO UPDATE SET error = excluded.error, last_seen_at = excluded.last_seen_at, count = count + 1, raw = excluded.raw;

-- delete_unreadable: it can be parsed now
DELETE FROM unreadable WHERE resource = ? AND resource_id IN (SELECT CAST(value AS TEXT) FROM json_each(?));

-- any_unreadable: whether an object of a resource cannot be parsed
SELECT 1 FROM unreadable WHERE resource = ? LIMIT 1;

-- delete_unseen: delete what was last seen before a time
DELETE FROM unreadable WHERE resource = ? AND last_seen_at < ?;

-- count_unreadable: how many objects of each resource cannot be parsed
SELECT resource, count(*) FROM unreadable GROUP BY resource;
