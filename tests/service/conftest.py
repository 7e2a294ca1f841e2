"""Settings of the property tests: machines are of all speeds, so no example has a deadline."""

from hypothesis import settings

settings.register_profile("latentserve", deadline=None, max_examples=60)
settings.load_profile("latentserve")
