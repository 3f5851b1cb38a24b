"""The ``etl-runner`` command: one module a command; reading and presenting are kept apart."""
