"""What can be loaded: one module (or package) per source type, one contract for all."""
