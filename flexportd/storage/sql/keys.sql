-- add: a new key
INSERT INTO keys (
    id, name, scopes, audience, rate_limit, created_at, created_by, expires_at, revoked_at, last_used_at, uses, hash
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- one: a key by its id
SELECT {columns} FROM keys WHERE id = ?;

-- named: the live key of a name
SELECT {columns} FROM keys WHERE name = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?);

-- count_live: how many open something
SELECT count(*) FROM keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?);

-- known: those that are not revoked, then the last revoked
SELECT {columns}, hash FROM keys ORDER BY revoked_at IS NOT NULL, revoked_at DESC, created_at DESC LIMIT ?;

-- revoke: it opens nothing any more
UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL;

-- used: it was used so many times more
UPDATE keys SET last_used_at = max(coalesce(last_used_at, ''), ?), uses = uses + ? WHERE id = ?;

-- changed_at: when one was last made or revoked
SELECT max(max(created_at, coalesce(revoked_at, ''))) FROM keys;
