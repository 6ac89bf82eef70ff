"""Importing fetched objects: comparison with the store, short transactions, schema drift."""
