"""Feeds and exports: iCalendar, CSV, NDJSON."""
