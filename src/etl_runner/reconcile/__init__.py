"""Comparing a source with its destination, range by range of the cursor."""
