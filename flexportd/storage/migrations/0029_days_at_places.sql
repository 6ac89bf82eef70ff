-- Days at places: the places of a route with their zones, the dates there, and where a container waits.

ALTER TABLE shipments ADD COLUMN estimated_ramp_arrival TEXT;
ALTER TABLE shipments ADD COLUMN estimated_ramp_arrival_at TEXT;
ALTER TABLE shipments ADD COLUMN actual_ramp_arrival TEXT;
ALTER TABLE shipments ADD COLUMN actual_ramp_arrival_at TEXT;
ALTER TABLE shipments ADD COLUMN estimated_place_of_delivery_arrival TEXT;
ALTER TABLE shipments ADD COLUMN estimated_place_of_delivery_arrival_at TEXT;
ALTER TABLE shipments ADD COLUMN actual_place_of_delivery_arrival TEXT;
ALTER TABLE shipments ADD COLUMN actual_place_of_delivery_arrival_at TEXT;
ALTER TABLE shipments ADD COLUMN departure TEXT;
ALTER TABLE shipments ADD COLUMN departure_at TEXT;
ALTER TABLE shipments ADD COLUMN arrival TEXT;
ALTER TABLE shipments ADD COLUMN arrival_at TEXT;
ALTER TABLE shipments ADD COLUMN origin_timezone TEXT;
ALTER TABLE shipments ADD COLUMN port_of_loading_timezone TEXT;
ALTER TABLE shipments ADD COLUMN port_of_unloading_timezone TEXT;
ALTER TABLE shipments ADD COLUMN inland_ramp TEXT;
ALTER TABLE shipments ADD COLUMN inland_ramp_code TEXT;
ALTER TABLE shipments ADD COLUMN inland_ramp_timezone TEXT;
ALTER TABLE shipments ADD COLUMN place_of_delivery TEXT;
ALTER TABLE shipments ADD COLUMN place_of_delivery_code TEXT;
ALTER TABLE shipments ADD COLUMN place_of_delivery_timezone TEXT;
ALTER TABLE shipments ADD COLUMN destination_timezone TEXT;
ALTER TABLE shipments ADD COLUMN scac TEXT;
ALTER TABLE shipments ADD COLUMN vessel_imo TEXT;
ALTER TABLE shipments ADD COLUMN flight TEXT;
ALTER TABLE shipments ADD COLUMN date_sources TEXT;
ALTER TABLE shipments ADD COLUMN told_estimated_picked_up_in_full TEXT;
ALTER TABLE shipments ADD COLUMN told_actual_picked_up_in_full TEXT;
ALTER TABLE shipments ADD COLUMN told_estimated_departure TEXT;
ALTER TABLE shipments ADD COLUMN told_actual_departure TEXT;
ALTER TABLE shipments ADD COLUMN told_estimated_arrival TEXT;
ALTER TABLE shipments ADD COLUMN told_actual_arrival TEXT;
ALTER TABLE shipments ADD COLUMN told_estimated_delivered_in_full TEXT;
ALTER TABLE shipments ADD COLUMN told_actual_delivered_in_full TEXT;
ALTER TABLE shipments ADD COLUMN route_dates TEXT;
ALTER TABLE shipments ADD COLUMN has_ramp INTEGER;
-- What lists are filtered and ordered by: never a date that cannot be right (see `is_plausible` in storage.resources).
DROP INDEX shipments_eta;
ALTER TABLE shipments DROP COLUMN eta_at;
ALTER TABLE shipments ADD COLUMN eta_at TEXT GENERATED ALWAYS AS (coalesce(
    CASE WHEN actual_arrival >= '2000' AND actual_arrival < '2070' THEN actual_arrival_at END,
    CASE WHEN estimated_arrival >= '2000' AND estimated_arrival < '2070' THEN estimated_arrival_at END)) VIRTUAL;
CREATE INDEX shipments_eta ON shipments (eta_at, id);
ALTER TABLE shipments ADD COLUMN eta_date TEXT GENERATED ALWAYS AS (substr(coalesce(
    CASE WHEN actual_arrival >= '2000' AND actual_arrival < '2070' THEN actual_arrival END,
    CASE WHEN estimated_arrival >= '2000' AND estimated_arrival < '2070' THEN estimated_arrival END), 1, 10)) VIRTUAL;
CREATE INDEX shipments_eta_date ON shipments (eta_date, id) WHERE eta_date IS NOT NULL;
ALTER TABLE shipments ADD COLUMN etd_date TEXT GENERATED ALWAYS AS (substr(coalesce(
    CASE WHEN actual_departure >= '2000' AND actual_departure < '2070' THEN actual_departure END,
    CASE WHEN estimated_departure >= '2000' AND estimated_departure < '2070' THEN estimated_departure END), 1, 10)) VIRTUAL;
CREATE INDEX shipments_etd_date ON shipments (etd_date, id) WHERE etd_date IS NOT NULL;
ALTER TABLE shipments ADD COLUMN ramp_date TEXT GENERATED ALWAYS AS (substr(coalesce(
    CASE WHEN actual_ramp_arrival >= '2000' AND actual_ramp_arrival < '2070' THEN actual_ramp_arrival END,
    CASE WHEN estimated_ramp_arrival >= '2000' AND estimated_ramp_arrival < '2070' THEN estimated_ramp_arrival END), 1, 10)) VIRTUAL;
CREATE INDEX shipments_ramp_date ON shipments (ramp_date, id) WHERE ramp_date IS NOT NULL;
ALTER TABLE shipments ADD COLUMN delivery_date TEXT GENERATED ALWAYS AS (substr(coalesce(
    CASE WHEN actual_delivered_in_full >= '2000' AND actual_delivered_in_full < '2070' THEN actual_delivered_in_full END,
    CASE WHEN estimated_delivered_in_full >= '2000' AND estimated_delivered_in_full < '2070' THEN estimated_delivered_in_full END), 1, 10)) VIRTUAL;
CREATE INDEX shipments_delivery_date ON shipments (delivery_date, id) WHERE delivery_date IS NOT NULL;
ALTER TABLE legs ADD COLUMN origin_kinds TEXT;
ALTER TABLE legs ADD COLUMN destination_kinds TEXT;
ALTER TABLE containers ADD COLUMN terminal TEXT;
ALTER TABLE containers ADD COLUMN terminal_code TEXT;
ALTER TABLE containers ADD COLUMN terminal_timezone TEXT;
ALTER TABLE container_legs ADD COLUMN origin_timezone TEXT;
ALTER TABLE container_legs ADD COLUMN destination_timezone TEXT;

-- Until all objects are derived anew from what Flexport sent, the dates of a shipment are those that it says itself.
UPDATE shipments SET told_estimated_picked_up_in_full = estimated_picked_up_in_full,
    told_actual_picked_up_in_full = actual_picked_up_in_full,
    told_estimated_departure = estimated_departure,
    told_actual_departure = actual_departure,
    told_estimated_arrival = estimated_arrival,
    told_actual_arrival = actual_arrival,
    told_estimated_delivered_in_full = estimated_delivered_in_full,
    told_actual_delivered_in_full = actual_delivered_in_full,
    departure = coalesce(actual_departure, estimated_departure), departure_at = coalesce(actual_departure_at, estimated_departure_at),
    arrival = coalesce(actual_arrival, estimated_arrival), arrival_at = coalesce(actual_arrival_at, estimated_arrival_at);
