-- Since when the outcome of an operation has been unknown: an exception opens an hour later.
ALTER TABLE operations ADD COLUMN unknown_since TEXT;  -- null: its outcome is not in doubt since it was queued
UPDATE operations SET unknown_since = updated_at WHERE state = 'unknown';
