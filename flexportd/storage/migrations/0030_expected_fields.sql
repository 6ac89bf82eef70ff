-- Fields that users of such data expect. Rows that are there get their values when they are normalised anew from `raw`.
ALTER TABLE legs ADD COLUMN vessel_imo_valid INTEGER;
ALTER TABLE legs ADD COLUMN airline TEXT;
ALTER TABLE legs ADD COLUMN airline_code TEXT;
ALTER TABLE legs ADD COLUMN airline_icao TEXT;
ALTER TABLE legs ADD COLUMN flight_number TEXT;
ALTER TABLE legs ADD COLUMN origin_iata TEXT;
ALTER TABLE legs ADD COLUMN origin_city TEXT;
ALTER TABLE legs ADD COLUMN origin_state TEXT;
ALTER TABLE legs ADD COLUMN origin_country TEXT;
ALTER TABLE legs ADD COLUMN origin_country_code TEXT;
ALTER TABLE legs ADD COLUMN origin_terminal TEXT;
ALTER TABLE legs ADD COLUMN destination_iata TEXT;
ALTER TABLE legs ADD COLUMN destination_city TEXT;
ALTER TABLE legs ADD COLUMN destination_state TEXT;
ALTER TABLE legs ADD COLUMN destination_country TEXT;
ALTER TABLE legs ADD COLUMN destination_country_code TEXT;
ALTER TABLE legs ADD COLUMN destination_terminal TEXT;

ALTER TABLE containers ADD COLUMN container_number_valid INTEGER;
ALTER TABLE containers ADD COLUMN container_iso_type TEXT;

ALTER TABLE shipments ADD COLUMN chargeable_weight TEXT;

-- An invoice may be for several shipments; each finds it through `list_entries`.
ALTER TABLE invoices ADD COLUMN shipment_ids TEXT;
UPDATE invoices SET shipment_ids = json_array(shipment_id) WHERE shipment_id IS NOT NULL;
CREATE TRIGGER invoices_shipment_ids_new AFTER INSERT ON invoices WHEN NEW.shipment_ids IS NOT NULL BEGIN
    INSERT OR IGNORE INTO list_entries SELECT 'invoices.shipment_ids', value, NEW.id FROM json_each(NEW.shipment_ids) WHERE value IS NOT NULL;
END;
CREATE TRIGGER invoices_shipment_ids_moved AFTER UPDATE OF shipment_ids ON invoices WHEN NEW.shipment_ids IS NOT OLD.shipment_ids BEGIN
    DELETE FROM list_entries WHERE key = OLD.id AND listed = 'invoices.shipment_ids';
    INSERT OR IGNORE INTO list_entries SELECT 'invoices.shipment_ids', value, NEW.id FROM json_each(NEW.shipment_ids) WHERE value IS NOT NULL;
END;
INSERT OR IGNORE INTO list_entries
SELECT 'invoices.shipment_ids', entry.value, invoices.id FROM invoices, json_each(invoices.shipment_ids) AS entry WHERE entry.value IS NOT NULL;
