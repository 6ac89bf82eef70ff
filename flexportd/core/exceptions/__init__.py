"""Exceptions: problems of a shipment, an invoice or a booking; opened and closed by flexportd.

commits, time ─▶ worker ─▶ ShipmentFacts ─▶ rules (journey, cargo, billing) ─▶ persistence ─▶ store, change log
"""
