-- Who may see which shipments, and with which keys and links.

-- The marks by which a shipment is shown to somebody: its consignees, and what its metadata say.
CREATE TABLE shipment_audiences (
    mark TEXT NOT NULL,                 -- 'consignee', or 'metadata:' and the key
    value TEXT NOT NULL COLLATE NOCASE,
    shipment_id INTEGER NOT NULL,
    PRIMARY KEY (mark, value, shipment_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX shipment_audiences_shipment ON shipment_audiences (shipment_id);

INSERT OR IGNORE INTO shipment_audiences (mark, value, shipment_id)
SELECT 'consignee', trim(c.value, char(32, 9, 10, 13)), s.id
FROM shipments s, json_each(s.consignees) c
WHERE c.type = 'text' AND trim(c.value, char(32, 9, 10, 13)) <> '';

INSERT OR IGNORE INTO shipment_audiences (mark, value, shipment_id)
SELECT 'metadata:' || m.key, trim(m.value, char(32, 9, 10, 13)), s.id
FROM shipments s, json_each(s.metadata) m
WHERE json_type(s.metadata) = 'object' AND m.type = 'text' AND trim(m.value, char(32, 9, 10, 13)) <> '';

INSERT OR IGNORE INTO shipment_audiences (mark, value, shipment_id)
SELECT 'metadata:' || m.key, trim(v.value, char(32, 9, 10, 13)), s.id
FROM shipments s, json_each(s.metadata) m, json_each(CASE m.type WHEN 'array' THEN m.value END) v
WHERE json_type(s.metadata) = 'object' AND v.type = 'text' AND trim(v.value, char(32, 9, 10, 13)) <> '';

-- Keys for the API. Of a key itself only a digest is kept; a revoked or expired one stays as a record.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,                -- the part of the key that is no secret
    name TEXT NOT NULL COLLATE NOCASE,
    scopes TEXT NOT NULL,               -- JSON list: read, write, admin
    hash BLOB NOT NULL,                 -- SHA-256 of the whole key
    audience TEXT,                      -- JSON {"mark": ..., "values": [...]}; NULL: everything
    rate_limit TEXT,                    -- such as 1200/1m, or off; NULL: that of the settings
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT,
    last_used_at TEXT,
    uses INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_created ON keys (created_at, id);
CREATE INDEX keys_name ON keys (name);

-- Links to one shipment for people without a key.
CREATE TABLE shares (
    id TEXT PRIMARY KEY,
    shipment_id INTEGER NOT NULL,
    label TEXT,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    revoked_at TEXT,
    views INTEGER NOT NULL DEFAULT 0,
    last_viewed_at TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX shares_created ON shares (created_at, id);
CREATE INDEX shares_shipment ON shares (shipment_id, created_at);
