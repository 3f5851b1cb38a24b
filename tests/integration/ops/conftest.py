"""The laboratory of the exactness tests, for operating."""

from tests.integration.exactness.conftest import lab, password_file

__all__ = ["lab", "password_file"]
