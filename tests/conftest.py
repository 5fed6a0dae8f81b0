"""Settings of all tests."""

from hypothesis import settings

# No test asserts a wall time, and the same commit runs the same examples everywhere.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")
