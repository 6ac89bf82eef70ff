"""The dashboard: pages rendered on the server from view models."""
