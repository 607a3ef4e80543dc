"""A short storm: the long one is `make soak`."""

import os
from pathlib import Path

import pytest

from tests.soak.samples import golden, made
from tests.soak.storm import Storm

SECONDS = float(os.environ.get("VAD_SOAK_SECONDS", "60"))


@pytest.mark.full
def test_a_storm_loses_nothing(
    request: pytest.FixtureRequest, reference_folder: Path, small_model: Path, tmp_path: Path
) -> None:
    recorded = golden(reference_folder)
    model = request.getfixturevalue("published_model") if recorded else small_model
    (tmp_path / "samples").mkdir()
    account = Storm(model, tmp_path, made(tmp_path / "samples") + recorded, SECONDS).run()
    print(account.told())
    assert account.wrong == []
    assert account.accepted > SECONDS / 2
    assert account.statuses[503] > 0, "it was a storm"
    assert 0 < account.statuses[500] <= account.faults
    assert account.restarts == 1
    assert (account.left_files, account.left_children) == (0, 0)
    assert account.descriptors[1] <= account.descriptors[0] + 8
    # In use: resident memory moves by some 50 MB all the time, for the allocator's pages are never filled alike.
    assert account.memory_growth_mb < 4
    if account.disk_is_small:
        assert account.full_disk > 0
