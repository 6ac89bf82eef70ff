-- add: an action
INSERT INTO audit_log (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?);

-- of_subject: what was done to one thing, in order
SELECT id, at, actor, action, subject, detail FROM audit_log WHERE subject = ? ORDER BY id LIMIT ?;

-- delete_old: actions from before a time (the newest stays, so that no id is used twice)
DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < ? ORDER BY id LIMIT ?)
    AND id < (SELECT max(id) FROM audit_log);
