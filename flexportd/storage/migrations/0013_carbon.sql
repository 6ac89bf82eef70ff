-- Carbon figures: what Flexport calculated for a leg when a person asked. It has no list of them.
CREATE TABLE carbon_figures (
    leg_id INTEGER PRIMARY KEY,
    shipment_id INTEGER NOT NULL,
    mode TEXT NOT NULL,
    kg TEXT NOT NULL,                   -- CO2 equivalent, a decimal number; Flexport's own number and unit are in raw
    request TEXT NOT NULL,              -- what was asked, as JSON
    raw TEXT NOT NULL,                  -- Flexport's answer
    as_of TEXT NOT NULL,                -- of the answer, on Flexport's clock
    calculated_at TEXT NOT NULL         -- on our clock
) STRICT;
CREATE INDEX carbon_figures_shipment ON carbon_figures (shipment_id);
