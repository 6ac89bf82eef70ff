-- get: one value by its name
SELECT value FROM meta WHERE name = ?;

-- put: store one value
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;
