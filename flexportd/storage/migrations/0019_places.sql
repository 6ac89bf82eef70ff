-- Rows that have no history, and move in their lists: cursors follow where they stood.
ALTER TABLE journal ADD COLUMN places TEXT;  -- JSON: table -> [[id, [what it was sorted by before]; null for a new one], ...]
