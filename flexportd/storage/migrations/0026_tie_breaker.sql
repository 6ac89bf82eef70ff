-- Between states of equal `as_of` the higher event id decides, and what is finer than a millisecond. A state without any
-- time of Flexport's has an empty `as_of`: everything that has one is newer.
ALTER TABLE shipments ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE legs ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE containers ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE container_legs ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE products ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE invoices ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE commercial_invoices ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE customs_entries ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE bookings ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE booking_line_items ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE purchase_orders ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE purchase_order_line_items ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE documents ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE companies ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE company_entities ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE contacts ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE locations ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';
ALTER TABLE ports ADD COLUMN tie_breaker TEXT NOT NULL DEFAULT '';

-- Of states that events brought, as far as those are kept.
UPDATE shipments SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = shipments.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE legs SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = legs.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE containers SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = containers.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE container_legs SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = container_legs.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE products SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = products.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE invoices SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = invoices.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE commercial_invoices SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = commercial_invoices.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE customs_entries SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = customs_entries.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE bookings SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = bookings.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE booking_line_items SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = booking_line_items.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE purchase_orders SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = purchase_orders.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE purchase_order_line_items SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = purchase_order_line_items.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE documents SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = documents.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE companies SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = companies.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE company_entities SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = company_entities.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE contacts SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = contacts.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE locations SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = locations.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');
UPDATE ports SET tie_breaker = coalesce((SELECT '#' || id FROM events e WHERE e.seq = ports.seq AND e.id NOT GLOB '*[^0-9]*'), '')
WHERE digest IS NULL AND source IN ('webhook', 'events');

UPDATE shipments SET as_of = '' WHERE as_of < '0002';
UPDATE legs SET as_of = '' WHERE as_of < '0002';
UPDATE containers SET as_of = '' WHERE as_of < '0002';
UPDATE container_legs SET as_of = '' WHERE as_of < '0002';
UPDATE products SET as_of = '' WHERE as_of < '0002';
UPDATE invoices SET as_of = '' WHERE as_of < '0002';
UPDATE commercial_invoices SET as_of = '' WHERE as_of < '0002';
UPDATE customs_entries SET as_of = '' WHERE as_of < '0002';
UPDATE bookings SET as_of = '' WHERE as_of < '0002';
UPDATE booking_line_items SET as_of = '' WHERE as_of < '0002';
UPDATE purchase_orders SET as_of = '' WHERE as_of < '0002';
UPDATE purchase_order_line_items SET as_of = '' WHERE as_of < '0002';
UPDATE documents SET as_of = '' WHERE as_of < '0002';
UPDATE companies SET as_of = '' WHERE as_of < '0002';
UPDATE company_entities SET as_of = '' WHERE as_of < '0002';
UPDATE contacts SET as_of = '' WHERE as_of < '0002';
UPDATE locations SET as_of = '' WHERE as_of < '0002';
UPDATE ports SET as_of = '' WHERE as_of < '0002';
UPDATE changes SET as_of = '' WHERE as_of < '0002';
