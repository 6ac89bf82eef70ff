-- states: the state of every job that ever ran
SELECT name, paused, next_due_at, last_started_at, last_ended_at, last_outcome, last_message, last_seconds,
    last_success_at, runs, failures, consecutive_failures, skipped FROM jobs ORDER BY name;

-- put_state: store the state of one job
INSERT OR REPLACE INTO jobs (name, paused, next_due_at, last_started_at, last_ended_at, last_outcome, last_message,
    last_seconds, last_success_at, runs, failures, consecutive_failures, skipped)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- put_run: store one run, running or ended
INSERT OR REPLACE INTO job_runs (id, job, cause, started_at, ended_at, seconds, outcome, message)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- trim: delete all but the newest runs of one job
DELETE FROM job_runs WHERE job = ?1
    AND id <= (SELECT id FROM job_runs WHERE job = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2);

-- unfinished: the runs that never ended, oldest first
SELECT id, job, cause, started_at, ended_at, seconds, outcome, message FROM job_runs WHERE ended_at IS NULL ORDER BY id;

-- recent: the newest runs of one job, newest first
SELECT id, job, cause, started_at, ended_at, seconds, outcome, message FROM job_runs WHERE job = ?
ORDER BY id DESC LIMIT ?;

-- last_run_id: the highest id of the stored runs
SELECT coalesce(max(id), 0) FROM job_runs;
