"""Order, ids and shards follow from names and sizes alone."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batch import WrongPlace
from app.batch.collection import Collection, Entry, ShardLimits, cut_shards, in_order, listing_hash

SUFFIXES = frozenset({".wav"})
entries = st.lists(
    st.builds(Entry, path=st.text(min_size=1, max_size=8), size_bytes=st.integers(0, 1_000)),
    unique_by=lambda entry: entry.path,
    max_size=40,
)


@given(entries, st.integers(1, 9), st.integers(1, 2_000))
def test_shards_hold_every_entry_once_and_keep_the_bounds(found: list[Entry], files: int, size: int) -> None:
    shards = list(cut_shards(found, ShardLimits(files, size)))
    assert [entry for shard in shards for entry in shard.entries] == found
    assert [shard.number for shard in shards] == list(range(len(shards)))
    for shard in shards:
        assert 1 <= len(shard.entries) <= files
        assert len(shard.entries) == 1 or sum(entry.size_bytes for entry in shard.entries) <= size


@given(entries, st.integers(1, 9), st.integers(1, 16))
def test_every_worker_gets_several_shards_of_a_small_collection(found: list[Entry], files: int, workers: int) -> None:
    widest = ShardLimits(files, 1 << 30)
    cut = widest.shared_by(workers, found)
    assert 1 <= cut.max_files <= files
    assert cut.max_bytes >= 1
    assert len(list(cut_shards(found, cut))) >= min(len(found), 2 * workers)


@given(entries, st.randoms())
def test_nothing_depends_on_the_order_of_discovery(found: list[Entry], shuffled: random.Random) -> None:
    other = list(found)
    shuffled.shuffle(other)
    assert in_order(other) == in_order(found)
    assert listing_hash(in_order(other)) == listing_hash(in_order(found))


def test_the_hash_knows_names_and_sizes() -> None:
    first = [Entry("a.wav", 10), Entry("b.wav", 20)]
    others = [first[:1], [Entry("a.wav", 10), Entry("b.wav", 21)], [Entry("a.wav", 10), Entry("c.wav", 20)]]
    assert listing_hash(first) not in {listing_hash(other) for other in others}


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345")


def listed(url: str | Path) -> list[str]:
    return [entry.path for entry in Collection(str(url)).list(SUFFIXES)[0]]


def test_folders_globs_and_single_files(tmp_path: Path) -> None:
    make_files(tmp_path, "b.wav", "a/Z.WAV", "a/notes.txt", "a/deep/c.wav", "other.bin")
    assert listed(tmp_path) == ["a/Z.WAV", "a/deep/c.wav", "b.wav"]
    assert listed(f"file://{tmp_path}/") == listed(tmp_path)
    assert listed(f"{tmp_path}/a/**/*.wav") == ["deep/c.wav"]
    assert listed(f"{tmp_path}/a/*") == ["Z.WAV"]
    assert listed(tmp_path / "other.bin") == ["other.bin"]


def test_links_are_followed_to_files(tmp_path: Path) -> None:
    make_files(tmp_path, "elsewhere/x.bin", "here/b.wav")
    (tmp_path / "here/a.wav").symlink_to(tmp_path / "elsewhere/x.bin")
    (tmp_path / "here/gone.wav").symlink_to(tmp_path / "elsewhere/y.bin")
    (tmp_path / "here/folder.wav").symlink_to(tmp_path / "elsewhere")
    found, _ = Collection(str(tmp_path / "here")).list(SUFFIXES)
    assert [(entry.path, entry.size_bytes) for entry in found] == [("a.wav", 5), ("b.wav", 5)]


def test_ids_are_of_the_collection_and_not_of_its_place(tmp_path: Path) -> None:
    make_files(tmp_path, "here/a/x.wav", "there/deeper/a/x.wav")
    one, two = (Collection(str(tmp_path / place)).list(SUFFIXES)[0][0] for place in ("here", "there/deeper"))
    assert one.row_id == two.row_id
    assert len(one.row_id) == 32


def test_a_name_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"12345")
    source = Collection(str(tmp_path))
    (entry,), _ = source.list(SUFFIXES)
    assert entry.shown == "caf\ufffd.wav"
    with source.on_disk(entry, None) as path:
        assert path.read_bytes() == b"12345"


@pytest.mark.parametrize(
    ("url", "told"),
    [("nowhere", "no audio files"), ("gopher://x/y", "gopher"), ("{folder}/*.flac", "no audio files")],
)
def test_a_wrong_place_is_said(url: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(WrongPlace, match=told):
        listed(url.format(folder=tmp_path))
