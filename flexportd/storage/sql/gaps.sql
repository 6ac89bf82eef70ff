-- known: which of these ids are ids of events that are kept, or were
SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM events WHERE id = value)
    OR EXISTS (SELECT 1 FROM deleted_events WHERE id = value);

-- hearing: from when on this store listens, and the newest that each way brought
SELECT since, upstream_created_at, upstream_occurred_at, through_seq, webhook_seq, webhook_at, webhook_created_at
FROM event_delivery;

-- listen: from when on this store listens; the first time counts
INSERT INTO event_delivery (one, since) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET since = min(since, excluded.since);

-- hear: the newest that each way brought
UPDATE event_delivery SET upstream_created_at = max(coalesce(upstream_created_at, ?1), coalesce(?1, upstream_created_at)),
    upstream_occurred_at = max(coalesce(upstream_occurred_at, ?2), coalesce(?2, upstream_occurred_at)),
    through_seq = ?3, webhook_seq = ?4, webhook_at = ?5, webhook_created_at = ?6;

-- first_webhook: when the first event came by webhook
SELECT received_at FROM events WHERE source = 'webhook' ORDER BY seq LIMIT 1;

-- newest_webhook: the newest event after a place that a webhook brought
SELECT seq, received_at, coalesce(created_at, received_at) FROM events WHERE seq > ? AND source = 'webhook'
ORDER BY seq DESC LIMIT 1;

-- last: the newest event, whatever brought it
SELECT seq, received_at FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1;

-- webhooks_between: when the events of a run of places were recorded, those that webhooks brought
SELECT coalesce(created_at, received_at), seq, received_at FROM events WHERE seq BETWEEN ? AND ? AND source = 'webhook';

-- gap_before: the newest gap at or before a time
SELECT created_at, after_seq, last_webhook_at FROM gaps WHERE created_at <= ? ORDER BY created_at DESC, seq DESC LIMIT 1;

-- add: an event that no webhook brought
INSERT OR REPLACE INTO gaps (seq, event_id, type, created_at, occurred_at, detected_at, resource, resource_id, shipment_id,
    after_seq, last_webhook_at, recovered_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'polling');

-- deliver: a webhook brought these after all; two minutes after it was recorded is soon enough for a webhook
UPDATE gaps SET delivered_at = ?1, on_time = ?1 <= strftime('%Y-%m-%dT%H:%M:%fZ', created_at, '+120 seconds')
WHERE delivered_at IS NULL AND event_id IN (SELECT value FROM json_each(?2));

-- polls: how far each span was read
SELECT span, since, read_until, newest_id, completed_at, read, new, pages, failing_since, failed_at, failure,
    compared, missing, missing_types, last_missing_at, compared_at
FROM event_polls ORDER BY span;

-- expected: the newest events that webhooks brought, of those that a list of this span should have; the newest first
SELECT id, coalesce(type, ''), received_at FROM events
WHERE seq > (SELECT max(seq) FROM events) - ?1 AND source = 'webhook' AND occurred_at > ?2 AND received_at < ?3
ORDER BY seq DESC LIMIT ?4;

-- poll_ended: a span was read to its end; one that had nothing to compare leaves what an earlier one found
INSERT INTO event_polls (span, since, read_until, newest_id, completed_at, read, new, pages, compared, missing, missing_types,
    last_missing_at, compared_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (span) DO UPDATE SET since = excluded.since, read_until = excluded.read_until,
    newest_id = excluded.newest_id, completed_at = excluded.completed_at, read = excluded.read, new = excluded.new,
    pages = excluded.pages, failing_since = NULL, failed_at = NULL, failure = NULL,
    compared = iif(excluded.compared, excluded.compared, compared),
    missing = iif(excluded.compared, excluded.missing, missing),
    missing_types = iif(excluded.compared, excluded.missing_types, missing_types),
    last_missing_at = iif(excluded.compared, excluded.last_missing_at, last_missing_at),
    compared_at = iif(excluded.compared, excluded.compared_at, compared_at);

-- poll_failed: a span could not be read to its end
INSERT INTO event_polls (span, failing_since, failed_at, failure) VALUES (?1, ?2, ?2, ?3)
ON CONFLICT (span) DO UPDATE SET failing_since = coalesce(failing_since, ?2), failed_at = ?2, failure = ?3;

-- outages: gaps that follow the same delivered webhook, the newest outage first
SELECT g.after_seq, min(g.last_webhook_at), count(*), min(g.created_at), max(g.created_at), min(g.detected_at),
    max(g.detected_at), count(g.delivered_at), count(*) FILTER (WHERE e.state = 'ready'), count(*) FILTER (WHERE e.state = 'dead')
FROM gaps g LEFT JOIN events e ON e.seq = g.seq
WHERE g.on_time = 0 AND g.after_seq BETWEEN ?1 AND ?2 GROUP BY g.after_seq ORDER BY g.after_seq DESC LIMIT ?3;

-- types: the gaps of one outage by type
SELECT coalesce(type, ''), count(*) FROM gaps WHERE on_time = 0 AND after_seq = ? GROUP BY 1 ORDER BY 2 DESC, 1;

-- newest_outage: which outage the newest gap belongs to
SELECT after_seq FROM gaps WHERE on_time = 0 ORDER BY created_at DESC, seq DESC LIMIT 1;

-- webhook_after: the first webhook after a time, or at it and after a place; looked for among a run of places
SELECT received_at FROM events WHERE seq BETWEEN ?1 AND ?2 AND source = 'webhook'
    AND coalesce(created_at, received_at) >= ?3 AND (seq > ?4 OR coalesce(created_at, received_at) > ?3)
ORDER BY seq LIMIT 1;

-- delivery_after: when, from a time on, a webhook first brought what polling had brought before
SELECT min(delivered_at) FROM gaps WHERE delivered_at >= ?;

-- last_delivery: when a webhook last brought what polling had brought before
SELECT max(delivered_at) FROM gaps WHERE delivered_at IS NOT NULL;

-- moments: when the newest events were recorded
SELECT created_at FROM (SELECT created_at FROM events ORDER BY seq DESC LIMIT ?1) WHERE created_at IS NOT NULL;
