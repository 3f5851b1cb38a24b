"""Rejected rows after their run: looking at them, and bringing them back through the same conversion."""
