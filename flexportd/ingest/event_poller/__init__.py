"""The event poller: reads Flexport's list of events for those that no webhook brought."""
