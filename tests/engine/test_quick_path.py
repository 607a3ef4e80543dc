"""What scoring owes its speed to is still there: a torch release that takes it away fails here, before users notice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs

from app.vad.models.fsmn.checkpoint import read_checkpoint
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.models.layers import Filter, Linear, compiled, padded_rows

_COUNT_FAULTS = """
import json, resource, sys
from pathlib import Path
import numpy as np, torch
from app.engine.device import prepare_process
from app.vad.blocks import Block
from app.vad.models.fsmn.checkpoint import read_checkpoint
from app.vad.models.fsmn.network import FsmnScorer

prepare_process("cpu", 1, None)
scorer = FsmnScorer(read_checkpoint(Path(sys.argv[1])), torch.device("cpu"))
block = Block(np.zeros(160_000, np.float32), 0, True, None)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        scorer.score([block])
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
print(json.dumps(faults() / 40))
"""


def test_a_model_is_loaded_without_a_word_about_slower_ways(small_model: Path) -> None:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        pytest.skip("this torch is built without oneDNN")
    with capture_logs() as logs:
        FsmnScorer(read_checkpoint(small_model), torch.device("cpu"))
    assert logs == []


def test_what_cannot_be_compiled_runs_as_python_and_says_so() -> None:
    class Odd(torch.nn.Module):
        def forward(self, samples: torch.Tensor) -> object:
            return {str(value): value for value in samples.tolist()}

    with capture_logs() as logs:
        assert compiled(Odd())(torch.ones(1)) == {"1.0": 1.0}
    assert [entry["log_level"] for entry in logs] == ["warning"]


def test_a_linear_layer_without_its_fused_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, bias, rows = torch.randn(5, 7), torch.randn(5), torch.randn(3, 7)
    quick = Linear(weight, bias, relu=True)(rows)
    monkeypatch.setattr(Linear, "_fused", lambda _, rows, packed: rows.new_zeros(len(rows), 5))
    with capture_logs() as logs:
        slow = Linear(weight, bias, relu=True)(rows)
    torch.testing.assert_close(slow, quick)
    assert [entry["log_level"] for entry in logs] == ["warning"]


@pytest.mark.parametrize("frames", [5, 8, 24, 68, 69, 200])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_filter_is_a_convolution_however_few_frames_there_are(frames: int, batch: int) -> None:
    taps, inputs = torch.randn(6, 1, 1, 5), torch.randn(batch, frames, 6)
    expected = torch.nn.functional.conv1d(inputs.transpose(1, 2), taps[:, 0], groups=6).transpose(1, 2)
    torch.testing.assert_close(Filter(taps)(inputs), expected)


def test_rows_are_filled_up_to_few_counts() -> None:
    """oneDNN keeps a kernel for each: two thirds of a MiB."""
    counts = [len(padded_rows(torch.zeros(count, 1))) for count in range(1, 1_025)]
    assert all(count <= filled < count + 64 for count, filled in enumerate(counts, 1))
    assert len(set(counts)) < 24
    assert counts[9] == 16  # a live chunk of 100 ms, and a clip of as much


def test_threads_that_wait_sleep_unless_somebody_says_otherwise() -> None:
    """OpenMP reads it when torch is imported, which must not have happened before."""
    script = "import os, sys, app; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    for given, found in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        ended = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=others | given
        )
        assert ended.stdout.strip() == found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts page faults as Linux does")
def test_blocks_use_the_memory_of_those_before_them(small_model: Path) -> None:
    """Not faulted in anew for every block: a tile's temporaries are some MB, thousands of pages."""
    ended = subprocess.run(
        [sys.executable, "-c", _COUNT_FAULTS, small_model], capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stdout.splitlines()[-1]) < 100
