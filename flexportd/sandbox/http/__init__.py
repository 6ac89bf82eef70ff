"""The HTTP side of the sandbox: routes, authentication, filters, envelopes."""
