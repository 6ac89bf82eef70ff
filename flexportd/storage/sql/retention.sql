-- old_events: events behind a place that are older than a time: by when they came and when they were recorded, as far as these are no times to come, nor before there was Flexport
SELECT seq FROM events WHERE seq > ?1 AND max(CASE WHEN received_at BETWEEN ?3 AND ?4 THEN received_at ELSE '' END,
    CASE WHEN created_at BETWEEN ?3 AND ?4 THEN created_at ELSE '' END) BETWEEN '0' AND ?2 ORDER BY seq LIMIT ?5;

-- forgettable: which of these events may go (an open dead letter keeps its event; the newest stays, so that no place is given twice)
SELECT e.seq FROM events e WHERE e.seq IN (SELECT value FROM json_each(?)) AND e.state <> 'ready'
    AND e.seq < (SELECT max(seq) FROM events) AND NOT EXISTS (
        SELECT 1 FROM items i WHERE i.ref = e.seq AND i.state = 'dead' AND i.discarded_at IS NULL);

-- forget_payloads: the bytes of events
DELETE FROM event_payloads WHERE seq IN (SELECT value FROM json_each(?));

-- remember_ids: that there were these events: one that is sent again is not new
INSERT OR IGNORE INTO deleted_events (id) SELECT id FROM events WHERE seq IN (SELECT value FROM json_each(?));

-- forget_events: the events themselves
DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?));

-- forget_gaps: the gaps that these events were
DELETE FROM gaps WHERE event_id IN (SELECT id FROM events WHERE seq IN (SELECT value FROM json_each(?)));

-- forget_letters: discarded dead letters whose event has left
DELETE FROM items WHERE ref IN (SELECT value FROM json_each(?)) AND state = 'dead';

-- old_changes: rows of the history older than a time, oldest first; times as for events (the newest row stays, so that no number is given twice)
SELECT id FROM changes WHERE id < (SELECT max(id) FROM changes) AND max(
    CASE WHEN changed_at BETWEEN ?2 AND ?3 THEN changed_at ELSE '' END,
    CASE WHEN as_of BETWEEN ?2 AND ?3 THEN as_of ELSE '' END) BETWEEN '0' AND ?1 ORDER BY id LIMIT ?4;

-- forget_changes: rows of the history
DELETE FROM changes WHERE id IN (SELECT value FROM json_each(?));

-- old_entries: entries of the journal older than a time, oldest first (the newest stays)
SELECT id FROM journal WHERE at BETWEEN ?2 AND ?1 AND id < (SELECT max(id) FROM journal) ORDER BY id LIMIT ?3;

-- forget_entries: entries of the journal
DELETE FROM journal WHERE id IN (SELECT value FROM json_each(?));
