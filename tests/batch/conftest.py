"""Collections and an object storage, made once."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch.collection import write_clips
from tests.batch.storage import ObjectStorage, object_storage

CLIPS = 2_000


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """2,000 short clips, 20 of them broken: the folder, and their paths in order."""
    folder = tmp_path_factory.mktemp("collection")
    return folder, write_clips(folder, CLIPS)


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """40 clips, one broken."""
    folder = tmp_path_factory.mktemp("few")
    return folder, write_clips(folder, 40)


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    """A real S3 server."""
    need("moto", "moto[server]")
    need("flask", "moto[server]")
    need("s3fs", "the extra [batch]")
    with object_storage(tmp_path_factory.mktemp("storage")) as running:
        yield running


def need(module: str, origin: str) -> None:
    """Skip without it; it is looked for and not imported."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}, which comes with {origin}")
