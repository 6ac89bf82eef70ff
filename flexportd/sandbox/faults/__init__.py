"""Fault injection: what goes wrong, and how a fault looks."""
