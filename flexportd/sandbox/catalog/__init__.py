"""What the sandbox ships, between whom, where and how: companies, products, places, routes, vehicles."""
