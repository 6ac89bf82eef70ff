"""Flexport's wire world: signatures, events, models and names, as its pages describe them. Imports only leaves."""
