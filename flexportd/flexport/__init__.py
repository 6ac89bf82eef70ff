"""Flexport's wire world: signatures, events, models and names, as `flexport-api` describes them. Imports only leaves."""
