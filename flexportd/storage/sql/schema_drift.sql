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
