-- back: the history of one object, from now back
SELECT field, old, as_of, changed_at, source FROM changes WHERE resource = ? AND resource_id = ? ORDER BY id DESC;

-- shape: how a table was made
SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?;
