-- The index over parts holds, behind each text that belongs to a shipment, by which marks that shipment is shown to
-- somebody: so a search for one customer reads only what is that customer's.
ALTER TABLE search_objects ADD COLUMN marks TEXT NOT NULL DEFAULT '';  -- of a shipment, as the index holds them: a character each
