-- known: which of these ids belong to events that are or were stored
SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM events WHERE id = value)
    OR EXISTS (SELECT 1 FROM deleted_events WHERE id = value);

-- delivery: since when this store receives events, and the newest event by each way
SELECT since, upstream_created_at, upstream_occurred_at, through_seq, webhook_seq, webhook_at, webhook_created_at
FROM event_delivery;

-- start: since when this store receives events; the first time counts
INSERT INTO event_delivery (one, since) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET since = min(since, excluded.since);

-- record_newest: the newest event by each way
UPDATE event_delivery SET upstream_created_at = max(coalesce(upstream_created_at, ?1), coalesce(?1, upstream_created_at)),
    upstream_occurred_at = max(coalesce(upstream_occurred_at, ?2), coalesce(?2, upstream_occurred_at)),
    through_seq = ?3, webhook_seq = ?4, webhook_at = ?5, webhook_created_at = ?6;

-- first_webhook: when the first event arrived by webhook
SELECT received_at FROM events WHERE source = 'webhook' ORDER BY seq LIMIT 1;

-- newest_webhook: the newest event after a number that arrived by webhook
SELECT seq, received_at, coalesce(created_at, received_at) FROM events WHERE seq > ? AND source = 'webhook'
ORDER BY seq DESC LIMIT 1;

-- last: the newest event by any way
SELECT seq, received_at FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1;

-- webhooks_between: when the events of a range that arrived by webhook were recorded
SELECT coalesce(created_at, received_at), seq, received_at FROM events WHERE seq BETWEEN ? AND ? AND source = 'webhook';

-- gap_before: the newest gap at or before a time
SELECT created_at, after_seq, last_webhook_at FROM gaps WHERE created_at <= ? ORDER BY created_at DESC, seq DESC LIMIT 1;

-- add: an event that did not arrive by webhook
INSERT OR REPLACE INTO gaps (seq, event_id, type, created_at, occurred_at, detected_at, resource, resource_id, shipment_id,
    after_seq, last_webhook_at, recovered_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'polling');

-- record_delivered: a webhook delivered these after all; within two minutes after recording, a webhook is on time
UPDATE gaps SET delivered_at = ?1, on_time = ?1 <= strftime('%Y-%m-%dT%H:%M:%fZ', created_at, '+120 seconds')
WHERE delivered_at IS NULL AND event_id IN (SELECT value FROM json_each(?2));

-- polls: until when each window was polled
SELECT span, since, read_until, newest_id, completed_at, read, new, pages, failing_since, failed_at, failure,
    compared, missing, missing_types, last_missing_at, compared_at
FROM event_polls ORDER BY span;

-- expected: the newest events that arrived by webhook and that a poll of this window should contain, newest first
SELECT id, coalesce(type, ''), received_at FROM events
WHERE seq > (SELECT max(seq) FROM events) - ?1 AND source = 'webhook' AND occurred_at > ?2 AND received_at < ?3
ORDER BY seq DESC LIMIT ?4;

-- finish_poll: a window was polled completely; a poll without anything to compare keeps the earlier result
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

-- fail_poll: a window could not be polled completely
INSERT INTO event_polls (span, failing_since, failed_at, failure) VALUES (?1, ?2, ?2, ?3)
ON CONFLICT (span) DO UPDATE SET failing_since = coalesce(failing_since, ?2), failed_at = ?2, failure = ?3;

-- outages: gaps after the same delivered webhook, the newest outage first
SELECT g.after_seq, min(g.last_webhook_at), count(*), min(g.created_at), max(g.created_at), min(g.detected_at),
    max(g.detected_at), count(g.delivered_at), count(*) FILTER (WHERE e.state = 'ready'), count(*) FILTER (WHERE e.state = 'dead')
FROM gaps g LEFT JOIN events e ON e.seq = g.seq
WHERE g.on_time = 0 AND g.after_seq BETWEEN ?1 AND ?2 GROUP BY g.after_seq ORDER BY g.after_seq DESC LIMIT ?3;

-- types: the gaps of one outage by type
SELECT coalesce(type, ''), count(*) FROM gaps WHERE on_time = 0 AND after_seq = ? GROUP BY 1 ORDER BY 2 DESC, 1;

-- newest_outage: the outage of the newest gap
SELECT after_seq FROM gaps WHERE on_time = 0 ORDER BY created_at DESC, seq DESC LIMIT 1;

-- webhook_after: the first webhook after a time, or at it and after a number, within a range of numbers
SELECT received_at FROM events WHERE seq BETWEEN ?1 AND ?2 AND source = 'webhook'
    AND coalesce(created_at, received_at) >= ?3 AND (seq > ?4 OR coalesce(created_at, received_at) > ?3)
ORDER BY seq LIMIT 1;

-- delivery_after: when, from a time on, a webhook first delivered an event that a poll had brought
SELECT min(delivered_at) FROM gaps WHERE delivered_at >= ?;

-- last_delivery: when a webhook last delivered an event that a poll had brought
SELECT max(delivered_at) FROM gaps WHERE delivered_at IS NOT NULL;

-- recorded_at: when the newest events were recorded
SELECT created_at FROM (SELECT created_at FROM events ORDER BY seq DESC LIMIT ?1) WHERE created_at IS NOT NULL;
