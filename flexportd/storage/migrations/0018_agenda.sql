-- The calendar: what is due when.
CREATE INDEX legs_appointment ON legs (delivery_appointment_at, id) WHERE delivery_appointment_at IS NOT NULL;
CREATE INDEX containers_free_time ON containers (last_free_day_at, id) WHERE last_free_day_at IS NOT NULL;
