"""Exceptions: what is wrong with a shipment, an invoice or a booking; opened and closed by us.

commits, time ─▶ follower ─▶ facts (what is known) ─▶ rules (journey, cargo, unsettled) ─▶ writes ─▶ store, journal
"""
