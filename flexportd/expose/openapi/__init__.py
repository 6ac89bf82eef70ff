"""What the API promises: each route is declared once; serving, checking and describing it follow from that."""
