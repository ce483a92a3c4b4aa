"""The tests. hypothesis' settings stand here, so that they hold in each module, also where it is run alone."""

import os

from hypothesis import settings

# No deadline: a busy machine is not a bug. In CI the same examples every time, elsewhere new ones every time.
settings.register_profile("cmmd", deadline=None, max_examples=100, derandomize="CI" in os.environ, database=None)
settings.load_profile("cmmd")
