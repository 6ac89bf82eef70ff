"""Wire models: one module a resource, tolerant in what they accept and lossless."""
