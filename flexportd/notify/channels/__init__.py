"""The channels: one module each, registered in `CHANNEL_TYPES`."""
