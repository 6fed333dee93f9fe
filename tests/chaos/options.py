"""What a person chooses of the chaos suite, from the environment."""

import os
import random

SEED = os.environ.get("KAPPAWATT_TEST_CHAOS_SEED") or str(random.SystemRandom().randrange(1_000_000))
"""Everything random follows from it and the name of the case: KAPPAWATT_TEST_CHAOS_SEED, else drawn anew."""
KILLS = int(os.environ.get("KAPPAWATT_TEST_CHAOS_KILLS", "50"))
"""How many SIGKILLs, half of them on one process, half on two."""
BACKLOG_TICKS = int(os.environ.get("KAPPAWATT_TEST_CHAOS_TICKS", "456000"))
"""How many samples of 11 readings wait in the backlog: 5 million readings."""
REPLAY = f"KAPPAWATT_TEST_CHAOS_SEED={SEED} make chaos"
