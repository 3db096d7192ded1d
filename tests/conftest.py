"""What holds for every test: properties have no deadline, as how long one takes says nothing of it."""

from hypothesis import settings

settings.register_profile("blog", deadline=None)
settings.load_profile("blog")
