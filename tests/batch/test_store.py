"""Results are there whole or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.batch import WrongPlace
from app.batch.ledger import Outcome, Store, finished, mark_done
from app.vad.errors import InvalidAudio
from tests.batch.storage import ObjectStorage


def outcome(shard: int, retryable: int = 0) -> Outcome:
    return Outcome(shard, files=3, failed=1, retryable=retryable, segments=5, audio_ms=900, speech_ms=500)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/deep/er")
    store.write_json("manifest.json", {"a": "ä"})
    store.write_json("manifest.json", {"a": "b"})
    assert store.read_json("manifest.json") == {"a": "b"}
    assert store.read_json("none.json") is None
    assert [path.name for path in (tmp_path / "deep/er").iterdir()] == ["manifest.json"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "segments-00000.jsonl/in the way").mkdir(parents=True)
    with pytest.raises(WrongPlace, match="cannot be written"):
        Store(str(tmp_path)).write("segments-00000.jsonl", [b"x"])
    assert [path.name for path in tmp_path.iterdir()] == ["segments-00000.jsonl"]


def test_what_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("deep/a.wav", [b"old"])

    def pieces(error: Exception) -> Iterator[bytes]:
        yield b"new"
        raise error

    for error in (InvalidAudio("broken"), FileNotFoundError("the source is gone"), RuntimeError("a fault")):
        with pytest.raises(type(error), match=str(error)):
            store.write("deep/a.wav", pieces(error))
        assert [path.read_bytes() for path in (tmp_path / "deep").iterdir()] == [b"old"]


def test_done_shards(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert finished(store) == {}
    for each in (outcome(0), outcome(7), outcome(8, retryable=1)):
        mark_done(store, each)
    assert finished(store) == {0: outcome(0), 7: outcome(7)}
    mark_done(store, outcome(8))
    assert set(finished(store)) == {0, 7, 8}


@pytest.mark.parametrize("content", ["not json", "[1]", '{"shard": 1}'])
def test_what_somebody_else_wrote_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "_done").mkdir()
    (tmp_path / "_done/00001.json").write_text(content)
    with pytest.raises(WrongPlace, match="was not written by this command"):
        finished(Store(str(tmp_path)))


@pytest.mark.full
def test_a_long_file_goes_to_an_object_storage_in_parts(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in storage.environment.items():
        monkeypatch.setenv(name, value)
    storage.make_bucket("long")
    store, part = Store("s3://long/run"), b"x" * (5 << 20)

    def pieces() -> Iterator[bytes]:
        yield from [part] * 4
        raise InvalidAudio("broken")

    store.write("a.wav", [b"old"])
    with pytest.raises(InvalidAudio):
        store.write("a.wav", pieces())
    assert storage.get("long", "run/a.wav") == b"old"
    store.write("a.wav", [part] * 4 + [b"end"])
    assert storage.get("long", "run/a.wav") == part * 4 + b"end"
