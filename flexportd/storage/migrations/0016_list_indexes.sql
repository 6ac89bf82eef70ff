-- An index for every filter and sort of a list. What few values tell apart is followed by the default order, so that
-- the newest 50 are read and not all; what names a few objects stands alone. Where those that are gone are left out of
-- counts, `removed_at` is at the end.
DROP INDEX shipments_status;
DROP INDEX shipments_mode;
CREATE INDEX shipments_status ON shipments (status, as_of, id, removed_at);
CREATE INDEX shipments_mode ON shipments (mode, as_of, id, removed_at);
CREATE INDEX shipments_removed ON shipments (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

-- As for shipments: which were written since some time is read from the index alone.
DROP INDEX legs_as_of;
CREATE INDEX legs_as_of ON legs (as_of, id, synced_at);
CREATE INDEX legs_mode ON legs (mode, as_of, id);
CREATE INDEX legs_carrier ON legs (carrier COLLATE NOCASE, as_of, id);
CREATE INDEX legs_vessel ON legs (vessel COLLATE NOCASE) WHERE vessel IS NOT NULL;
CREATE INDEX legs_removed ON legs (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX containers_as_of;
CREATE INDEX containers_as_of ON containers (as_of, id, synced_at);
CREATE INDEX containers_number ON containers (container_number COLLATE NOCASE) WHERE container_number IS NOT NULL;
CREATE INDEX containers_type ON containers (container_type, as_of, id);
CREATE INDEX containers_removed ON containers (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX container_legs_as_of;
CREATE INDEX container_legs_as_of ON container_legs (as_of, id, synced_at);
CREATE INDEX container_legs_container ON container_legs (container_id) WHERE container_id IS NOT NULL;
CREATE INDEX container_legs_removed ON container_legs (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX products_as_of;
CREATE INDEX products_as_of ON products (as_of, id, synced_at);
CREATE INDEX products_by_sku ON products (sku, id);
CREATE INDEX products_archived ON products (as_of, id) WHERE archived_at IS NOT NULL;
CREATE INDEX products_removed ON products (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX invoices_as_of;
DROP INDEX invoices_status;
CREATE INDEX invoices_as_of ON invoices (as_of, id, synced_at);
CREATE INDEX invoices_status ON invoices (status, as_of, id, removed_at);
CREATE INDEX invoices_type ON invoices (type, as_of, id);
CREATE INDEX invoices_currency ON invoices (total_currency COLLATE NOCASE, as_of, id);
CREATE INDEX invoices_open ON invoices (as_of, id) WHERE outstanding_amount <> '0';
CREATE INDEX invoices_issued ON invoices (issued_at, id);
CREATE INDEX invoices_by_name ON invoices (name, id);
CREATE INDEX invoices_removed ON invoices (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX commercial_invoices_as_of;
CREATE INDEX commercial_invoices_as_of ON commercial_invoices (as_of, id, synced_at);
CREATE INDEX commercial_invoices_status ON commercial_invoices (digitization_status, as_of, id);
CREATE INDEX commercial_invoices_currency ON commercial_invoices (total_value_currency COLLATE NOCASE, as_of, id);
CREATE INDEX commercial_invoices_adds_up ON commercial_invoices (adds_up, as_of, id) WHERE adds_up IS NOT NULL;
CREATE INDEX commercial_invoices_by_number ON commercial_invoices (invoice_number, id);
CREATE INDEX commercial_invoices_removed ON commercial_invoices (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX customs_entries_as_of;
DROP INDEX customs_entries_state;
CREATE INDEX customs_entries_as_of ON customs_entries (as_of, id, synced_at);
CREATE INDEX customs_entries_state ON customs_entries (release_state, as_of, id, removed_at);
CREATE INDEX customs_entries_status ON customs_entries (release_status, as_of, id);
CREATE INDEX customs_entries_released ON customs_entries (release_date, id);
CREATE INDEX customs_entries_by_number ON customs_entries (entry_number, id);
CREATE INDEX customs_entries_removed ON customs_entries (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX bookings_as_of;
DROP INDEX bookings_status;
CREATE INDEX bookings_as_of ON bookings (as_of, id, synced_at);
CREATE INDEX bookings_status ON bookings (status, as_of, id, removed_at);
CREATE INDEX bookings_mode ON bookings (mode, as_of, id);
CREATE INDEX bookings_dangerous ON bookings (is_dangerous, as_of, id) WHERE is_dangerous IS NOT NULL;
CREATE INDEX bookings_removed ON bookings (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX booking_line_items_as_of;
CREATE INDEX booking_line_items_as_of ON booking_line_items (as_of, id, synced_at);
CREATE INDEX booking_line_items_removed ON booking_line_items (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX purchase_orders_as_of;
DROP INDEX purchase_orders_status;
CREATE INDEX purchase_orders_as_of ON purchase_orders (as_of, id, synced_at);
CREATE INDEX purchase_orders_status ON purchase_orders (status, as_of, id, removed_at);
CREATE INDEX purchase_orders_removed ON purchase_orders (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX purchase_order_line_items_as_of;
CREATE INDEX purchase_order_line_items_as_of ON purchase_order_line_items (as_of, id, synced_at);
CREATE INDEX purchase_order_line_items_product ON purchase_order_line_items (product_id) WHERE product_id IS NOT NULL;
CREATE INDEX purchase_order_line_items_removed ON purchase_order_line_items (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

DROP INDEX documents_as_of;
DROP INDEX documents_type;
CREATE INDEX documents_as_of ON documents (as_of, id, synced_at);
CREATE INDEX documents_type ON documents (document_type, as_of, id, removed_at);
CREATE INDEX documents_removed ON documents (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

CREATE INDEX companies_as_of ON companies (as_of, id, synced_at);
CREATE INDEX companies_ref ON companies (ref COLLATE NOCASE);
CREATE INDEX companies_removed ON companies (as_of, id, removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX company_entities_as_of ON company_entities (as_of, id, synced_at);
CREATE INDEX company_entities_ref ON company_entities (ref COLLATE NOCASE);
CREATE INDEX company_entities_country ON company_entities (country_code COLLATE NOCASE, as_of, id);
CREATE INDEX company_entities_removed ON company_entities (as_of, id, removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX contacts_as_of ON contacts (as_of, id, synced_at);
CREATE INDEX contacts_email ON contacts (email COLLATE NOCASE);
CREATE INDEX contacts_removed ON contacts (as_of, id, removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX locations_as_of ON locations (as_of, id, synced_at);
CREATE INDEX locations_country ON locations (country_code COLLATE NOCASE, as_of, id);
CREATE INDEX locations_removed ON locations (as_of, id, removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX ports_as_of ON ports (as_of, id, synced_at);
CREATE INDEX ports_unlocode ON ports (unlocode COLLATE NOCASE);
CREATE INDEX ports_iata ON ports (iata COLLATE NOCASE) WHERE iata IS NOT NULL;
CREATE INDEX ports_country ON ports (country_code COLLATE NOCASE, as_of, id);
CREATE INDEX ports_removed ON ports (as_of, id, removed_at) WHERE removed_at IS NOT NULL;

CREATE INDEX events_type ON events (type, seq);
CREATE INDEX events_received ON events (received_at);
CREATE INDEX gaps_type ON gaps (type, seq);
CREATE INDEX gaps_shipment ON gaps (shipment_id, seq) WHERE shipment_id IS NOT NULL;
CREATE INDEX gaps_noticed ON gaps (noticed_at);
CREATE INDEX gaps_late ON gaps (seq) WHERE delivered_at IS NOT NULL;
CREATE INDEX document_files_fetched ON document_files (fetched_at, id);
CREATE INDEX document_files_tried ON document_files (tried_at, id);
CREATE INDEX document_files_document ON document_files (document_id, id);
CREATE INDEX document_files_former ON document_files (id) WHERE current = 0;
CREATE INDEX sync_runs_state ON sync_runs (state, id);
CREATE INDEX sync_runs_kind ON sync_runs (kind, id);
CREATE INDEX unreadable_resource ON unreadable (resource, id);

-- The entries of columns that hold lists, by which their objects are found; kept up by the triggers below.
CREATE TABLE list_entries (
    listed TEXT NOT NULL,               -- table and column: products.hs_codes
    value ANY NOT NULL COLLATE NOCASE,
    key ANY NOT NULL,                   -- the object's id
    PRIMARY KEY (listed, value, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX list_entries_key ON list_entries (key, listed);

CREATE TRIGGER products_hs_codes_new AFTER INSERT ON products WHEN NEW.hs_codes IS NOT NULL BEGIN
    INSERT OR IGNORE INTO list_entries SELECT 'products.hs_codes', value, NEW.id FROM json_each(NEW.hs_codes) WHERE value IS NOT NULL;
END;
CREATE TRIGGER products_hs_codes_moved AFTER UPDATE OF hs_codes ON products WHEN NEW.hs_codes IS NOT OLD.hs_codes BEGIN
    DELETE FROM list_entries WHERE key = OLD.id AND listed = 'products.hs_codes';
    INSERT OR IGNORE INTO list_entries SELECT 'products.hs_codes', value, NEW.id FROM json_each(NEW.hs_codes) WHERE value IS NOT NULL;
END;
INSERT OR IGNORE INTO list_entries
SELECT 'products.hs_codes', entry.value, products.id FROM products, json_each(products.hs_codes) AS entry WHERE entry.value IS NOT NULL;

CREATE TRIGGER commercial_invoices_purchase_orders_new AFTER INSERT ON commercial_invoices WHEN NEW.purchase_orders IS NOT NULL BEGIN
    INSERT OR IGNORE INTO list_entries SELECT 'commercial_invoices.purchase_orders', value, NEW.id FROM json_each(NEW.purchase_orders) WHERE value IS NOT NULL;
END;
CREATE TRIGGER commercial_invoices_purchase_orders_moved AFTER UPDATE OF purchase_orders ON commercial_invoices WHEN NEW.purchase_orders IS NOT OLD.purchase_orders BEGIN
    DELETE FROM list_entries WHERE key = OLD.id AND listed = 'commercial_invoices.purchase_orders';
    INSERT OR IGNORE INTO list_entries SELECT 'commercial_invoices.purchase_orders', value, NEW.id FROM json_each(NEW.purchase_orders) WHERE value IS NOT NULL;
END;
INSERT OR IGNORE INTO list_entries
SELECT 'commercial_invoices.purchase_orders', entry.value, commercial_invoices.id FROM commercial_invoices, json_each(commercial_invoices.purchase_orders) AS entry WHERE entry.value IS NOT NULL;

CREATE TRIGGER commercial_invoices_container_numbers_new AFTER INSERT ON commercial_invoices WHEN NEW.container_numbers IS NOT NULL BEGIN
    INSERT OR IGNORE INTO list_entries SELECT 'commercial_invoices.container_numbers', value, NEW.id FROM json_each(NEW.container_numbers) WHERE value IS NOT NULL;
END;
CREATE TRIGGER commercial_invoices_container_numbers_moved AFTER UPDATE OF container_numbers ON commercial_invoices WHEN NEW.container_numbers IS NOT OLD.container_numbers BEGIN
    DELETE FROM list_entries WHERE key = OLD.id AND listed = 'commercial_invoices.container_numbers';
    INSERT OR IGNORE INTO list_entries SELECT 'commercial_invoices.container_numbers', value, NEW.id FROM json_each(NEW.container_numbers) WHERE value IS NOT NULL;
END;
INSERT OR IGNORE INTO list_entries
SELECT 'commercial_invoices.container_numbers', entry.value, commercial_invoices.id FROM commercial_invoices, json_each(commercial_invoices.container_numbers) AS entry WHERE entry.value IS NOT NULL;

CREATE TRIGGER commercial_invoices_skus_new AFTER INSERT ON commercial_invoices WHEN NEW.skus IS NOT NULL BEGIN
    INSERT OR IGNORE INTO list_entries SELECT 'commercial_invoices.skus', value, NEW.id FROM json_each(NEW.skus) WHERE value IS NOT NULL;
END;
CREATE TRIGGER commercial_invoices_skus_moved AFTER UPDATE OF skus ON commercial_invoices WHEN NEW.skus IS NOT OLD.skus BEGIN
    DELETE FROM list_entries WHERE key = OLD.id AND listed = 'commercial_invoices.skus';
    INSERT OR IGNORE INTO list_entries SELECT 'commercial_invoices.skus', value, NEW.id FROM json_each(NEW.skus) WHERE value IS NOT NULL;
END;
INSERT OR IGNORE INTO list_entries
SELECT 'commercial_invoices.skus', entry.value, commercial_invoices.id FROM commercial_invoices, json_each(commercial_invoices.skus) AS entry WHERE entry.value IS NOT NULL;

CREATE TRIGGER commercial_invoices_product_ids_new AFTER INSERT ON commercial_invoices WHEN NEW.product_ids IS NOT NULL BEGIN
    INSERT OR IGNORE INTO list_entries SELECT 'commercial_invoices.product_ids', value, NEW.id FROM json_each(NEW.product_ids) WHERE value IS NOT NULL;
END;
CREATE TRIGGER commercial_invoices_product_ids_moved AFTER UPDATE OF product_ids ON commercial_invoices WHEN NEW.product_ids IS NOT OLD.product_ids BEGIN
    DELETE FROM list_entries WHERE key = OLD.id AND listed = 'commercial_invoices.product_ids';
    INSERT OR IGNORE INTO list_entries SELECT 'commercial_invoices.product_ids', value, NEW.id FROM json_each(NEW.product_ids) WHERE value IS NOT NULL;
END;
INSERT OR IGNORE INTO list_entries
SELECT 'commercial_invoices.product_ids', entry.value, commercial_invoices.id FROM commercial_invoices, json_each(commercial_invoices.product_ids) AS entry WHERE entry.value IS NOT NULL;

-- Where a product comes from, as it says itself and for each supplier.
CREATE TRIGGER products_countries_new AFTER INSERT ON products BEGIN
    INSERT OR IGNORE INTO list_entries
    SELECT 'products.countries', NEW.country_of_origin, NEW.id WHERE NEW.country_of_origin IS NOT NULL UNION
    SELECT 'products.countries', value ->> 'country_of_origin', NEW.id FROM json_each(NEW.suppliers)
    WHERE value ->> 'country_of_origin' IS NOT NULL;
END;
CREATE TRIGGER products_countries_moved AFTER UPDATE OF country_of_origin, suppliers ON products BEGIN
    DELETE FROM list_entries WHERE key = OLD.id AND listed = 'products.countries';
    INSERT OR IGNORE INTO list_entries
    SELECT 'products.countries', NEW.country_of_origin, NEW.id WHERE NEW.country_of_origin IS NOT NULL UNION
    SELECT 'products.countries', value ->> 'country_of_origin', NEW.id FROM json_each(NEW.suppliers)
    WHERE value ->> 'country_of_origin' IS NOT NULL;
END;
INSERT OR IGNORE INTO list_entries
SELECT 'products.countries', country_of_origin, id FROM products WHERE country_of_origin IS NOT NULL;
INSERT OR IGNORE INTO list_entries
SELECT 'products.countries', entry.value ->> 'country_of_origin', products.id
FROM products, json_each(products.suppliers) AS entry WHERE entry.value ->> 'country_of_origin' IS NOT NULL;
