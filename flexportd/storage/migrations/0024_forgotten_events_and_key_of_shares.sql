-- The ids of events that retention has deleted: one that is sent again must not look new.
CREATE TABLE forgotten_events (
    id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- The key that made a link; NULL where none was needed. When the key is revoked, its links are revoked with it.
ALTER TABLE shares ADD COLUMN key_id TEXT;
UPDATE shares SET key_id = (
    SELECT k.id FROM keys k
    WHERE k.name = shares.created_by AND k.created_at <= shares.created_at
        AND (k.revoked_at IS NULL OR k.revoked_at >= shares.created_at)
        AND (k.expires_at IS NULL OR k.expires_at > shares.created_at)
    ORDER BY k.created_at DESC LIMIT 1
);
UPDATE shares SET revoked_at = (SELECT k.revoked_at FROM keys k WHERE k.id = shares.key_id)
WHERE revoked_at IS NULL AND key_id IS NOT NULL;
CREATE INDEX shares_key ON shares (key_id) WHERE key_id IS NOT NULL;
