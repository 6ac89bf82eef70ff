-- old_events: events after a number that are older than a time, by their times of receipt and recording as far as
-- these are plausible
SELECT seq FROM events WHERE seq > ?1 AND max(CASE WHEN received_at BETWEEN ?3 AND ?4 THEN received_at ELSE '' END,
    CASE WHEN created_at BETWEEN ?3 AND ?4 THEN created_at ELSE '' END) BETWEEN '0' AND ?2 ORDER BY seq LIMIT ?5;

-- deletable: which of these events can be deleted (an open dead letter keeps its event; the newest stays, so that no
-- number is used twice)
SELECT e.seq FROM events e WHERE e.seq IN (SELECT value FROM json_each(?)) AND e.state <> 'ready'
    AND e.seq < (SELECT max(seq) FROM events) AND NOT EXISTS (
        SELECT 1 FROM items i WHERE i.ref = e.seq AND i.state = 'dead' AND i.discarded_at IS NULL);

-- delete_payloads: delete the bytes of events
DELETE FROM event_payloads WHERE seq IN (SELECT value FROM json_each(?));

-- keep_ids: keep the ids of deleted events: an event that is sent again is not new
INSERT OR IGNORE INTO deleted_events (id) SELECT id FROM events WHERE seq IN (SELECT value FROM json_each(?));

-- delete_events: delete the events themselves
DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?));

-- delete_gaps: delete the gaps of these events
DELETE FROM gaps WHERE event_id IN (SELECT id FROM events WHERE seq IN (SELECT value FROM json_each(?)));

-- delete_letters: delete discarded dead letters whose event is deleted
DELETE FROM items WHERE ref IN (SELECT value FROM json_each(?)) AND state = 'dead';

-- old_changes: rows of the history before a time, oldest first; times as for events (the newest row stays, so that
-- no id is used twice)
SELECT id FROM changes WHERE id < (SELECT max(id) FROM changes) AND max(
    CASE WHEN changed_at BETWEEN ?2 AND ?3 THEN changed_at ELSE '' END,
    CASE WHEN as_of BETWEEN ?2 AND ?3 THEN as_of ELSE '' END) BETWEEN '0' AND ?1 ORDER BY id LIMIT ?4;

-- delete_changes: delete rows of the history
DELETE FROM changes WHERE id IN (SELECT value FROM json_each(?));

-- old_entries: entries of the change log before a time, oldest first (the newest stays)
SELECT id FROM journal WHERE at BETWEEN ?2 AND ?1 AND id < (SELECT max(id) FROM journal) ORDER BY id LIMIT ?3;

-- delete_entries: delete entries of the change log
DELETE FROM journal WHERE id IN (SELECT value FROM json_each(?));
