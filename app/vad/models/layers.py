"""What makes a torch network quick on a CPU: linear layers whose bias and ReLU cost nothing extra, filters over time,
and a network that runs without Python's global lock. Each does without where this build of torch cannot.
"""

import os
import warnings

import structlog
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad

log = structlog.get_logger(__name__)

KERNELS_KEPT = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
"""Names oneDNN's variable for how many kernels it keeps."""
_KERNELS_USUAL = 1024
"""It keeps without the variable."""

_ROWS_HINT = 1024
"""Rows that the weights' layout is chosen for; any number can be multiplied."""
_FEW_FRAMES = 64
"""Up to here a filter costs less as sums of products than oneDNN's convolution does by being called, 25 to 55 µs."""
_FEWEST_ROWS = 32
"""That `padded_rows` makes, so that the kernels with which a layer is tried out are wanted again."""


class Linear(nn.Module):
    """`rows @ weight.T + bias`, then ReLU if `relu`; read-only.

    torch's public `linear` writes the bias first and reads everything again for the ReLU: a quarter of the time that
    these networks take. oneDNN, which torch's CPU builds carry, does both as it writes each product, on weights laid
    out for it once; and on AMD's processors its products take half the time of those of MKL, by which torch multiplies
    else. torch reaches it through operators that have no public name, so they are tried out when a layer is made, and
    `linear` serves wherever they are missing or answer differently.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> None:
        """`weight`: [outputs, inputs]; `bias`: [outputs]; on the device and of the type of the rows to come."""
        super().__init__()
        self._weight, self._bias, self._relu = weight, bias, relu
        self._after = "relu" if relu else "none"
        self._packed: Tensor | None = self._pack()
        if self._packed is not None:
            self._weight = weight.new_empty(0)

    def forward(self, rows: Tensor) -> Tensor:
        """[n, inputs] -> [n, outputs]."""
        packed = self._packed
        if packed is not None:
            return self._fused(rows, packed)
        return self._plain(rows)

    def _plain(self, rows: Tensor) -> Tensor:
        product = linear(rows, self._weight, self._bias)
        return product.relu_() if self._relu else product

    def _fused(self, rows: Tensor, packed: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, self._bias, self._after, [], "")
        return product

    @torch.jit.unused
    def _pack(self) -> Tensor | None:
        """The weights in oneDNN's layout, or None where that does not serve."""
        if self._weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            return None
        # oneDNN compiles for a number of threads, and OpenMP has torch's in a thread that has asked for it once.
        torch.get_num_threads()
        inputs = self._weight.shape[1]
        probe = torch.linspace(-1, 1, _FEWEST_ROWS * inputs).view(_FEWEST_ROWS, inputs).to(self._weight.dtype)
        try:
            packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(self._weight, _ROWS_HINT)
            fused = self._fused(probe, packed)
        except (AttributeError, RuntimeError, TypeError) as error:
            log.warning("torch's fused linear layers are not available: scoring is slower", reason=str(error))
            return None
        plain = self._plain(probe)
        if fused.shape != plain.shape or not torch.allclose(fused, plain, rtol=1e-2, atol=1e-2):
            log.warning("torch's fused linear layers give wrong results here and are not used: scoring is slower")
            return None
        return packed


class Filter(nn.Module):
    """A filter over time for each channel: output t is the sum of inputs t to t + width - 1, each by its tap."""

    def __init__(self, taps: Tensor) -> None:
        """`taps`: [channels, 1, 1, width]."""
        super().__init__()
        self.channels, self.width = taps.shape[0], taps.shape[3]
        self._taps = taps.contiguous(memory_format=torch.channels_last)
        self._columns, self._few_frames = taps[:, 0, 0].t().contiguous(), _FEW_FRAMES

    def forward(self, frames: Tensor) -> Tensor:
        """[batch, n, channels], contiguous, to [batch, n - width + 1, channels]."""
        batch, count, channels = frames.shape
        outputs = count - self.width + 1
        if batch * outputs <= self._few_frames and frames.dtype == torch.float32:
            steps = [count * channels, channels, channels, 1]
            windows = frames.as_strided([batch, outputs, self.width, channels], steps)
            return (windows * self._columns).sum(2)
        # As a picture of height 1 whose channels lie innermost: the layout that the matrix products have anyway, so
        # nothing is copied, and the quickest of those tried.
        picture = frames.unsqueeze(1).permute(0, 3, 1, 2)
        return conv2d(picture, self._taps, groups=self.channels).permute(0, 2, 3, 1).flatten(1, 2)


def padded_rows(rows: Tensor) -> Tensor:
    """Zero rows behind [rows, features], up to one of few counts: oneDNN compiles, and keeps, a kernel for every count
    that it meets, which takes longer than to use it once."""
    count = rows.shape[0]
    step = 16 if count <= 16 else 32 if count <= 128 else 64
    more = (step - count % step) % step
    return pad(rows, [0, 0, 0, more]) if more > 0 else rows


def forget_kernels() -> None:
    """Have oneDNN drop the kernels that it has compiled for other numbers of rows, half a megabyte each; those that are
    wanted again take half a millisecond each. It keeps the latest of them and has no call that drops them all, so this
    asks for as many trifles as it keeps: 15 ms."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    kept = os.environ.get(KERNELS_KEPT, "")
    with torch.inference_mode():
        for number in range(int(kept) if kept.isdecimal() else _KERNELS_USUAL):
            torch.zeros(1, 16, 1 + number, 1).to_mkldnn().to_dense()


def compiled(module: nn.Module) -> nn.Module:
    """The same function in TorchScript, if that can be had. `module` has no state that a call changes.

    As Python, a module takes the global lock again after each of its hundreds of operators, and each time waits until
    whoever has it, the event loop above all, lets go: under load a block then takes twice as long. TorchScript runs the
    whole module without it. torch means to retire it; where it is gone, or refuses, the module runs as Python.
    """
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
