"""The tests. What holds in each module, also where one is run alone: hypothesis' settings, and that children end."""

import os

from hypothesis import settings

from tests.child import watch_over_children

# No deadline: a busy machine is not a bug. In CI the same examples every time, elsewhere new ones every time.
settings.register_profile("cmmd", deadline=None, max_examples=100, derandomize="CI" in os.environ, database=None)
settings.load_profile("cmmd")
watch_over_children()
