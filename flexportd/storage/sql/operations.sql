-- add: an operation
INSERT INTO operations (key, kind, target, resource, resource_id, shipment_id, title, body, digest, state, created_at,
    created_by, creator, queued_at, updated_at, idempotency_key)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?11, ?11, ?14);

-- one: an operation by its id
SELECT {columns} FROM operations WHERE id = ?;

-- by_idempotency_key: the operation that a client, or anybody without an API key if it has none, created with this key
WITH RECURSIVE people(name) AS (
    SELECT min(creator) FROM operations WHERE idempotency_key IS NOT NULL AND creator >= 'local:' AND creator < 'local;'
    UNION ALL SELECT (SELECT min(creator) FROM operations
        WHERE idempotency_key IS NOT NULL AND creator > people.name AND creator < 'local;')
    FROM people WHERE people.name IS NOT NULL)
SELECT {columns} FROM operations WHERE idempotency_key = ?2
    AND creator IN (SELECT ?1 UNION SELECT name FROM people WHERE ?1 LIKE 'local:%') ORDER BY id LIMIT 1;

-- unfinished_of_target: those on one target that have not ended, in order
SELECT {columns} FROM operations WHERE target = ?
    AND state IN ('awaiting_approval', 'pending', 'sending', 'unknown') ORDER BY id LIMIT ?;

-- is_blocked: one on the same target that comes first: an earlier one to be sent, or any that was sent
SELECT id FROM operations INDEXED BY operations_unfinished WHERE target = ?1
    AND state IN ('awaiting_approval', 'pending', 'sending', 'unknown')
    AND (id < ?2 AND state = 'pending' OR id <> ?2 AND state IN ('sending', 'unknown')) ORDER BY id LIMIT 1;

-- count_unchanged: 1 if it is in this state since it was put into the queue at this time
SELECT count(*) FROM operations WHERE id = ? AND state = ? AND queued_at = ?;

-- begin_send: it is about to be sent
UPDATE operations SET state = 'sending', updated_at = ?1, sent_at = coalesce(sent_at, ?2), sends = sends + 1,
    lookups = 0, needs_decision = 0, error = NULL WHERE id = ?3 AND state = 'pending';

-- set_baseline: what existed before it was sent
UPDATE operations SET baseline = ? WHERE id = ?;

-- set_state: a state that is not an end
UPDATE operations SET state = ?1, updated_at = ?2, error = ?3, needs_decision = ?4,
    unknown_since = coalesce(unknown_since, CASE WHEN ?1 = 'unknown' THEN ?2 END) WHERE id = ?5 AND ended_at IS NULL;

-- count_lookup: a look-up has ended
UPDATE operations SET lookups = lookups + 1, updated_at = ? WHERE id = ?;

-- end: it has ended
UPDATE operations SET state = ?1, updated_at = ?2, ended_at = ?2, resource_id = coalesce(?3, resource_id), error = ?4,
    reason = coalesce(?5, reason), is_pending = ?6, needs_decision = 0 WHERE id = ?7 AND ended_at IS NULL;

-- approve: it may be sent
UPDATE operations SET state = 'pending', updated_at = ?1, queued_at = ?1, approved_at = ?1, approved_by = ?2
WHERE id = ?3 AND state = 'awaiting_approval';

-- requeue: a person wants it to be sent again
UPDATE operations SET state = 'pending', updated_at = ?1, queued_at = ?1, ended_at = NULL, error = NULL,
    needs_decision = 0, unknown_since = NULL, reason = coalesce(?2, reason) WHERE id = ?3;

-- withdraw: it is not sent before it is approved, again if it was before
UPDATE operations SET state = 'awaiting_approval', updated_at = ?1, ended_at = NULL, error = NULL,
    unknown_since = NULL, approved_at = NULL, approved_by = NULL WHERE id = ?2;

-- suspect_all: it may have been sent although this database says that it was not (our clock may be ahead of Flexport's)
UPDATE operations SET is_suspect = 1, sent_at = coalesce(sent_at, strftime('%Y-%m-%dT%H:%M:%fZ', created_at, '-1 day'))
WHERE state IN ('awaiting_approval', 'pending', 'sending', 'failed', 'cancelled');

-- doubt_all: the outcome of what was to be sent is unknown
UPDATE operations SET state = 'unknown', updated_at = ?1, error = ?2, lookups = 0, needs_decision = 0,
    unknown_since = coalesce(unknown_since, ?1) WHERE state IN ('pending', 'sending');

-- suspect: it may have been sent although nothing says so
UPDATE operations SET is_suspect = 1, sent_at = coalesce(sent_at, strftime('%Y-%m-%dT%H:%M:%fZ', created_at, '-1 day')) WHERE id = ?;

-- trust: it certainly had no effect so far
UPDATE operations SET is_suspect = 0 WHERE id = ?;

-- set_body: a smaller body once the whole one is no longer needed
UPDATE operations SET body = ? WHERE id = ?;

-- set_applied: Flexport has applied a pending amendment
UPDATE operations SET is_pending = 0, updated_at = ? WHERE id = ? AND is_pending = 1;

-- pending_amendments: those that Flexport still has to apply
SELECT {columns} FROM operations WHERE is_pending = 1 AND id > ? ORDER BY id LIMIT ?;

-- owner_of: the operation that made an object
SELECT id FROM operations WHERE resource = ? AND resource_id = ? AND kind LIKE '%.create' AND state = 'confirmed'
    AND id <> ? LIMIT 1;

-- counts: how many are in each state
SELECT state, count(*) FROM operations GROUP BY state;

-- count_needing_decision: how many a person must decide
SELECT count(*) FROM operations WHERE state = 'unknown' AND needs_decision = 1;

-- needing_decision: those that a person must decide, the oldest first
SELECT {columns} FROM operations WHERE state = 'unknown' AND needs_decision = 1 ORDER BY id LIMIT ?;

-- by_ids: some of them
SELECT {columns} FROM operations WHERE id IN (SELECT value FROM json_each(?));

-- begin_attempt: a request begins
INSERT INTO operation_attempts (operation_id, type, started_at, method, path, request) VALUES (?, ?, ?, ?, ?, ?);

-- end_attempt: its result
UPDATE operation_attempts SET ended_at = ?, outcome = ?, status = ?, request_id = ?, response = ?, error = ? WHERE id = ?;

-- interrupted: sends of an operation whose result was never stored
SELECT id FROM operation_attempts WHERE operation_id = ? AND type = 'send' AND ended_at IS NULL;

-- attempts: those of an operation, in order
SELECT id, type, started_at, ended_at, outcome, method, path, request, status, request_id, response, error
FROM operation_attempts WHERE operation_id = ? ORDER BY id LIMIT ?;

-- count_unknown_sends: how many of its sends may have had an effect
SELECT count(*) FROM operation_attempts WHERE operation_id = ? AND type = 'send' AND outcome = 'unknown';

-- old: those that ended before a time, except where an exception about one is still open (the newest stays, so that no
-- id is used twice)
SELECT id FROM operations AS one WHERE ended_at < ? AND coalesce(is_pending, 0) = 0
    AND id < (SELECT max(id) FROM operations) AND NOT EXISTS (
    SELECT 1 FROM exceptions WHERE closed_at IS NULL AND resource = 'operations' AND resource_id = CAST(one.id AS TEXT))
ORDER BY ended_at LIMIT ?;

-- delete_attempts: those of deleted operations
DELETE FROM operation_attempts WHERE operation_id IN (SELECT value FROM json_each(?));

-- delete: operations
DELETE FROM operations WHERE id IN (SELECT value FROM json_each(?));

-- make_due: the items of operations on a target that wait to be sent
UPDATE items SET ready_at = ?1 WHERE kind = 'operation' AND state = 'ready' AND lane = ?2 AND ready_at > ?1
    AND merge_key IN (SELECT CAST(id AS TEXT) FROM operations INDEXED BY operations_unfinished WHERE target = ?2
        AND state IN ('awaiting_approval', 'pending', 'sending', 'unknown') AND state = 'pending');
