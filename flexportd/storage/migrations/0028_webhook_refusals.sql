-- Webhook deliveries that were refused, one row a reason: a wrong setting must show after a restart, too.
CREATE TABLE webhook_refusals (
    reason TEXT NOT NULL PRIMARY KEY,   -- the slug of the problem, or wrong-path
    count INTEGER NOT NULL,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    last_address TEXT NOT NULL,         -- of the client; local for a Unix socket
    last_path TEXT NOT NULL
) STRICT, WITHOUT ROWID;
