"""Queries over tables: lists, filters, stable pagination, tables as of an earlier time."""
