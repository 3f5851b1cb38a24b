"""``python -m local.soak``: schedules, events, writers and faults together, and whether every table is
exact."""
