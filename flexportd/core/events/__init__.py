"""Events: parsing them and applying them."""
