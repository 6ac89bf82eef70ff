"""The wire objects of shipments and of what belongs to them, as they change."""
