-- history_back: the history of one object, newest first
SELECT field, old, as_of, changed_at, source FROM changes WHERE resource = ? AND resource_id = ? ORDER BY id DESC;

-- table_definition: the CREATE statement of a table
SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?;
