-- current: the current file of each of these documents
SELECT {columns} FROM document_files WHERE current = 1 AND document_id IN (SELECT value FROM json_each(?));

-- of_document: all files of a document, the current one first
SELECT {columns} FROM document_files WHERE document_id = ? ORDER BY current DESC, fetched_at DESC, id DESC LIMIT ?;

-- content: the row of a document's content, current or former
SELECT {columns} FROM document_files WHERE document_id = ? AND sha256 = ?;

-- of_shipment: the documents of a shipment, of all types or of some, with the current file, or else the newest
-- stored one
SELECT d.id, {prefixed} FROM documents d LEFT JOIN document_files f ON f.id = (
    SELECT c.id FROM document_files c WHERE c.document_id = d.id
    ORDER BY (c.sha256 IS NOT NULL AND c.damage IS NULL) DESC, c.current DESC, c.fetched_at DESC LIMIT 1)
WHERE d.shipment_id = ?1 AND (?2 IS NULL OR d.document_type IN (SELECT value FROM json_each(?2)))
ORDER BY d.uploaded_at, d.id LIMIT ?3;

-- missing: documents after this id whose file is missing and may be tried (only a wrong clock can have set a pause
-- of eight days)
SELECT d.id FROM documents d LEFT JOIN document_files f ON f.document_id = d.id AND f.current = 1
WHERE d.id > ?1 AND d.removed_at IS NULL AND (
    f.id IS NULL OR f.declared_size IS NOT d.size OR f.uploaded_at IS NOT d.uploaded_at
    OR (f.state <> 'fetched' AND (coalesce(f.retry_at, '') <= ?2
        OR f.retry_at > strftime('%Y-%m-%dT%H:%M:%fZ', ?2, '+8 days'))))
ORDER BY d.id LIMIT ?3;

-- request: request a document's file for the first time, or after its former file was replaced
INSERT INTO document_files (document_id, current, state, declared_size, uploaded_at, requested_at, retry_at)
VALUES (?, 1, 'pending', ?, ?, ?, ?);

-- request_again: request it once more
UPDATE document_files SET state = 'pending', declared_size = ?, uploaded_at = ?, requested_at = ?, retry_at = ?
WHERE id = ?;

-- replace_current: mark the current file as a former one
UPDATE document_files SET current = 0, state = 'fetched', error = NULL, attempts = 0, retry_at = NULL WHERE id = ?;

-- delete_unfetched: delete a row for which nothing was fetched
DELETE FROM document_files WHERE id = ? AND sha256 IS NULL;

-- record_failure: record why the file could not be fetched, and when to retry
UPDATE document_files SET state = ?, error = ?, last_attempt_at = ?, retry_at = ?, attempts = attempts + ? WHERE id = ?;

-- insert: add a row for a content
INSERT INTO document_files (document_id, current, state, sha256, requested_at) VALUES (?, 1, 'fetched', ?, ?);

-- record_fetched: the content is in the archive
UPDATE document_files SET current = 1, state = 'fetched', sha256 = ?, size = ?, media_type = ?, file_name = ?,
    declared_size = ?, uploaded_at = ?, verified_at = ?, last_attempt_at = ?, damage = NULL, error = ?, attempts = 0,
    retry_at = NULL, fetched_at = CASE WHEN fetched_at IS NULL OR damage IS NOT NULL THEN ? ELSE fetched_at END
WHERE id = ?;

-- contents: the contents after this name, each once, with its size
SELECT sha256, max(size) FROM document_files WHERE sha256 > ? GROUP BY sha256 ORDER BY sha256 LIMIT ?;

-- known: those of these names that belong to a document
SELECT DISTINCT sha256 FROM document_files WHERE sha256 IN (SELECT value FROM json_each(?));

-- record_intact: the bytes match the name
UPDATE document_files SET verified_at = ?, damage = NULL,
    state = CASE WHEN damage IS NOT NULL THEN 'fetched' ELSE state END,
    error = CASE WHEN damage IS NOT NULL THEN NULL ELSE error END
WHERE sha256 IN (SELECT value FROM json_each(?));

-- record_damaged: the archive no longer has these bytes; returns the documents whose current file they were
UPDATE document_files SET damage = ?1, verified_at = ?2, error = ?3,
    state = CASE current WHEN 1 THEN 'pending' ELSE state END, retry_at = CASE current WHEN 1 THEN ?2 END
WHERE sha256 = ?4 RETURNING document_id, current;

-- counts: how many documents by the state of their file
SELECT state, count(*) FROM document_files WHERE current = 1 GROUP BY state;

-- volume: how many different contents there are, and their bytes
SELECT count(*), coalesce(sum(size), 0) FROM (SELECT max(size) AS size FROM document_files WHERE sha256 IS NOT NULL GROUP BY sha256);
