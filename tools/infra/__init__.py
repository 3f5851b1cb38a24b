"""Checks of what is deployed, without a cloud: ``python -m tools.infra``, which is ``make infra``."""
