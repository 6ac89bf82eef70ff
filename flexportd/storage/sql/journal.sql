-- add: what one commit did
INSERT INTO journal (at, first_change, last_change, states, events, notices) VALUES (?, ?, ?, ?, ?, ?);

-- last: the newest entry
SELECT max(id) FROM journal;

-- first: the oldest entry that is kept
SELECT min(id) FROM journal;

-- after: the entries behind one, oldest first
SELECT {columns} FROM journal WHERE id > ? ORDER BY id LIMIT ?;
