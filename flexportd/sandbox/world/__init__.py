"""The seeded world: its shipments and collections, as time passes."""
