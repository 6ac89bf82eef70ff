-- add: add a key
INSERT INTO keys (
    id, name, scopes, audience, rate_limit, created_at, created_by, expires_at, revoked_at, last_used_at, uses, hash
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- one: a key by its id
SELECT {columns} FROM keys WHERE id = ?;

-- named: the valid key with a name
SELECT {columns} FROM keys WHERE name = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?);

-- count_valid: how many keys are valid
SELECT count(*) FROM keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?);

-- known: the valid ones, then the most recently revoked
SELECT {columns}, hash FROM keys ORDER BY revoked_at IS NOT NULL, revoked_at DESC, created_at DESC LIMIT ?;

-- revoke: revoke a key
UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL;

-- add_uses: count uses of a key
UPDATE keys SET last_used_at = max(coalesce(last_used_at, ''), ?), uses = uses + ? WHERE id = ?;

-- changed_at: when a key was last created or revoked
SELECT max(max(created_at, coalesce(revoked_at, ''))) FROM keys;
