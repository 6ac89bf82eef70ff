-- last_seq: the newest place in the order of arrival
SELECT coalesce(max(seq), 0) FROM events;

-- add: keep an event; a known id is left alone
INSERT OR IGNORE INTO events (seq, id, type, source, received_at) VALUES (?, ?, ?, ?, ?);

-- seqs_between: which of a run of places were taken
SELECT seq FROM events WHERE seq BETWEEN ? AND ?;

-- add_payload: keep the exact bytes
INSERT INTO event_payloads (seq, headers, body) VALUES (?, ?, ?);

-- to_apply: what applying needs of many events
SELECT e.seq, e.id, e.type, e.source, p.body FROM events e JOIN event_payloads p USING (seq)
WHERE e.seq IN (SELECT value FROM json_each(?));

-- end: what became of an event that was not
UPDATE events SET state = ?, ended_at = ?, reason = ? WHERE seq = ?;

-- reopen: an event is to be applied again
UPDATE events SET state = 'ready', ended_at = NULL, reason = NULL WHERE seq = ?;

-- count: one more of this type ended so
INSERT INTO event_counts (type, state, count) VALUES (?, ?, ?)
ON CONFLICT (type, state) DO UPDATE SET count = count + excluded.count;

-- counts: how many of each type ended how
SELECT type, state, count FROM event_counts ORDER BY type, state;

-- count_version: one more event came in a version
INSERT INTO event_versions (version, count, first_seen_at, last_seen_at) VALUES (?1, ?2, ?3, ?3)
ON CONFLICT (version) DO UPDATE SET count = count + excluded.count, last_seen_at = excluded.last_seen_at;

-- version_room: how many versions are known
SELECT count(*) FROM event_versions WHERE version <> ?;

-- versions: the versions that events came in beside 2
SELECT version, count, first_seen_at, last_seen_at FROM event_versions ORDER BY version;

-- by_id: one event by Flexport's id
SELECT {columns} FROM events WHERE id = ?;

-- type_of: the type of one event
SELECT type FROM events WHERE seq = ?;

-- forgotten: which of these ids are ids of events that were deleted
SELECT id FROM deleted_events WHERE id IN (SELECT value FROM json_each(?));

-- payload: the bytes and headers of one event
SELECT headers, body FROM event_payloads WHERE seq = ?;

-- of_shipment: the milestones of one shipment, oldest first
SELECT id, type, created_at, occurred_at, resource, resource_id, state FROM events
WHERE shipment_id = ? AND state IN ('applied', 'coalesced') ORDER BY seq LIMIT ?;

-- bodies: the bytes of these events, as far as they are kept
SELECT e.id, p.body FROM events e JOIN event_payloads p USING (seq) WHERE e.id IN (SELECT value FROM json_each(?));

-- newest: when we last heard from Flexport, and when that was recorded there
SELECT received_at, created_at FROM events ORDER BY seq DESC LIMIT 1;

-- total: how many events are kept
SELECT count(*) FROM events;

-- arrival: what tells an event from any other at the same place
SELECT seq, id || ' ' || received_at FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1;

-- types: the types that events have or had
SELECT DISTINCT type FROM event_counts WHERE type IS NOT NULL AND type <> '' ORDER BY type LIMIT ?;
