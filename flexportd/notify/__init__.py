"""Notifications: rules, what waits and what is sent, and the channels that send it."""
