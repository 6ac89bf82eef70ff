"""Search: what is indexed, how queries are read, and the indexer."""
