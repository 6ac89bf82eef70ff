-- get: one fact about this store, by name
SELECT value FROM meta WHERE name = ?;

-- put: remember one fact
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;
