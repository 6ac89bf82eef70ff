-- A whole answer of Flexport's is known again by its digest: an unchanged object costs one comparison.
ALTER TABLE shipments ADD COLUMN digest INTEGER;
ALTER TABLE legs ADD COLUMN digest INTEGER;
ALTER TABLE containers ADD COLUMN digest INTEGER;
ALTER TABLE container_legs ADD COLUMN digest INTEGER;
CREATE INDEX container_legs_orphans ON container_legs (container_id) WHERE shipment_id IS NULL;

-- The run of a sync that brought a change, beside the event.
ALTER TABLE changes ADD COLUMN run_id INTEGER;
