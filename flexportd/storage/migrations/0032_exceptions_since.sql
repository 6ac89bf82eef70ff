-- Since when something is an exception, by its evidence; of those that are here already, until they are checked again,
-- since they were opened.
ALTER TABLE exceptions ADD COLUMN since TEXT;
UPDATE exceptions SET since = opened_at;
CREATE INDEX exceptions_since ON exceptions (since, id);
CREATE INDEX exceptions_since_open ON exceptions (since, id) WHERE closed_at IS NULL;
DROP INDEX exceptions_worst;
CREATE INDEX exceptions_worst ON exceptions (severity, since, id) WHERE closed_at IS NULL;
-- Exceptions about an invoice, open and closed, by its shipments.
CREATE INDEX exceptions_resource ON exceptions (resource, resource_id);
