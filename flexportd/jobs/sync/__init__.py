"""The syncs: full, incremental, shipment details; pages, removals, results."""
