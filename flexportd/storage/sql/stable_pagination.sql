-- changes_after: the changes after a number of the change log, oldest first
SELECT id, first_change, last_change, states FROM journal WHERE id > ? AND states IS NOT NULL ORDER BY id LIMIT ?;

-- positions_after: the former positions of rows without a history after a number of the change log, oldest first
SELECT id, places FROM journal WHERE id > ? AND places IS NOT NULL ORDER BY id LIMIT ?;

-- values_before: the values that some fields of one resource had before each of these changes, oldest first
SELECT resource_id, field, old FROM changes
WHERE id BETWEEN ? AND ? AND +resource = ? AND field IN (SELECT value FROM json_each(?)) ORDER BY id;

-- oldest_change: the oldest stored row of the history
SELECT min(id) FROM changes;

-- newest: the newest entry of a range that concerns a table
SELECT max(id) FROM journal WHERE id > ? AND id <= ? AND (instr(states, ?) > 0 OR instr(places, ?) > 0);
