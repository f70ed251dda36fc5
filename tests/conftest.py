"""Makes the modules beside this file importable from every folder of tests, whichever way pytest is started.

Hypothesis draws the same examples in every run, so that a failure stays a failure until it is mended;
`HYPOTHESIS_PROFILE=explore` draws new ones.
"""

import os
import signal

from hypothesis import settings

# A shell that starts pytest in the background may leave SIGINT ignored, and children of the tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("steady", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
