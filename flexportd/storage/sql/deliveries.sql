-- add: a message to be sent
INSERT INTO deliveries (key, channel, channel_type, kind, rules, title, content, thread, cause, edits, notifications,
    state, created_at, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'waiting', ?12, ?12);

-- one: a delivery by its id
SELECT {columns} FROM deliveries WHERE id = ?;

-- last_of_cause: the newest message of a channel about a cause
SELECT {columns} FROM deliveries WHERE channel = ? AND cause = ? AND created_at >= ? AND state <> 'discarded'
ORDER BY id DESC LIMIT 1;

-- first_of_thread: the first message of a conversation that was sent
SELECT {columns} FROM deliveries WHERE channel = ? AND thread = ? AND remote_id IS NOT NULL ORDER BY id LIMIT 1;

-- replaced_by: a message that was sent and replaces one, perhaps with others in between
WITH RECURSIVE later (id, state) AS (
    SELECT id, state FROM deliveries WHERE channel = ?1 AND thread = ?2 AND edits = ?3
    UNION SELECT d.id, d.state FROM later CROSS JOIN deliveries AS d ON d.channel = ?1 AND d.thread = ?2 AND d.edits = later.id)
SELECT id FROM later WHERE state = 'sent' LIMIT 1;

-- times_of_rule: when messages of a rule were made
SELECT created_at FROM deliveries WHERE channel = ? AND created_at >= ?
    AND EXISTS (SELECT 1 FROM json_each(rules) AS rule WHERE rule.value = ?) ORDER BY created_at;

-- begin: an attempt begins; one that was interrupted may have arrived
UPDATE deliveries SET is_repeated = max(is_repeated, state = 'sending'), state = 'sending', attempts = attempts + 1,
    updated_at = ? WHERE id = ? RETURNING is_repeated;

-- mark_sent: accepted
UPDATE deliveries SET state = 'sent', sent_at = ?1, updated_at = ?1, remote_id = coalesce(?2, remote_id), note = ?3,
    error = NULL, progress = NULL WHERE id = ?4;

-- mark_waiting: failed for now
UPDATE deliveries SET state = 'waiting', updated_at = ?, error = ?, progress = coalesce(?, progress),
    is_repeated = max(is_repeated, ?) WHERE id = ?;

-- mark_failed: not sent
UPDATE deliveries SET state = 'failed', updated_at = ?, error = ?, sent_at = NULL WHERE id = ?;

-- mark_discarded: decided not to be sent
UPDATE deliveries SET state = 'discarded', updated_at = ?, error = ?, sent_at = NULL
WHERE id = ? AND state <> 'sent';

-- fail_interrupted_tests: test messages that were being sent when the process ended; nothing else ends them
UPDATE deliveries SET state = 'failed', updated_at = ?, error = ? WHERE kind = 'test' AND state = 'sending'
    AND NOT EXISTS (SELECT 1 FROM items WHERE kind = 'delivery' AND merge_key = CAST(deliveries.id AS TEXT));

-- reopen: to be sent again
UPDATE deliveries SET state = 'waiting', is_repeated = max(is_repeated, sent_at IS NOT NULL), sent_at = NULL,
    updated_at = ?, attempts = 0, error = NULL
WHERE id = ? AND state IN ('sent', 'failed', 'discarded');

-- unsent: those that wait or are being sent
SELECT id FROM deliveries WHERE state IN ('waiting', 'sending') ORDER BY id LIMIT ?;

-- matching: those to send again, oldest first; no tests, and nothing that was sent to people
SELECT id FROM deliveries WHERE (?1 IS NULL OR channel = ?1) AND created_at >= ?2 AND created_at < ?3
    AND state IN (SELECT value FROM json_each(?4)) AND id > ?5 AND kind <> 'test'
    AND (state <> 'sent' OR channel_type = 'webhook') ORDER BY id LIMIT ?6;

-- count_matching: how many there are
SELECT count(*) FROM deliveries WHERE (?1 IS NULL OR channel = ?1) AND created_at >= ?2 AND created_at < ?3
    AND state IN (SELECT value FROM json_each(?4)) AND id > ?5 AND kind <> 'test'
    AND (state <> 'sent' OR channel_type = 'webhook');

-- shipments: what they are about
SELECT DISTINCT delivery_id, shipment_id FROM notifications
WHERE delivery_id IN (SELECT value FROM json_each(?)) AND shipment_id IS NOT NULL ORDER BY delivery_id, shipment_id;

-- contents: what they say
SELECT id, content FROM deliveries WHERE id IN (SELECT value FROM json_each(?));

-- counts: how many by channel and state
SELECT channel, state, count(*) FROM deliveries WHERE created_at >= ? GROUP BY channel, state;

-- pending: how many wait, by channel
SELECT channel, count(*), min(created_at) FROM deliveries WHERE state IN ('waiting', 'sending') GROUP BY channel;

-- failed: how many have failed, by channel; who sent a test has seen that it failed
SELECT channel, count(*) FROM deliveries WHERE state = 'failed' AND kind <> 'test' GROUP BY channel;

-- channel_state: the state of one channel
SELECT channel, state, failures, failing_since, retry_at, error, last_sent_at FROM channel_states WHERE channel = ?;

-- channel_states: the states of all channels
SELECT channel, state, failures, failing_since, retry_at, error, last_sent_at FROM channel_states ORDER BY channel;

-- save_channel_state: set the state of a channel
INSERT OR REPLACE INTO channel_states (channel, state, failures, failing_since, retry_at, error, last_sent_at)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- old: ended ones from before a time, without those about open exceptions, whose end is reported only to who knows them
SELECT id FROM deliveries WHERE created_at < ? AND state IN ('sent', 'failed', 'discarded')
    AND NOT EXISTS (
        SELECT 1 FROM notifications CROSS JOIN exceptions ON exceptions.id = notifications.exception_id
        WHERE notifications.delivery_id = deliveries.id AND exceptions.closed_at IS NULL)
ORDER BY created_at LIMIT ?;

-- delete_notifications: what deliveries contained
DELETE FROM notifications WHERE delivery_id IN (SELECT value FROM json_each(?));

-- release_edits: later messages no longer replace deleted ones
UPDATE deliveries SET edits = NULL WHERE edits IN (SELECT value FROM json_each(?));

-- delete_attempts: the failed attempts of their dead letters
DELETE FROM attempts WHERE item_id IN (
    SELECT id FROM items WHERE state = 'dead' AND kind = 'delivery'
        AND merge_key IN (SELECT CAST(value AS TEXT) FROM json_each(?)));

-- delete_dead_letters: the dead letters of deliveries
DELETE FROM items
WHERE state = 'dead' AND kind = 'delivery' AND merge_key IN (SELECT CAST(value AS TEXT) FROM json_each(?));

-- delete: delete deliveries
DELETE FROM deliveries WHERE id IN (SELECT value FROM json_each(?));

-- count: how many there are
SELECT count(*) FROM deliveries;

-- first: the first ones
SELECT {columns} FROM deliveries ORDER BY id LIMIT ?;
