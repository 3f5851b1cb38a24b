"""The only place that builds Google Cloud clients."""
