"""Every source, every format, every strategy, once: ``python -m local.matrix``."""
