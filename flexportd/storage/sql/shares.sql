-- add: add a link
INSERT INTO shares (
    id, shipment_id, label, created_at, created_by, expires_at, revoked_at, views, last_viewed_at, key_id
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- one: a link by its id
SELECT {columns} FROM shares WHERE id = ?;

-- revoke: revoke a link
UPDATE shares SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL;

-- revoke_of_key: revoke the links that were made with a key
UPDATE shares SET revoked_at = ? WHERE key_id = ? AND revoked_at IS NULL;

-- add_views: count views of a link
UPDATE shares SET last_viewed_at = max(coalesce(last_viewed_at, ''), ?), views = views + ? WHERE id = ?;

-- count: how many valid links a shipment has
SELECT count(*) FROM shares WHERE shipment_id = ? AND revoked_at IS NULL AND expires_at > ?;

-- changed_at: when a link was last created or revoked
SELECT max(max(created_at, coalesce(revoked_at, ''))) FROM shares;
