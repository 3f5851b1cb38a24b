"""Property-based tests have no deadline: the first call of a kernel loads what it needs."""

from hypothesis import settings

settings.register_profile("formats", deadline=None, max_examples=60)
settings.load_profile("formats")
