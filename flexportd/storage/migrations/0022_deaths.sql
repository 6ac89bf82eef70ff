-- How often the process ended while an item was in work: one that ends it again and again becomes a dead letter.
ALTER TABLE items ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;
