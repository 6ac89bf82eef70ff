-- add: one notification, unless its occurrence is stored for the rule and channel
INSERT OR IGNORE INTO notifications (occurrence, rule, channel, topic, subject, resource, resource_id, shipment_id,
    exception_id, message, created_at, hold, due_at, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting');

-- due: the waiting ones of a channel that are due, and those that gather with them
SELECT {columns} FROM notifications
WHERE state = 'waiting' AND channel = ? AND (due_at <= ? AND hold <> 'digest' OR hold = 'gather') ORDER BY id LIMIT ?;

-- channels_due: the channels with waiting ones that are due
SELECT DISTINCT channel FROM notifications WHERE state = 'waiting' AND due_at <= ? AND hold <> 'digest' ORDER BY channel;

-- next_due: when the next one is due
SELECT min(due_at) FROM notifications WHERE state = 'waiting' AND hold <> 'digest';

-- for_digest: those that wait for a digest of a rule
SELECT {columns} FROM notifications
WHERE state = 'waiting' AND hold = 'digest' AND rule = ? AND channel = ? ORDER BY id LIMIT ?;

-- hold: wait on for another reason
UPDATE notifications SET hold = ?, due_at = ?
WHERE state = 'waiting' AND id IN (SELECT value FROM json_each(?));

-- drop: not sent, for a reason
UPDATE notifications SET state = 'dropped', reason = ?, ended_at = ?
WHERE state = 'waiting' AND id IN (SELECT value FROM json_each(?));

-- mark_sent: part of a delivery
UPDATE notifications SET state = 'sent', delivery_id = ?, ended_at = ?
WHERE state = 'waiting' AND id IN (SELECT value FROM json_each(?));

-- release_digests: those that wait for a digest that there is no more become due
UPDATE notifications SET hold = 'gather', due_at = ?1 WHERE state = 'waiting' AND hold = 'digest'
    AND NOT EXISTS (SELECT 1 FROM json_each(?2) AS kept WHERE kept.value ->> 0 = rule AND kept.value ->> 1 = channel);

-- forget_other_digests: the times of digests that there are no more
DELETE FROM digest_runs WHERE NOT EXISTS (
    SELECT 1 FROM json_each(?) AS kept WHERE kept.value ->> 0 = rule AND kept.value ->> 1 = channel);

-- digest_rules: the rules for whose digests something waits, or a time is stored
SELECT rule FROM digest_runs UNION SELECT rule FROM notifications WHERE state = 'waiting' AND hold = 'digest';

-- rename_waiting_for_digest: a rule has another name
UPDATE OR IGNORE notifications SET rule = ? WHERE state = 'waiting' AND hold = 'digest' AND rule = ?;

-- rename_digest_times: the same for the times of its digests
UPDATE OR IGNORE digest_runs SET rule = ? WHERE rule = ?;

-- drop_waiting: nothing that waits is sent
UPDATE notifications SET state = 'dropped', reason = ?, ended_at = ? WHERE state = 'waiting';

-- recently_sent: when messages about these subjects were made for a channel
SELECT subject, min(ended_at) AS at FROM notifications
WHERE channel = ? AND subject IN (SELECT value FROM json_each(?)) AND state = 'sent' AND hold <> 'digest'
    AND topic <> 'exception.closed' AND ended_at >= ? AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE deliveries.id = delivery_id AND deliveries.state IN ('failed', 'discarded'))
GROUP BY subject, delivery_id ORDER BY at;

-- last_state: the state of the newest notification of a channel about a subject
SELECT state FROM notifications WHERE channel = ? AND subject = ? ORDER BY id DESC LIMIT 1;

-- told_by_other_rule: for which other rule a channel was told of an occurrence
SELECT rule FROM notifications WHERE occurrence = ? AND channel = ? AND rule <> ? AND state = 'sent'
    AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE deliveries.id = delivery_id AND deliveries.state IN ('failed', 'discarded'))
LIMIT 1;

-- was_told: whether a channel was told of an exception
SELECT 1 FROM notifications
WHERE channel = ? AND exception_id = ? AND state = 'sent' AND topic <> 'exception.closed' AND NOT EXISTS (
    SELECT 1 FROM deliveries WHERE deliveries.id = delivery_id AND deliveries.state IN ('failed', 'discarded'))
LIMIT 1;

-- of_delivery: those that a delivery contains
SELECT {columns} FROM notifications WHERE delivery_id = ? ORDER BY id LIMIT ?;

-- rule_counts: how often each rule matched; the plus keeps to the table, which is faster to read than its index
SELECT rule, count(*) FILTER (WHERE created_at >= ?1), count(*) FILTER (WHERE created_at >= ?1 AND state = 'sent'),
    count(*) FILTER (WHERE created_at >= ?1 AND state = 'dropped'), max(created_at)
FROM notifications GROUP BY +rule;

-- told_dates: the dates that were last told
SELECT t.channel, t.resource, t.resource_id, t.field, t.day, t.told_at, t.delivery_id FROM json_each(?) AS asked
CROSS JOIN told_dates AS t ON t.channel = asked.value ->> 0 AND t.resource = asked.value ->> 1
    AND t.resource_id = asked.value ->> 2 AND t.field = asked.value ->> 3;

-- begin_date: where the comparison of a date begins; one that was unknown begins when it is known
INSERT INTO told_dates (channel, resource, resource_id, field, day, told_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (channel, resource, resource_id, field) DO UPDATE SET day = excluded.day, day_before = NULL,
    told_at = excluded.told_at, delivery_id = NULL WHERE day IS NULL AND excluded.day IS NOT NULL;

-- save_told_date: a date is told with a delivery; if the one before it is not sent yet, what was told before that counts
INSERT INTO told_dates (channel, resource, resource_id, field, day, told_at, delivery_id)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (channel, resource, resource_id, field) DO UPDATE SET
    day_before = CASE WHEN EXISTS (
        SELECT 1 FROM deliveries WHERE deliveries.id = told_dates.delivery_id AND state <> 'sent') THEN day_before ELSE day END,
    day = excluded.day, told_at = excluded.told_at, delivery_id = excluded.delivery_id;

-- confirm_told_date: a delivery was sent after another one had been made, or after it had failed
UPDATE told_dates SET
    day_before = CASE WHEN delivery_id > ?1 THEN ?2 ELSE day_before END,
    day = CASE WHEN delivery_id > ?1 THEN day ELSE ?2 END,
    told_at = CASE WHEN delivery_id > ?1 THEN told_at ELSE ?3 END,
    delivery_id = max(coalesce(delivery_id, 0), ?1)
WHERE channel = ?4 AND resource = ?5 AND resource_id = ?6 AND field = ?7 AND delivery_id IS NOT ?1;

-- take_back: a delivery was not sent, so the dates in it were not told; the last one that was sent counts
UPDATE told_dates SET day = day_before, told_at = ?1, delivery_id = (
        SELECT max(n.delivery_id) FROM notifications AS n CROSS JOIN deliveries AS d ON d.id = n.delivery_id
        WHERE n.channel = told_dates.channel AND d.state = 'sent' AND n.subject =
            'date:' || told_dates.resource || ':' || told_dates.resource_id || ':' || told_dates.field)
WHERE channel = ?2 AND delivery_id = ?3;

-- forget_told_dates: begin all comparisons again
DELETE FROM told_dates;

-- digest_due_at: when the next digest is due
SELECT due_at FROM digest_runs WHERE rule = ? AND channel = ?;

-- save_digest_due_at: set when the next digest is due
INSERT OR REPLACE INTO digest_runs (rule, channel, due_at) VALUES (?, ?, ?);

-- forget_digest_times: each digest is due at its next time
DELETE FROM digest_runs;

-- delete_old: delete ended ones, without those about open exceptions
DELETE FROM notifications WHERE id IN (
    SELECT id FROM notifications WHERE state <> 'waiting' AND created_at < ? AND NOT EXISTS (
        SELECT 1 FROM exceptions WHERE exceptions.id = notifications.exception_id AND exceptions.closed_at IS NULL)
    ORDER BY id LIMIT ?);

-- outcomes: how many by state and reason
SELECT state, reason, count(*) FROM notifications GROUP BY state, reason;

-- of_occurrence: what a rule made of an occurrence
SELECT {columns} FROM notifications WHERE occurrence = ? AND rule = ? ORDER BY channel;
