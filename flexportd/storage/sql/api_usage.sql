-- add: what was asked of Flexport within an hour
INSERT INTO api_calls (hour, purpose, resource, calls, errors, retries, bytes, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, errors = errors + excluded.errors,
    retries = retries + excluded.retries, bytes = bytes + excluded.bytes, seconds = seconds + excluded.seconds;

-- since: the sums by purpose since an hour
SELECT purpose, sum(calls), sum(errors), sum(retries), sum(bytes), sum(seconds) FROM api_calls
WHERE hour >= ? GROUP BY purpose ORDER BY purpose;

-- by_resource: the sums by purpose and resource since an hour, the most first
SELECT purpose, resource, sum(calls), sum(errors), sum(retries), sum(bytes), sum(seconds) FROM api_calls
WHERE hour >= ? GROUP BY purpose, resource ORDER BY sum(calls) DESC LIMIT ?;

-- forget: hours long past
DELETE FROM api_calls WHERE hour < ?;
