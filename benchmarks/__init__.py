"""What the extraction costs: ``python -m benchmarks``."""
