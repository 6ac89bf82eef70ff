-- newest: the newest entry of a stretch that tells of a table
SELECT max(id) FROM journal WHERE id > ? AND id <= ? AND (instr(states, ?) > 0 OR instr(places, ?) > 0);
