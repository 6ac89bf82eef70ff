-- The files of documents: what is wanted, what became of it, and every content that was ever kept.
CREATE TABLE document_files (
    id INTEGER PRIMARY KEY,
    document_id TEXT NOT NULL,
    current INTEGER NOT NULL,           -- 1: the document's present file; 0: one from before it was changed
    state TEXT NOT NULL CHECK (state IN ('wanted', 'fetched', 'refused', 'failed', 'gone')),
    sha256 TEXT,                        -- its name in the archive; null until it was fetched
    size INTEGER,                       -- bytes
    media_type TEXT,
    file_name TEXT,
    declared_size INTEGER,              -- what the document said when the file was asked for
    uploaded_at TEXT,
    wanted_at TEXT NOT NULL,
    fetched_at TEXT,
    verified_at TEXT,                   -- when its bytes were last compared with its name
    damage TEXT CHECK (damage IN ('missing', 'damaged')),  -- found in the archive, and not mended yet
    error TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,  -- that failed since it is wanted
    tried_at TEXT,
    retry_at TEXT,                      -- when it is tried again; null: when the settings allow it
    CHECK (state <> 'fetched' OR sha256 IS NOT NULL),
    CHECK (current = 1 OR state = 'fetched')
) STRICT;
CREATE UNIQUE INDEX document_files_current ON document_files (document_id) WHERE current = 1;
CREATE UNIQUE INDEX document_files_content ON document_files (document_id, sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX document_files_sha256 ON document_files (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX document_files_state ON document_files (state, id);
