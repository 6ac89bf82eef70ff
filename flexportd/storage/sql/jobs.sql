-- states: what is known of every job that ever ran here
SELECT name, paused, next_due_at, last_started_at, last_ended_at, last_outcome, last_message, last_seconds,
    last_success_at, runs, failures, consecutive_failures, skipped FROM jobs ORDER BY name;

-- put_state: what is known of one job
INSERT OR REPLACE INTO jobs (name, paused, next_due_at, last_started_at, last_ended_at, last_outcome, last_message,
    last_seconds, last_success_at, runs, failures, consecutive_failures, skipped)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- put_run: one run, begun or ended
INSERT OR REPLACE INTO job_runs (id, job, cause, started_at, ended_at, seconds, outcome, message)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- trim: all but the newest runs of one job leave
DELETE FROM job_runs WHERE job = ?1
    AND id <= (SELECT id FROM job_runs WHERE job = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2);

-- open: the runs that never ended, oldest first
SELECT id, job, cause, started_at, ended_at, seconds, outcome, message FROM job_runs WHERE ended_at IS NULL ORDER BY id;

-- recent: the newest runs of one job, newest first
SELECT id, job, cause, started_at, ended_at, seconds, outcome, message FROM job_runs WHERE job = ?
ORDER BY id DESC LIMIT ?;

-- last_run_id: the highest number that a kept run has
SELECT coalesce(max(id), 0) FROM job_runs;
