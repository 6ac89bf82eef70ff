-- last_id: the highest id that an item had
SELECT max(coalesce((SELECT max(id) FROM items), 0), coalesce((SELECT max(item_id) FROM attempts), 0));

-- add: add an item; a waiting item with the same key absorbs it, and the higher priority wins
INSERT INTO items (id, kind, state, priority, ready_at, enqueued_at, ref, lane, merge_key, payload)
VALUES (?, ?, 'ready', ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (kind, merge_key) WHERE merge_key IS NOT NULL AND state = 'ready'
DO UPDATE SET priority = min(priority, excluded.priority), ready_at = min(ready_at, excluded.ready_at);

-- add_plain: add an item that is never merged
INSERT INTO items (id, kind, state, priority, ready_at, enqueued_at, ref) VALUES (?, ?, 'ready', ?, ?, ?, ?);

-- drop_attempts: delete the failed attempts of the waiting item with this key
DELETE FROM attempts WHERE item_id IN (SELECT id FROM items WHERE kind = ? AND merge_key = ? AND state = 'ready');

-- drop: delete the waiting item with this key
DELETE FROM items WHERE kind = ? AND merge_key = ? AND state = 'ready';

-- due: the items that can run now without a lease, by priority and arrival
SELECT {columns} FROM items WHERE state = 'ready' AND kind = ?1 AND priority = ?2 AND ready_at <= ?3
ORDER BY ready_at, id LIMIT ?4;

-- lease: lease items that can run now, one per lane, oldest first; a waiting retry does not block its lane
UPDATE items SET state = 'leased', lease_until = ?5, attempts = attempts + 1 WHERE id IN (
    SELECT i.id FROM items i WHERE i.state = 'ready' AND i.kind = ?1 AND i.priority = ?2 AND i.ready_at <= ?3
        AND (i.lane IS NULL OR NOT EXISTS (
            SELECT 1 FROM items o WHERE o.kind = i.kind AND o.lane = i.lane AND o.state <> 'dead'
                AND (o.state = 'leased' OR (o.ready_at <= ?3 AND o.id < i.id AND o.state = 'ready'))))
    ORDER BY i.ready_at, i.id LIMIT ?4)
RETURNING {columns};

-- next_ready_at: when the next waiting item of a kind is due
SELECT min(ready_at) FROM items WHERE state = 'ready' AND kind = ?;

-- finish: remove finished items
DELETE FROM items WHERE id IN (SELECT value FROM json_each(?));

-- delete_attempts: delete the failed attempts of a finished item
DELETE FROM attempts WHERE item_id = ?;

-- postpone: retry later; absorbs a newer item with the same key and its priority
UPDATE OR REPLACE items SET state = 'ready', ready_at = ?, attempts = ?, crashes = 0, lease_until = NULL, priority = min(priority, coalesce((
    SELECT t.priority FROM items t WHERE t.kind = items.kind AND t.merge_key = items.merge_key AND t.state = 'ready'), 9))
WHERE id = ?;

-- mark_dead: an item becomes a dead letter
UPDATE items SET state = 'dead', ended_at = ?, attempts = ?, lease_until = NULL WHERE id = ?;

-- record_attempt: one failed attempt
INSERT OR REPLACE INTO attempts (item_id, attempt, at, error) VALUES (?, ?, ?, ?);

-- attempts: the failed attempts of one item
SELECT attempt, at, error FROM attempts WHERE item_id = ? ORDER BY at, attempt;

-- lease_one: lease one item that can run now
UPDATE items SET state = 'leased', lease_until = ?3, attempts = attempts + 1
WHERE id = ?1 AND state = 'ready' AND ready_at <= ?2 RETURNING {columns};

-- leased_ids: the items that were leased when the last process ended
SELECT id FROM items WHERE state = 'leased';

-- count_crash: the process ended while this item was running
UPDATE items SET crashes = crashes + 1 WHERE id = ? RETURNING {columns};

-- release_expired: release expired leases; the interrupted attempt does not count
UPDATE OR REPLACE items SET state = 'ready', lease_until = NULL, attempts = max(attempts - 1, 0)
WHERE state = 'leased' AND lease_until <= ? RETURNING id;

-- misdated: an item that waits for a time that only a wrong clock can have set
SELECT 1 FROM items WHERE state = 'ready' AND ready_at > ?1 AND (enqueued_at > ?1 OR ready_at > ?2) LIMIT 1;

-- make_due: make such items due now
UPDATE items SET ready_at = ?1 WHERE state = 'ready' AND ready_at > ?1 AND (enqueued_at > ?1 OR ready_at > ?2);

-- stats: how many items in each state, and since when the oldest waits
SELECT 'ready', (SELECT count(*) FROM items WHERE state = 'ready'),
    (SELECT enqueued_at FROM items WHERE state = 'ready' ORDER BY id LIMIT 1)
UNION ALL
SELECT 'leased', count(*), min(enqueued_at) FROM items WHERE state = 'leased'
UNION ALL
SELECT 'dead', (SELECT count(*) FROM items WHERE state = 'dead' AND discarded_at IS NULL),
    (SELECT enqueued_at FROM items WHERE state = 'dead' AND discarded_at IS NULL ORDER BY id LIMIT 1);

-- failed: how many open dead letters there are, counted up to a limit
SELECT count(*) FROM (SELECT 1 FROM items WHERE state = 'dead' AND discarded_at IS NULL LIMIT ?);

-- pending: how many items of each kind are unfinished
SELECT kind, count(*) FROM items WHERE state IN ('ready', 'leased') GROUP BY kind;

-- by_id: one item
SELECT {columns} FROM items WHERE id = ?;

-- retry_dead: retry a dead letter from the start
UPDATE OR REPLACE items SET state = 'ready', ready_at = ?, attempts = 0, crashes = 0, ended_at = NULL, discarded_at = NULL,
    discarded_by = NULL, discard_reason = NULL WHERE id = ? AND state = 'dead';

-- discard: a person discards a dead letter
UPDATE items SET discarded_at = ?, discarded_by = ?, discard_reason = ? WHERE id = ? AND state = 'dead';

-- of_event: the unfinished or dead item that applies this event
SELECT id, state, attempts FROM items WHERE ref = ? AND (state = 'dead' OR attempts > 0);

-- with_merge_keys: the items of a kind with these keys; an unfinished one comes after a dead letter of the same key
SELECT {columns} FROM items WHERE state = 'dead' AND kind = ?1 AND merge_key IN (SELECT value FROM json_each(?2))
UNION ALL
SELECT {columns} FROM items WHERE state = 'leased' AND kind = ?1 AND merge_key IN (SELECT value FROM json_each(?2))
UNION ALL
SELECT {columns} FROM items WHERE state = 'ready' AND kind = ?1 AND merge_key IN (SELECT value FROM json_each(?2));
