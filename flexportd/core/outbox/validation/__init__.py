"""Validation of request bodies before anything is sent: one module per subject. It reads, and writes nothing."""
