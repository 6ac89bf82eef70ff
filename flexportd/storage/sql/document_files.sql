-- current: the present file of each of these documents
SELECT {columns} FROM document_files WHERE current = 1 AND document_id IN (SELECT value FROM json_each(?));

-- of_document: every file of a document, the present one first
SELECT {columns} FROM document_files WHERE document_id = ? ORDER BY current DESC, fetched_at DESC, id DESC LIMIT ?;

-- content: the row of a document's content, whether present or from before
SELECT {columns} FROM document_files WHERE document_id = ? AND sha256 = ?;

-- of_shipment: the documents of a shipment, of all types or of some, with its present file, or the newest that is here
SELECT d.id, {prefixed} FROM documents d LEFT JOIN document_files f ON f.id = (
    SELECT c.id FROM document_files c WHERE c.document_id = d.id
    ORDER BY (c.sha256 IS NOT NULL AND c.damage IS NULL) DESC, c.current DESC, c.fetched_at DESC LIMIT 1)
WHERE d.shipment_id = ?1 AND (?2 IS NULL OR d.document_type IN (SELECT value FROM json_each(?2)))
ORDER BY d.uploaded_at, d.id LIMIT ?3;

-- lacking: documents behind this id whose file is not here as it should be, and may be tried; no pause is as long as eight days, so only a wrong clock can have given such
SELECT d.id FROM documents d LEFT JOIN document_files f ON f.document_id = d.id AND f.current = 1
WHERE d.id > ?1 AND d.removed_at IS NULL AND (
    f.id IS NULL OR f.declared_size IS NOT d.size OR f.uploaded_at IS NOT d.uploaded_at
    OR (f.state <> 'fetched' AND (coalesce(f.retry_at, '') <= ?2
        OR f.retry_at > strftime('%Y-%m-%dT%H:%M:%fZ', ?2, '+8 days'))))
ORDER BY d.id LIMIT ?3;

-- want: a document's file is asked for, for the first time or after what was there became history
INSERT INTO document_files (document_id, current, state, declared_size, uploaded_at, requested_at, retry_at)
VALUES (?, 1, 'pending', ?, ?, ?, ?);

-- want_again: it is asked for once more
UPDATE document_files SET state = 'pending', declared_size = ?, uploaded_at = ?, requested_at = ?, retry_at = ?
WHERE id = ?;

-- retire: what was there becomes history
UPDATE document_files SET current = 0, state = 'fetched', error = NULL, attempts = 0, retry_at = NULL WHERE id = ?;

-- forget: nothing was ever fetched for this row
DELETE FROM document_files WHERE id = ? AND sha256 IS NULL;

-- not_had: why it could not be had; trying again later
UPDATE document_files SET state = ?, error = ?, last_attempt_at = ?, retry_at = ?, attempts = attempts + ? WHERE id = ?;

-- insert: a row for a content
INSERT INTO document_files (document_id, current, state, sha256, requested_at) VALUES (?, 1, 'fetched', ?, ?);

-- fetched: the content is in the archive
UPDATE document_files SET current = 1, state = 'fetched', sha256 = ?, size = ?, media_type = ?, file_name = ?,
    declared_size = ?, uploaded_at = ?, verified_at = ?, last_attempt_at = ?, damage = NULL, error = ?, attempts = 0,
    retry_at = NULL, fetched_at = CASE WHEN fetched_at IS NULL OR damage IS NOT NULL THEN ? ELSE fetched_at END
WHERE id = ?;

-- contents: the contents behind this name, each once, with its size
SELECT sha256, max(size) FROM document_files WHERE sha256 > ? GROUP BY sha256 ORDER BY sha256 LIMIT ?;

-- known: those of these names that belong to a document
SELECT DISTINCT sha256 FROM document_files WHERE sha256 IN (SELECT value FROM json_each(?));

-- sound: their bytes are what their names say
UPDATE document_files SET verified_at = ?, damage = NULL,
    state = CASE WHEN damage IS NOT NULL THEN 'fetched' ELSE state END,
    error = CASE WHEN damage IS NOT NULL THEN NULL ELSE error END
WHERE sha256 IN (SELECT value FROM json_each(?));

-- hurt: the archive no longer has these bytes; the documents whose present file it was are told
UPDATE document_files SET damage = ?1, verified_at = ?2, error = ?3,
    state = CASE current WHEN 1 THEN 'pending' ELSE state END, retry_at = CASE current WHEN 1 THEN ?2 END
WHERE sha256 = ?4 RETURNING document_id, current;

-- counts: how many documents by the state of their file
SELECT state, count(*) FROM document_files WHERE current = 1 GROUP BY state;

-- volume: how many different contents there are, and their bytes
SELECT count(*), coalesce(sum(size), 0) FROM (SELECT max(size) AS size FROM document_files WHERE sha256 IS NOT NULL GROUP BY sha256);
