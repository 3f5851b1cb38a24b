"""The administrative APIs that tell what is deployed, on loopback: for ``etl-runner doctor``."""

from local.admin.resources import Resources
from local.admin.server import AdminServer

__all__ = ["AdminServer", "Resources"]
