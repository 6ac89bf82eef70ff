"""What happens to a shipment, and when."""
