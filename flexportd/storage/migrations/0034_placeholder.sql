-- Replaced by the migration of another branch when the branches are merged.
SELECT 1;
