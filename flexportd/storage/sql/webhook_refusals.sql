-- all: every reason, the last refused first
SELECT reason, count, first_at, last_at, last_address, last_path FROM webhook_refusals ORDER BY last_at DESC, reason;

-- put: what is known of one reason now
INSERT INTO webhook_refusals (reason, count, first_at, last_at, last_address, last_path) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (reason) DO UPDATE SET count = excluded.count, first_at = excluded.first_at, last_at = excluded.last_at,
    last_address = excluded.last_address, last_path = excluded.last_path;
