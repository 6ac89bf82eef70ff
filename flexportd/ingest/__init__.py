"""What comes from Flexport: the webhook receiver. Keeps and acknowledges; does not touch the domain."""
