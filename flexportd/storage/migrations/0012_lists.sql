-- The lists of legs and containers: last changed first, and what belongs to a leg.
CREATE INDEX legs_as_of ON legs (as_of, id);
CREATE INDEX containers_as_of ON containers (as_of, id);
CREATE INDEX container_legs_as_of ON container_legs (as_of, id);
CREATE INDEX container_legs_leg ON container_legs (leg_id) WHERE leg_id IS NOT NULL;
