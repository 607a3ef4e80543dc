"""FSMN-VAD as a service: audio in, speech segments out."""

import os

__version__ = "0.1.0"

# Read by OpenMP when torch is imported, so not later than here. Where a scoring thread has several of torch's beside
# it, each would spin between two operators, and again while it waits for one that had to leave its core to somebody
# else: 28 ms for a product of 1 ms on a machine with other work. Of no account with one thread each, as by default.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
