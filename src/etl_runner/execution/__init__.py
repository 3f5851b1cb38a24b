"""A work unit from reader to manifest, whoever calls it."""
