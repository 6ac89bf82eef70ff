-- add_usage: count requests to Flexport within an hour
INSERT INTO api_calls (hour, purpose, resource, calls, errors, retries, bytes, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, errors = errors + excluded.errors,
    retries = retries + excluded.retries, bytes = bytes + excluded.bytes, seconds = seconds + excluded.seconds;

-- usage_since: the totals by purpose since an hour
SELECT purpose, sum(calls), sum(errors), sum(retries), sum(bytes), sum(seconds) FROM api_calls
WHERE hour >= ? GROUP BY purpose ORDER BY purpose;

-- delete_usage: delete the hours before this one
DELETE FROM api_calls WHERE hour < ?;

-- refusals: all reasons, the most recent first
SELECT reason, count, first_at, last_at, last_address, last_path FROM webhook_refusals ORDER BY last_at DESC, reason;

-- put_refusal: store the count of one reason
INSERT INTO webhook_refusals (reason, count, first_at, last_at, last_address, last_path) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (reason) DO UPDATE SET count = excluded.count, first_at = excluded.first_at, last_at = excluded.last_at,
    last_address = excluded.last_address, last_path = excluded.last_path;
