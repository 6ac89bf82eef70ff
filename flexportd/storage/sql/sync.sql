-- floors: Flexport's time at which each resource was last found as we have it
SELECT resource, floor FROM sync_resources WHERE floor NOT NULL;
