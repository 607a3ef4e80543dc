"""A torch module as one call that does not hold Python's global lock.

Called as Python, a module takes the lock again after each of its hundreds of operators, and each time waits until
whoever has it, the event loop above all, lets go: under load a block then takes twice as long. TorchScript runs the
whole module without it. torch means to retire TorchScript; where it is gone, or refuses, the module runs as Python.
"""

import warnings

import structlog
import torch
from torch import nn

log = structlog.get_logger(__name__)


def compiled(module: nn.Module) -> nn.Module:
    """The same function, in TorchScript if that can be had. `module` has no state that a call changes."""
    module.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Without it the first calls of every shape would be spent on profiling, and the next on optimising.
            torch._C._jit_set_profiling_executor(False)
            return torch.jit.script(module)
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        log.warning("the network runs as Python, which is slower under load", reason=str(error))
        return module
