"""CloudEvents in and out."""
