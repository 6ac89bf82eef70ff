-- oldest_events: the oldest events behind a place: when each came, and whether it may go (an open dead letter keeps its event; the newest stays, so that no place is given twice)
SELECT e.seq, e.received_at, e.state <> 'ready' AND e.seq < (SELECT max(seq) FROM events) AND NOT EXISTS (
    SELECT 1 FROM items i WHERE i.ref = e.seq AND i.state = 'dead' AND i.discarded_at IS NULL)
FROM events e WHERE e.seq > ? ORDER BY e.seq LIMIT ?;

-- forget_payloads: the bytes of events
DELETE FROM event_payloads WHERE seq IN (SELECT value FROM json_each(?));

-- remember_ids: that there were these events: one that is sent again is not new
INSERT OR IGNORE INTO forgotten_events (id) SELECT id FROM events WHERE seq IN (SELECT value FROM json_each(?));

-- forget_events: the events themselves
DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?));

-- forget_gaps: the gaps that these events were
DELETE FROM gaps WHERE event_id IN (SELECT id FROM events WHERE seq IN (SELECT value FROM json_each(?)));

-- forget_letters: discarded dead letters whose event has left
DELETE FROM items WHERE ref IN (SELECT value FROM json_each(?)) AND state = 'dead';

-- forget_changes: the oldest history (the newest row stays, so that no number is given twice)
DELETE FROM changes WHERE id IN (SELECT id FROM changes ORDER BY id LIMIT ?) AND changed_at < ?
    AND id < (SELECT max(id) FROM changes);

-- forget_journal: the oldest entries of the journal (the newest stays)
DELETE FROM journal WHERE id IN (SELECT id FROM journal ORDER BY id LIMIT ?) AND at < ? AND id < (SELECT max(id) FROM journal);
