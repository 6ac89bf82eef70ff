-- written: what was written behind a number of the journal, oldest first
SELECT id, first_change, last_change, states FROM journal WHERE id > ? AND states IS NOT NULL ORDER BY id LIMIT ?;

-- placed: what moved of what has no history behind a number of the journal, oldest first
SELECT id, places FROM journal WHERE id > ? AND places IS NOT NULL ORDER BY id LIMIT ?;

-- moved: the values that some fields of one resource had before each of these changes, oldest first
SELECT resource_id, field, old FROM changes
WHERE id BETWEEN ? AND ? AND +resource = ? AND field IN (SELECT value FROM json_each(?)) ORDER BY id;

-- oldest_change: the oldest row of the history that is kept
SELECT min(id) FROM changes;

-- newest: the newest entry of a stretch that tells of a table
SELECT max(id) FROM journal WHERE id > ? AND id <= ? AND (instr(states, ?) > 0 OR instr(places, ?) > 0);
