-- open: the conditions that have not ended, the longest first
SELECT kind, since, detail FROM system_conditions WHERE ended_at IS NULL ORDER BY since, kind;

-- begin: a condition begins; nothing if it is open already
INSERT INTO system_conditions (kind, since, detail) VALUES (?, ?, ?)
ON CONFLICT (kind) DO UPDATE SET since = excluded.since, detail = excluded.detail, ended_at = NULL
WHERE ended_at IS NOT NULL;

-- end: a condition ends; nothing if it is not open
UPDATE system_conditions SET ended_at = ? WHERE kind = ? AND ended_at IS NULL;

-- recovered_at: when the last of some kinds ended
SELECT max(ended_at) FROM system_conditions WHERE kind IN (SELECT value FROM json_each(?));

-- correct_times: a condition that began or ended in the future did so now: the clock was set back since
UPDATE system_conditions SET since = min(since, ?1), ended_at = min(ended_at, ?1) WHERE since > ?1 OR ended_at > ?1;
