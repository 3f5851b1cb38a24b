"""The strict HTTP front: it refuses the loads that BigQuery refuses, and injects faults."""
