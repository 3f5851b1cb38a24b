"""``python -m local.demo_large``: millions of rows through the distributed engine, both ends compared."""
