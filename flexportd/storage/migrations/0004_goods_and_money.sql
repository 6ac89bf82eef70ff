-- Products, freight invoices, commercial invoices, customs entries.
-- Amounts are decimal text in one spelling (no exponent, no zeros at the end: "125", "512.14"), each with its currency.

CREATE TABLE products (
    id ANY NOT NULL PRIMARY KEY,        -- a number, or a text should Flexport ever send one
    name TEXT,
    sku TEXT,
    description TEXT,
    category TEXT,
    country_of_origin TEXT,             -- a name, such as China
    client_verified INTEGER,
    archived_at TEXT,
    properties TEXT,                    -- [{type, value}]
    classifications TEXT,               -- [{region, codes}]
    hs_codes TEXT,                      -- the codes of all regions
    suppliers TEXT,                     -- [{id, ref, country_of_origin}], the country as ISO-2
    as_of TEXT NOT NULL,
    seq INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('webhook', 'events', 'sync', 'write')),
    synced_at TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    removed_at TEXT,
    older TEXT,
    digest INTEGER,
    raw TEXT NOT NULL
) STRICT;
CREATE INDEX products_as_of ON products (as_of, id);
CREATE INDEX products_sku ON products (sku COLLATE NOCASE);
CREATE INDEX products_name ON products (name, id);

CREATE TABLE invoices (
    id TEXT NOT NULL PRIMARY KEY,
    shipment_id INTEGER,
    name TEXT,
    type TEXT,
    invoice_type TEXT,
    service_level TEXT,
    status TEXT,
    issued_at TEXT,
    due_date TEXT,
    voided_at TEXT,
    last_updated_at TEXT,               -- null until first adjusted
    total_amount TEXT,
    total_currency TEXT,
    balance_amount TEXT,                -- as Flexport says it, also of a void invoice
    balance_currency TEXT,
    outstanding_amount TEXT,            -- the balance, or 0 once void or paid
    outstanding_currency TEXT,
    quote_currency TEXT,
    exchange_rate TEXT,
    recipient TEXT,
    issuer TEXT,
    items TEXT,                         -- see v_invoice_items
    credit_memos TEXT,                  -- see v_credit_memos
    notes TEXT,
    as_of TEXT NOT NULL,
    seq INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('webhook', 'events', 'sync', 'write')),
    synced_at TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    removed_at TEXT,
    older TEXT,
    digest INTEGER,
    raw TEXT NOT NULL
) STRICT;
CREATE INDEX invoices_as_of ON invoices (as_of, id);
CREATE INDEX invoices_shipment ON invoices (shipment_id);
CREATE INDEX invoices_status ON invoices (status, removed_at);
CREATE INDEX invoices_due ON invoices (due_date, id);
CREATE INDEX invoices_name ON invoices (name COLLATE NOCASE);

CREATE TABLE commercial_invoices (
    id TEXT NOT NULL PRIMARY KEY,
    shipment_id INTEGER,
    invoice_number TEXT,
    digitization_status TEXT,
    is_related_parties INTEGER,
    total_value_amount TEXT,
    total_value_currency TEXT,
    lines_value_amount TEXT,            -- the sum of the lines; null unless all have a value in one currency
    lines_value_currency TEXT,
    adds_up INTEGER,                    -- whether that sum is the total; null when the two cannot be compared
    total_units TEXT,
    total_weight TEXT,
    total_volume TEXT,
    seller TEXT,
    parties TEXT,                       -- [{type, name, entity_id, country_code}]
    manufacturers TEXT,                 -- [{ref, city, country_code}]
    skus TEXT,                          -- as far as the lines say them; more through product_ids
    product_ids TEXT,
    purchase_orders TEXT,
    container_numbers TEXT,
    lines TEXT,                         -- see v_commercial_invoice_lines
    metadata TEXT,
    as_of TEXT NOT NULL,
    seq INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('webhook', 'events', 'sync', 'write')),
    synced_at TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    removed_at TEXT,
    older TEXT,
    digest INTEGER,
    raw TEXT NOT NULL
) STRICT;
CREATE INDEX commercial_invoices_as_of ON commercial_invoices (as_of, id);
CREATE INDEX commercial_invoices_shipment ON commercial_invoices (shipment_id);
CREATE INDEX commercial_invoices_number ON commercial_invoices (invoice_number COLLATE NOCASE);

CREATE TABLE customs_entries (
    id TEXT NOT NULL PRIMARY KEY,
    shipment_id INTEGER,
    entry_number TEXT,
    release_status TEXT,                -- Flexport's word
    release_state TEXT NOT NULL CHECK (release_state IN ('pending', 'hold', 'cleared', 'unknown')),
    release_date TEXT,
    as_of TEXT NOT NULL,
    seq INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('webhook', 'events', 'sync', 'write')),
    synced_at TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    removed_at TEXT,
    older TEXT,
    digest INTEGER,
    raw TEXT NOT NULL
) STRICT;
CREATE INDEX customs_entries_as_of ON customs_entries (as_of, id);
CREATE INDEX customs_entries_shipment ON customs_entries (shipment_id);
CREATE INDEX customs_entries_state ON customs_entries (release_state, removed_at);
CREATE INDEX customs_entries_number ON customs_entries (entry_number COLLATE NOCASE);

-- What stands in lists, one row each, of objects that Flexport still has.

CREATE VIEW v_product_classifications AS
SELECT
    products.id AS product_id,
    products.sku,
    products.name AS product,
    products.archived_at,
    class.value ->> 'region' AS region,
    code.value AS hs_code
FROM products, json_each(products.classifications) AS class, json_each(class.value -> 'codes') AS code
WHERE products.removed_at IS NULL;

CREATE VIEW v_invoice_items AS
SELECT
    invoices.id AS invoice_id,
    invoices.name AS invoice,
    invoices.shipment_id,
    invoices.status,
    item.key + 1 AS position,
    item.value ->> 'name' AS name,
    item.value ->> 'slug' AS slug,
    item.value ->> 'category' AS category,
    item.value ->> 'amount' AS amount,
    item.value ->> 'currency' AS currency,
    item.value ->> 'rate' AS rate,
    item.value ->> 'rate_qualifier' AS rate_qualifier,
    item.value ->> 'quantity' AS quantity,
    item.value ->> 'quantity_qualifier' AS quantity_qualifier
FROM invoices, json_each(invoices.items) AS item
WHERE invoices.removed_at IS NULL;

CREATE VIEW v_credit_memos AS
SELECT
    invoices.id AS invoice_id,
    invoices.name AS invoice,
    invoices.shipment_id,
    invoices.status,
    memo.key + 1 AS position,
    memo.value ->> 'amount' AS amount,
    memo.value ->> 'currency' AS currency,
    memo.value -> 'categories' AS categories,
    memo.value -> 'reasons' AS reasons,
    memo.value ->> 'credited_at' AS credited_at
FROM invoices, json_each(invoices.credit_memos) AS memo
WHERE invoices.removed_at IS NULL;

CREATE VIEW v_commercial_invoice_lines AS
SELECT
    commercial_invoices.id AS commercial_invoice_id,
    commercial_invoices.invoice_number,
    commercial_invoices.shipment_id,
    line.key + 1 AS position,
    line.value ->> 'line' AS line,
    line.value ->> 'product_id' AS product_id,
    coalesce(line.value ->> 'sku', products.sku) AS sku,
    coalesce(line.value ->> 'product', products.name) AS product,
    line.value ->> 'purchase_order' AS purchase_order,
    line.value ->> 'container_number' AS container_number,
    line.value ->> 'units' AS units,
    line.value ->> 'price_amount' AS price_amount,
    line.value ->> 'price_currency' AS price_currency,
    line.value ->> 'value_amount' AS value_amount,
    line.value ->> 'value_currency' AS value_currency,
    line.value ->> 'net_value_amount' AS net_value_amount,
    line.value ->> 'net_value_currency' AS net_value_currency,
    line.value ->> 'first_sale_value_amount' AS first_sale_value_amount,
    line.value ->> 'first_sale_value_currency' AS first_sale_value_currency,
    line.value ->> 'weight' AS weight,
    line.value ->> 'weight_unit' AS weight_unit,
    line.value ->> 'volume' AS volume,
    line.value ->> 'volume_unit' AS volume_unit,
    line.value ->> 'net_weight' AS net_weight,
    line.value ->> 'net_weight_unit' AS net_weight_unit,
    line.value ->> 'net_net_weight' AS net_net_weight,
    line.value ->> 'net_net_weight_unit' AS net_net_weight_unit,
    line.value ->> 'manufacturer' AS manufacturer,
    line.value ->> 'manufacturer_country' AS manufacturer_country
FROM commercial_invoices
    JOIN json_each(commercial_invoices.lines) AS line
    LEFT JOIN products ON products.id = line.value ->> 'product_id'
WHERE commercial_invoices.removed_at IS NULL;
