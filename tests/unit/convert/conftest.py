"""Property-based tests have no deadline: the first call of a kernel loads what it needs."""

from hypothesis import settings

settings.register_profile("convert", deadline=None)
settings.load_profile("convert")
