"""OAuth client credentials: token requests, their daily allowance, the stored token."""
