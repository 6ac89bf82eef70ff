-- confirmed_at: Flexport's time at which each resource was last confirmed
SELECT resource, confirmed_at FROM sync_resources WHERE confirmed_at NOT NULL;

-- begin: start a run
INSERT INTO sync_runs (kind, cause, state, started_at) VALUES (?, ?, 'running', ?);

-- add_receipt: a resource that a run will read
INSERT INTO sync_results (run_id, resource, state) VALUES (?, ?, 'waiting');

-- running: the unfinished run of a kind
SELECT id, kind, cause, state, started_at, ended_at, reason FROM sync_runs WHERE kind = ? AND state = 'running' ORDER BY id DESC LIMIT 1;

-- run: one run
SELECT id, kind, cause, state, started_at, ended_at, reason FROM sync_runs WHERE id = ?;

-- last: the last ended run of a kind
SELECT id, kind, cause, state, started_at, ended_at, reason FROM sync_runs WHERE kind = ? AND state <> 'running' ORDER BY id DESC LIMIT 1;

-- first_complete: the first complete run of a kind that began at a time or later
SELECT id, kind, cause, state, started_at, ended_at, reason FROM sync_runs
WHERE kind = ? AND state = 'complete' AND started_at >= ? ORDER BY id LIMIT 1;

-- receipts: the receipts of one run
SELECT run_id, resource, state, as_of, started_at, ended_at, next_page, first_total, total, objects, unchanged, changed,
    new, skipped, failed, skipped_by_reason, missing, removed, requests, bytes, reason FROM sync_results WHERE run_id = ? ORDER BY resource;

-- receipt: one receipt
SELECT run_id, resource, state, as_of, started_at, ended_at, next_page, first_total, total, objects, unchanged, changed,
    new, skipped, failed, skipped_by_reason, missing, removed, requests, bytes, reason FROM sync_results WHERE run_id = ? AND resource = ?;

-- start_receipt: start to read a resource from its first page
UPDATE sync_results SET state = 'running', started_at = ?3, as_of = NULL, next_page = 1, first_total = NULL, total = NULL,
    objects = 0, unchanged = 0, changed = 0, new = 0, skipped = 0, failed = 0, skipped_by_reason = '{}', missing = 0, removed = 0,
    reason = NULL
WHERE run_id = ?1 AND resource = ?2;

-- add_page: one page is imported
UPDATE sync_results SET next_page = ?3, as_of = coalesce(as_of, ?4), first_total = coalesce(first_total, ?5), total = coalesce(?5, total),
    objects = objects + ?6, unchanged = unchanged + ?7, changed = changed + ?8, new = new + ?9, skipped = skipped + ?10,
    failed = failed + ?11, skipped_by_reason = ?12, requests = requests + 1, bytes = bytes + ?13
WHERE run_id = ?1 AND resource = ?2;

-- add_page_ids: the ids of one page
INSERT OR REPLACE INTO sync_pages (run_id, resource, page, keys) VALUES (?, ?, ?, ?);

-- delete_pages: delete the pages of a pass that is evaluated or starts again
DELETE FROM sync_pages WHERE run_id = ? AND resource = ?;

-- end_receipt: the result of a resource
UPDATE sync_results SET state = ?3, ended_at = ?4, reason = ?5, missing = ?6, removed = ?7 WHERE run_id = ?1 AND resource = ?2;

-- end_run: the result of a run
UPDATE sync_runs SET state = ?2, ended_at = ?3, reason = ?4 WHERE id = ?1;

-- clear_missing: objects that a pass has found are not missing
DELETE FROM sync_missing WHERE resource = ?2 AND resource_id IN (
    SELECT j.value FROM sync_pages p, json_each(p.keys) j WHERE p.run_id = ?1 AND p.resource = ?2);

-- add_missing: a complete pass did not contain them
INSERT INTO sync_missing (resource, resource_id, passes, first_missed_at) VALUES (?, ?, 1, ?)
ON CONFLICT DO UPDATE SET passes = passes + 1;

-- hold: too many are missing at once
INSERT INTO sync_missing (resource, resource_id, passes, first_missed_at, held) VALUES (?, ?, 0, ?, 1)
ON CONFLICT DO UPDATE SET held = 1;

-- missing_objects: missing in this many complete passes
SELECT resource_id FROM sync_missing WHERE resource = ? AND passes >= ? ORDER BY resource_id;

-- held: the objects that wait for a person
SELECT resource_id FROM sync_missing WHERE resource = ? AND held = 1 ORDER BY resource_id LIMIT ?;

-- held_counts: how many objects of each resource wait for a person
SELECT resource, count(*), min(first_missed_at) FROM sync_missing WHERE held = 1 GROUP BY resource;

-- release: a pass has found the list complete again, or a person has decided
UPDATE sync_missing SET held = 0 WHERE resource = ?;

-- delete_missing: these exist after all
DELETE FROM sync_missing WHERE resource = ? AND resource_id IN (SELECT value FROM json_each(?));

-- resources: the state of all lists
SELECT resource, confirmed_at, complete_at, total, requests, incremental_until, filter_ignored_at, unavailable_at,
    unavailable_reason FROM sync_resources ORDER BY resource;

-- add_resource: add a list
INSERT OR IGNORE INTO sync_resources (resource) VALUES (?);

-- record_complete: a list was read completely
UPDATE sync_resources SET confirmed_at = max(coalesce(confirmed_at, ''), ?2), complete_at = ?3, total = ?4, requests = ?5,
    unavailable_at = NULL, unavailable_reason = NULL
WHERE resource = ?1;

-- record_incremental: changes were read up to this time
UPDATE sync_resources SET incremental_until = ?2 WHERE resource = ?1;

-- record_filter_refused: Flexport ignores the filter by update time
UPDATE sync_resources SET filter_ignored_at = ?2 WHERE resource = ?1;

-- record_unavailable: the account cannot read this list
UPDATE sync_resources SET unavailable_at = coalesce(unavailable_at, ?2), unavailable_reason = ?3 WHERE resource = ?1;

-- seen: every id in the pages of a pass so far
SELECT j.value FROM sync_pages p, json_each(p.keys) j WHERE p.run_id = ? AND p.resource = ?;

-- any_missing: whether any object of a resource is missing
SELECT 1 FROM sync_missing WHERE resource = ? LIMIT 1;

-- old_runs: runs that ended before a time
DELETE FROM sync_runs WHERE id IN (
    SELECT id FROM sync_runs WHERE state <> 'running' AND kind = ?1 ORDER BY id DESC LIMIT ?3 OFFSET ?2);

-- old_receipts: receipts of deleted runs
DELETE FROM sync_results WHERE run_id NOT IN (SELECT id FROM sync_runs);
