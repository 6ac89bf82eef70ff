-- again: it was seen before; the first example stays
UPDATE drift SET count = count + ?, last_seen_at = max(last_seen_at, ?) WHERE kind = ? AND object = ? AND name = ?;

-- keep: it was never seen before; two that look the same once they are harmless are one
INSERT INTO drift (kind, object, name, count, first_seen_at, last_seen_at, source, example)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (kind, object, name) DO UPDATE SET count = count + excluded.count;

-- total: how many different ones there are
SELECT count(*) FROM drift;

-- sums: how many different ones of each kind, and how often they were seen
SELECT kind, count(*), sum(count) FROM drift GROUP BY kind ORDER BY kind;
