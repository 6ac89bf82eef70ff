"""The domains: one module each, and the registry that routes events to them. Knows neither HTTP nor the terminal."""
