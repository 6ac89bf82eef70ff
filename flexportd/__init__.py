"""A self-hosted daemon that keeps a live, trustworthy copy of a team's Flexport freight data."""

__version__ = "0.1.0"
