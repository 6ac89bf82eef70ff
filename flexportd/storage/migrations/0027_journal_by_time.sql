-- The journal by time: cursors of keys that see some shipments only carry a time instead of an entry's number.
CREATE INDEX journal_by_time ON journal (at);
