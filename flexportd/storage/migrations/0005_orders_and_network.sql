-- Bookings, purchase orders, documents, the network.
CREATE TABLE bookings (
    id INTEGER PRIMARY KEY,
    name TEXT,
    flex_id TEXT,
    status TEXT,
    shipment_id INTEGER,
    mode TEXT,
    incoterm TEXT,
    is_lcl INTEGER,
    is_ftl INTEGER,
    payment_terms TEXT,
    container_counts TEXT,              -- JSON: {"forty_ft": 2}
    shipper TEXT,
    shipper_ref TEXT,
    consignee TEXT,
    consignee_ref TEXT,
    notify_party TEXT,
    origin TEXT,                        -- an address in one line, as is destination
    origin_ref TEXT,
    origin_port TEXT,
    origin_port_code TEXT,
    destination_port TEXT,
    destination_port_code TEXT,
    destination TEXT,
    destination_ref TEXT,
    cargo_ready_date TEXT,
    delivery_date TEXT,
    wants_pickup INTEGER,
    wants_delivery INTEGER,
    wants_export_customs INTEGER,
    wants_import_customs INTEGER,
    products TEXT,                      -- JSON: see v_booking_products
    shipping_units TEXT,                -- JSON: see v_booking_units
    unit_count INTEGER,
    weight TEXT,                        -- JSON, of the whole cargo
    volume TEXT,
    is_dangerous INTEGER,               -- null: the booking does not say
    dangerous_goods TEXT,
    battery_packing TEXT,
    marks_and_numbers TEXT,
    special_instructions TEXT,
    created_at TEXT,
    updated_at TEXT,
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
CREATE INDEX bookings_as_of ON bookings (as_of, id);
CREATE INDEX bookings_created ON bookings (created_at, id);
CREATE INDEX bookings_shipment ON bookings (shipment_id);
CREATE INDEX bookings_status ON bookings (status, removed_at);
CREATE INDEX bookings_cargo_ready ON bookings (cargo_ready_date);

CREATE TABLE booking_line_items (
    id ANY NOT NULL PRIMARY KEY,
    booking_id INTEGER,
    purchase_order_line_item_id ANY,
    units INTEGER,
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
CREATE INDEX booking_line_items_as_of ON booking_line_items (as_of, id);
CREATE INDEX booking_line_items_booking ON booking_line_items (booking_id);
CREATE INDEX booking_line_items_line ON booking_line_items (purchase_order_line_item_id);

CREATE TABLE purchase_orders (
    id ANY NOT NULL PRIMARY KEY,
    name TEXT,
    status TEXT,
    buyer TEXT,
    buyer_ref TEXT,
    seller TEXT,
    seller_ref TEXT,
    incoterm TEXT,
    mode TEXT,
    cargo_ready_date TEXT,
    must_arrive_date TEXT,
    origin TEXT,
    origin_port TEXT,
    origin_port_code TEXT,
    destination_port TEXT,
    destination_port_code TEXT,
    destination TEXT,
    memo TEXT,
    archived_at TEXT,
    created_at TEXT,
    updated_at TEXT,
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
CREATE INDEX purchase_orders_as_of ON purchase_orders (as_of, id);
CREATE INDEX purchase_orders_must_arrive ON purchase_orders (must_arrive_date, id);
CREATE INDEX purchase_orders_name ON purchase_orders (name COLLATE NOCASE);
CREATE INDEX purchase_orders_status ON purchase_orders (status, removed_at);
CREATE INDEX purchase_orders_archived ON purchase_orders (as_of, id) WHERE archived_at IS NOT NULL;

CREATE TABLE purchase_order_line_items (
    id ANY NOT NULL PRIMARY KEY,
    purchase_order_id ANY,
    line_number TEXT,
    item_key TEXT,
    product_id ANY,
    product TEXT,
    sku TEXT,
    units INTEGER,
    unit_of_measure TEXT,
    unit_cost_amount TEXT,              -- a decimal number, as it came
    unit_cost_currency TEXT,
    incoterm TEXT,
    mode TEXT,
    must_arrive_date TEXT,
    origin TEXT,
    origin_port TEXT,
    origin_port_code TEXT,
    destination_port TEXT,
    destination_port_code TEXT,
    destination TEXT,
    hs_codes TEXT,
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
CREATE INDEX purchase_order_line_items_as_of ON purchase_order_line_items (as_of, id);
CREATE INDEX purchase_order_line_items_order ON purchase_order_line_items (purchase_order_id);
CREATE INDEX purchase_order_line_items_sku ON purchase_order_line_items (sku COLLATE NOCASE);
CREATE INDEX purchase_order_line_items_key ON purchase_order_line_items (item_key COLLATE NOCASE);

CREATE TABLE documents (
    id TEXT NOT NULL PRIMARY KEY,
    shipment_id INTEGER,
    document_type TEXT,
    file_name TEXT,
    memo TEXT,
    size INTEGER,                       -- bytes
    uploaded_at TEXT,
    archived_at TEXT,
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
CREATE INDEX documents_as_of ON documents (as_of, id);
CREATE INDEX documents_shipment ON documents (shipment_id);
CREATE INDEX documents_type ON documents (document_type, removed_at);
CREATE INDEX documents_uploaded ON documents (uploaded_at, id);
CREATE INDEX documents_archived ON documents (as_of, id) WHERE archived_at IS NOT NULL;

CREATE TABLE companies (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT,
    ref TEXT,
    editable INTEGER,
    entities TEXT,
    entity_ids TEXT,
    vat_numbers TEXT,
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
CREATE INDEX companies_name ON companies (name, id);

CREATE TABLE company_entities (
    id ANY NOT NULL PRIMARY KEY,
    name TEXT,
    ref TEXT,
    address TEXT,
    city TEXT,
    state TEXT,
    zip TEXT,
    country_code TEXT,
    timezone TEXT,
    unlocode TEXT,
    vat_numbers TEXT,
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
CREATE INDEX company_entities_name ON company_entities (name, id);

CREATE TABLE contacts (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT,
    email TEXT,
    phone TEXT,
    company_id TEXT,
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
CREATE INDEX contacts_name ON contacts (name, id);
CREATE INDEX contacts_company ON contacts (company_id);

CREATE TABLE locations (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT,
    ref TEXT,
    company_id TEXT,
    address TEXT,
    city TEXT,
    state TEXT,
    zip TEXT,
    country_code TEXT,
    timezone TEXT,
    unlocode TEXT,
    editable INTEGER,
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
CREATE INDEX locations_name ON locations (name, id);
CREATE INDEX locations_company ON locations (company_id);
CREATE INDEX locations_ref ON locations (ref COLLATE NOCASE);

-- Ports have no id: the key is the UN/LOCODE and the name.
CREATE TABLE ports (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT,
    kinds TEXT,
    unlocode TEXT,
    iata TEXT,
    icao TEXT,
    cbp TEXT,
    codes TEXT,
    city TEXT,
    state TEXT,
    country TEXT,
    country_code TEXT,
    timezone TEXT,
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
CREATE INDEX ports_name ON ports (name, id);

-- Views for people: what Flexport has now, so rows with `removed_at` are left out. Days are those of the place.
CREATE VIEW v_shipments AS
SELECT
    id AS shipment_id,
    'FLEX-' || id AS flex_id,
    name,
    status,
    mode,
    freight_type,
    incoterm,
    priority,
    origin,
    port_of_loading,
    port_of_unloading,
    destination,
    substr(coalesce(actual_departure, estimated_departure), 1, 10) AS departure_date,
    actual_departure IS NOT NULL AS departed,
    substr(coalesce(actual_arrival, estimated_arrival), 1, 10) AS arrival_date,
    actual_arrival IS NOT NULL AS arrived,
    substr(coalesce(actual_delivered_in_full, estimated_delivered_in_full), 1, 10) AS delivery_date,
    actual_delivered_in_full IS NOT NULL AS delivered,
    carrier,
    vessel,
    voyage,
    (SELECT group_concat(value, ', ') FROM json_each(container_numbers)) AS container_numbers,
    (SELECT group_concat(value, ', ') FROM json_each(house_bills)) AS house_bills,
    master_bill,
    (SELECT group_concat(value, ', ') FROM json_each(purchase_orders)) AS purchase_orders,
    (SELECT group_concat(value, ', ') FROM json_each(skus)) AS skus,
    (SELECT group_concat(value, ', ') FROM json_each(shippers)) AS shippers,
    (SELECT group_concat(value, ', ') FROM json_each(consignees)) AS consignees,
    pieces,
    weight ->> '$.value' AS weight,
    weight ->> '$.unit' AS weight_unit,
    volume ->> '$.value' AS volume,
    volume ->> '$.unit' AS volume_unit,
    booking_id,
    created_at,
    archived_at,
    as_of
FROM shipments
WHERE removed_at IS NULL;

CREATE VIEW v_legs AS
SELECT
    legs.id AS leg_id,
    legs.shipment_id,
    shipments.name AS shipment,
    legs.mode,
    legs.origin,
    legs.origin_code,
    legs.destination,
    legs.destination_code,
    substr(coalesce(legs.actual_departure, legs.estimated_departure), 1, 10) AS departure_date,
    legs.actual_departure IS NOT NULL AS departed,
    substr(coalesce(legs.actual_arrival, legs.estimated_arrival), 1, 10) AS arrival_date,
    legs.actual_arrival IS NOT NULL AS arrived,
    legs.carrier,
    legs.scac,
    legs.vessel,
    legs.voyage,
    legs.flight,
    legs.as_of
FROM legs
LEFT JOIN shipments ON shipments.id = legs.shipment_id
WHERE legs.removed_at IS NULL AND legs.deleted_at IS NULL;

CREATE VIEW v_containers AS
SELECT
    containers.id AS container_id,
    containers.shipment_id,
    shipments.name AS shipment,
    containers.container_number,
    containers.container_size,
    containers.container_type,
    containers.seal_number,
    substr(coalesce(containers.actual_departure, containers.estimated_departure), 1, 10) AS departure_date,
    substr(coalesce(containers.actual_arrival, containers.estimated_arrival), 1, 10) AS arrival_date,
    substr(containers.available_for_pickup, 1, 10) AS available_for_pickup_date,
    containers.last_free_day_at,
    substr(coalesce(containers.actual_delivery, containers.estimated_delivery), 1, 10) AS delivery_date,
    containers.actual_delivery IS NOT NULL AS delivered,
    containers.empty_returned_date,
    containers.as_of
FROM containers
LEFT JOIN shipments ON shipments.id = containers.shipment_id
WHERE containers.removed_at IS NULL;

CREATE VIEW v_booking_products AS
SELECT
    bookings.id AS booking_id,
    bookings.name AS booking,
    bookings.shipment_id,
    product.key + 1 AS position,
    product.value ->> '$.description' AS description,
    product.value ->> '$.export_description' AS export_description,
    product.value ->> '$.hs_code' AS hs_code,
    product.value ->> '$.hs_country_code' AS hs_country_code
FROM bookings, json_each(bookings.products) AS product
WHERE bookings.removed_at IS NULL;

-- Weights and measures are those of one piece.
CREATE VIEW v_booking_units AS
SELECT
    bookings.id AS booking_id,
    bookings.name AS booking,
    bookings.shipment_id,
    unit.key + 1 AS position,
    unit.value ->> '$.name' AS name,
    unit.value ->> '$.type' AS unit_type,
    unit.value ->> '$.count' AS count,
    unit.value ->> '$.atomic_count' AS atomic_count,
    unit.value ->> '$.weight.value' AS weight,
    unit.value ->> '$.weight.unit' AS weight_unit,
    unit.value ->> '$.volume.value' AS volume,
    unit.value ->> '$.volume.unit' AS volume_unit,
    unit.value ->> '$.length.value' AS length,
    unit.value ->> '$.width.value' AS width,
    unit.value ->> '$.height.value' AS height,
    coalesce(
        unit.value ->> '$.length.unit', unit.value ->> '$.width.unit', unit.value ->> '$.height.unit'
    ) AS measure_unit
FROM bookings, json_each(bookings.shipping_units) AS unit
WHERE bookings.removed_at IS NULL;

-- Units on a withdrawn booking are not booked.
CREATE VIEW v_purchase_order_lines AS
SELECT
    counted.*,
    max(counted.units - counted.booked_units, 0) AS open_units
FROM (
    SELECT
        line.id AS line_id,
        line.purchase_order_id,
        purchase_orders.name AS purchase_order,
        purchase_orders.status,
        purchase_orders.buyer,
        purchase_orders.seller,
        line.line_number,
        line.item_key,
        line.sku,
        line.product,
        line.unit_of_measure,
        line.unit_cost_amount,
        line.unit_cost_currency,
        coalesce(line.must_arrive_date, purchase_orders.must_arrive_date) AS must_arrive_date,
        line.units,
        coalesce(
            (
                SELECT sum(item.units)
                FROM booking_line_items AS item
                LEFT JOIN bookings ON bookings.id = item.booking_id
                WHERE item.purchase_order_line_item_id = line.id
                    AND item.removed_at IS NULL
                    AND bookings.removed_at IS NULL
                    AND bookings.status IS NOT 'archived'
            ),
            0
        ) AS booked_units
    FROM purchase_order_line_items AS line
    LEFT JOIN purchase_orders ON purchase_orders.id = line.purchase_order_id
    WHERE line.removed_at IS NULL AND purchase_orders.removed_at IS NULL
) AS counted;

CREATE VIEW v_shipment_documents AS
SELECT
    documents.id AS document_id,
    documents.shipment_id,
    shipments.name AS shipment,
    documents.document_type,
    documents.file_name,
    documents.memo,
    documents.size,
    documents.uploaded_at,
    documents.archived_at IS NOT NULL AS archived,
    documents.archived_at
FROM documents
LEFT JOIN shipments ON shipments.id = documents.shipment_id
WHERE documents.removed_at IS NULL;

CREATE VIEW v_ports AS
SELECT
    id AS port,
    name,
    unlocode,
    iata,
    icao,
    cbp,
    city,
    state,
    country,
    country_code,
    timezone,
    EXISTS (SELECT 1 FROM json_each(kinds) WHERE value = 'seaport') AS is_seaport,
    EXISTS (SELECT 1 FROM json_each(kinds) WHERE value = 'airport') AS is_airport,
    EXISTS (SELECT 1 FROM json_each(kinds) WHERE value = 'railport') AS is_railport,
    EXISTS (SELECT 1 FROM json_each(kinds) WHERE value = 'roadport') AS is_roadport
FROM ports
WHERE removed_at IS NULL;
