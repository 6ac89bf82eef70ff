-- last_seq: the highest number in the order of arrival
SELECT coalesce(max(seq), 0) FROM events;

-- add: store an event unless its id is known
INSERT OR IGNORE INTO events (seq, id, type, source, received_at) VALUES (?, ?, ?, ?, ?);

-- seqs_between: which numbers of a range are used
SELECT seq FROM events WHERE seq BETWEEN ? AND ?;

-- add_payload: store the exact bytes
INSERT INTO event_payloads (seq, headers, body) VALUES (?, ?, ?);

-- to_apply: the columns of many events that applying needs
SELECT e.seq, e.id, e.type, e.source, p.body FROM events e JOIN event_payloads p USING (seq)
WHERE e.seq IN (SELECT value FROM json_each(?));

-- finish: store the result of an event
UPDATE events SET state = ?, ended_at = ?, reason = ? WHERE seq = ?;

-- reopen: an event is to be applied again
UPDATE events SET state = 'ready', ended_at = NULL, reason = NULL WHERE seq = ?;

-- count: count one more event of a type and result
INSERT INTO event_counts (type, state, count) VALUES (?, ?, ?)
ON CONFLICT (type, state) DO UPDATE SET count = count + excluded.count;

-- counts: how many events of each type and result
SELECT type, state, count FROM event_counts ORDER BY type, state;

-- count_version: count one more event of a version
INSERT INTO event_versions (version, count, first_seen_at, last_seen_at) VALUES (?1, ?2, ?3, ?3)
ON CONFLICT (version) DO UPDATE SET count = count + excluded.count, last_seen_at = excluded.last_seen_at;

-- count_versions: how many versions are stored
SELECT count(*) FROM event_versions WHERE version <> ?;

-- versions: the versions of events other than 2
SELECT version, count, first_seen_at, last_seen_at FROM event_versions ORDER BY version;

-- by_id: one event by Flexport's id
SELECT {columns} FROM events WHERE id = ?;

-- type_of: the type of one event
SELECT type FROM events WHERE seq = ?;

-- deleted: which of these ids belong to deleted events
SELECT id FROM deleted_events WHERE id IN (SELECT value FROM json_each(?));

-- payload: the bytes and headers of one event
SELECT headers, body FROM event_payloads WHERE seq = ?;

-- of_shipment: the milestones of one shipment, oldest first
SELECT id, type, created_at, occurred_at, resource, resource_id, state FROM events
WHERE shipment_id = ? AND state IN ('applied', 'coalesced') ORDER BY seq LIMIT ?;

-- bodies: the bytes of these events, if they are still stored
SELECT e.id, p.body FROM events e JOIN event_payloads p USING (seq) WHERE e.id IN (SELECT value FROM json_each(?));

-- newest: when the newest event was received, and when Flexport recorded it
SELECT received_at, created_at FROM events ORDER BY seq DESC LIMIT 1;

-- total: how many events are stored
SELECT count(*) FROM events;

-- arrival: the columns that distinguish an event from any other with the same number
SELECT seq, id || ' ' || received_at FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1;

-- types: the types of all events, including deleted ones
SELECT DISTINCT type FROM event_counts WHERE type IS NOT NULL AND type <> '' ORDER BY type LIMIT ?;
