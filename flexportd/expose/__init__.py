"""What people and programs see: the JSON API, the dashboard, metrics. Reads the store and cache, never Flexport."""
