"""The container's clock: pauses in time stamps, and sound that begins after the picture."""

import contextlib
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.audio.clock import Clock, ClockKeeper, Leap
from app.audio.decode import AudioLimits, Decoder
from app.audio.ffmpeg import last_stamp_s
from app.audio.options import AudioInput
from app.audio.signal import Channel
from app.audio.source import open_audio, open_decoder
from app.vad.errors import AudioTooLong
from tests.audio.clocks import CODECS, LATE_S, late, leaping
from tests.audio.ffmpegs import AVAILABLE, encode, remux
from tests.audio.recordings import Samples, alike, decoded, voice

RATE = 16_000
SECONDS, GAP_AT_S, GAP_S = 6, 3, 10
COARSE_MS = {".wma": 100}
"""Containers whose packets hold more sound than the others'."""


def opened(path: Path, ffmpeg: Path, clock: Clock = "samples", max_seconds: float = 3600) -> tuple[Samples, Decoder]:
    decoder = open_decoder(AudioInput(path, clock=clock), AudioLimits(max_seconds=max_seconds), ffmpeg)
    try:
        return decoded(decoder), decoder
    finally:
        decoder.close()


def codes(decoder: Decoder) -> list[str]:
    return [warning.code for warning in decoder.warnings()]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clock") / "plain.wav"
    soundfile.write(path, voice(SECONDS, RATE, 1), RATE)
    return path


@pytest.mark.parametrize("suffix", [".webm", ".mkv", ".mp4", ".m4a", ".flv", ".ts", ".wma", ".ogg"])
def test_a_pause_in_the_time_stamps(suffix: str, plain: Path, tmp_path: Path, each_ffmpeg: Path) -> None:
    path = leaping(plain, suffix, tmp_path)
    coarse = COARSE_MS.get(suffix, 20)
    samples, decoder = opened(path, each_ffmpeg)
    rate = decoder.info.sample_rate
    assert abs(len(samples) / rate - SECONDS) < 0.1
    assert codes(decoder) == ["time_gap"]
    [gap] = decoder.clock_facts.gaps
    assert abs(gap.duration_ms - 1000 * GAP_S) <= coarse
    assert abs(gap.at_ms - 1000 * GAP_AT_S) <= 64 + coarse
    kept, by_clock = opened(path, each_ffmpeg, "container")
    assert codes(by_clock) == ["time_gap"]
    at, silent = gap.at_ms * rate // 1000, gap.duration_ms * rate // 1000
    assert abs(len(kept) - len(samples) - silent) <= rate // 1000
    assert np.count_nonzero(kept) == np.count_nonzero(samples)
    np.testing.assert_array_equal(kept[:at], samples[:at])
    np.testing.assert_array_equal(kept[-(len(samples) - at) :][rate:], samples[at:][rate:])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm", ".flv", ".ts"])
def test_sound_that_begins_after_the_picture(suffix: str, plain: Path, tmp_path: Path, each_ffmpeg: Path) -> None:
    path = late(plain, suffix, tmp_path)
    samples, decoder = opened(path, each_ffmpeg)
    assert codes(decoder) == ["late_start"]
    assert abs(decoder.clock_facts.late_start_ms - 1000 * LATE_S) <= 70  # less what the encoder put in front
    kept, _ = opened(path, each_ffmpeg, "container")
    rate = decoder.info.sample_rate
    assert abs(len(kept) - len(samples) - decoder.clock_facts.late_start_ms * rate // 1000) <= rate // 1000
    original, _ = soundfile.read(plain, dtype="float32")
    if rate == RATE:
        shifted = np.concatenate((np.zeros(round(LATE_S * rate), dtype=np.float32), original))
        likeness, lag = alike(kept[:, 0], shifted, 1_000)
        assert likeness > 0.98
        assert abs(lag) <= 16


def test_a_fragmented_film(plain: Path, tmp_path: Path, each_ffmpeg: Path) -> None:
    path = late(plain, ".mp4", tmp_path, "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    _, decoder = opened(path, each_ffmpeg)
    assert codes(decoder) == ["late_start"]


@pytest.mark.parametrize("suffix", [".webm", ".mp4", ".mkv", ".flv", ".ts", ".wma", ".ogg"])
def test_a_well_behaved_file_has_nothing_to_tell(suffix: str, plain: Path, tmp_path: Path, each_ffmpeg: Path) -> None:
    path = encode(plain, tmp_path / f"a{suffix}", "-c:a", CODECS[suffix])
    samples, decoder = opened(path, each_ffmpeg)
    assert codes(decoder) == []
    kept, _ = opened(path, each_ffmpeg, "container")
    np.testing.assert_array_equal(kept, samples)


@pytest.mark.parametrize("suffix", [".ts", ".ogg"])
def test_a_pause_of_minutes_where_recordings_may_follow_one_another(
    suffix: str, plain: Path, tmp_path: Path, each_ffmpeg: Path
) -> None:
    _, decoder = opened(leaping(plain, suffix, tmp_path, gap_s=300), each_ffmpeg)
    assert codes(decoder) == ["time_gap"]
    assert abs(decoder.clock_facts.gap_ms - 300_000) <= 20


def test_two_recordings_in_one_each_with_a_pause(plain: Path, tmp_path: Path, each_ffmpeg: Path) -> None:
    one = leaping(plain, ".ogg", tmp_path).read_bytes()
    both = tmp_path / "both.ogg"
    both.write_bytes(one * 2)
    samples, decoder = opened(both, each_ffmpeg)
    rate = decoder.info.sample_rate
    assert abs(len(samples) / rate - 2 * SECONDS) < 0.1
    assert [round(gap.duration_ms / 1000) for gap in decoder.clock_facts.gaps] == [GAP_S, GAP_S]
    kept, _ = opened(both, each_ffmpeg, "container")
    assert abs(len(kept) / rate - 2 * SECONDS - 2 * GAP_S) < 0.1


def test_a_splice_of_transport_streams_is_no_pause(plain: Path, tmp_path: Path, each_ffmpeg: Path) -> None:
    first = encode(plain, tmp_path / "first.ts", "-c:a", "aac")
    second = encode(plain, tmp_path / "second.ts", "-c:a", "aac", "-output_ts_offset", "20000")
    for order in ((first, second), (second, first)):
        spliced = tmp_path / "spliced.ts"
        spliced.write_bytes(b"".join(path.read_bytes() for path in order))
        samples, decoder = opened(spliced, each_ffmpeg, "container")
        assert codes(decoder) == []
        assert abs(len(samples) / decoder.info.sample_rate - 2 * SECONDS) < 0.4


def test_a_pause_of_hours_meets_the_limit(plain: Path, tmp_path: Path, each_ffmpeg: Path) -> None:
    path = leaping(plain, ".mkv", tmp_path, gap_s=7 * 3600)
    samples, _ = opened(path, each_ffmpeg, max_seconds=60)
    assert abs(len(samples) / RATE - SECONDS) < 0.1
    with pytest.raises(AudioTooLong):
        opened(path, each_ffmpeg, "container", max_seconds=60)


def test_an_mp3_whose_rate_changes_gets_no_silence(plain: Path, tmp_path: Path, each_ffmpeg: Path) -> None:
    parts = [
        encode(plain, tmp_path / f"{rate}.mp3", "-ar", str(rate), "-c:a", "libmp3lame") for rate in (44_100, 22_050)
    ]
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    samples, decoder = opened(joined, each_ffmpeg, "container")
    assert abs(len(samples) / 44_100 - 2 * SECONDS) < 0.3
    assert codes(decoder) == []


def test_a_map_of_more_pauses_than_are_listed_ends_where_the_next_one_is() -> None:
    keeper = ClockKeeper("samples", RATE)
    leaps = [Leap(RATE * (1 + number), 1.0 + number) for number in range(150)]
    assert len(list(keeper.pieces(np.zeros((RATE * 200, 1), dtype=np.float32), leaps))) == 1
    facts = keeper.facts()
    assert (facts.gap_count, len(facts.gaps), len(facts.stretches)) == (150, 100, 101)
    assert facts.stretches[:3] == ((0, 0, 1_000), (1_000, 2_000, 1_000), (2_000, 4_000, 1_000))
    assert facts.stretches[-1] == (100_000, 200_000, 1_000)


# ---- pauses that cost their sender nothing


def at_rate(path: Path, sample_rate: int, channel: Channel = "mix", max_seconds: float = 3600) -> Samples:
    """All samples that a model hears, with the container's clock."""
    source = open_audio(
        AudioInput(path, clock="container"), sample_rate=sample_rate, channel=channel, block_seconds=10,
        limits=AudioLimits(max_seconds=max_seconds), ffmpeg=next(iter(AVAILABLE.values())),
    )  # fmt: skip
    with source:
        return np.concatenate(list(source), axis=1)


@pytest.mark.parametrize("channel", ["mix", "split", "loudest", 1])
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_a_skipped_pause_is_heard_like_one_that_is_filtered(
    rate: int, channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many samples, in the same places; the last bits of the filter's arithmetic alone may differ."""
    plain = tmp_path / "stereo.wav"
    soundfile.write(plain, voice(SECONDS, rate, 2), rate)
    path = leaping(plain, ".mka", tmp_path, gap_s=47)
    found = at_rate(path, 16_000, channel)
    with monkeypatch.context() as patch:
        for module in ("decode", "signal"):
            patch.setattr(f"app.audio.{module}.is_silence", lambda block: False)
        walked = at_rate(path, 16_000, channel)
    assert found.shape == walked.shape
    np.testing.assert_allclose(found, walked, atol=1e-6)
    assert np.count_nonzero(found) / np.count_nonzero(walked) == pytest.approx(1, abs=1e-2)


def test_hours_of_pause_take_no_time(plain: Path, tmp_path: Path) -> None:
    """Eleven hours were 20 s of filtering alone."""
    path = leaping(plain, ".webm", tmp_path, gap_s=11 * 3600)
    started = time.process_time()
    source = open_audio(
        AudioInput(path, clock="container"), sample_rate=16_000, channel="mix", block_seconds=10,
        limits=AudioLimits(max_seconds=12 * 3600), ffmpeg=next(iter(AVAILABLE.values())),
    )  # fmt: skip
    with source:
        seconds = sum(rows.shape[1] for rows in source) / 16_000
    assert abs(seconds - 11 * 3600 - SECONDS) < 0.2
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("suffix", "leap"),
    [
        (".webm", "if(gt(PTS*TB\\,1)\\,PTS+46800/TB\\,PTS)"),
        (".mka", "if(gt(PTS*TB\\,1)\\,PTS+46800/TB\\,PTS)"),
        # An hour with each tenth of a second, from the first second on.
        (".mka", "PTS+max(0\\,floor((PTS*TB-1)*10))*3600/TB"),
        (".mp4", "PTS+max(0\\,floor((PTS*TB-1)*10))*3600/TB"),
    ],
    ids=["at once, WebM", "at once", "bit by bit", "bit by bit, MP4"],
)
def test_what_will_be_too_long_is_refused_before_its_pauses_are_given_out(
    suffix: str, leap: str, plain: Path, tmp_path: Path, each_ffmpeg: Path
) -> None:
    whole = encode(plain, tmp_path / f"whole{suffix}", "-c:a", CODECS[suffix])
    path = remux(whole, tmp_path / f"leap{suffix}", "-bsf:a", f"setts=ts={leap}")
    decoder = open_decoder(AudioInput(path, clock="container"), AudioLimits(max_seconds=12 * 3600), each_ffmpeg)
    with pytest.raises(AudioTooLong), contextlib.closing(decoder):
        decoded(decoder)
    assert decoder.decoded_frames < 4 * decoder.info.sample_rate


def test_the_last_packet_of_a_listing() -> None:
    head = b"#software: Lavf\n#tb 0: 1/1000\n#codec_id 0: opus\n0, 14, 14, 20, 123, 0x841337aa\n"
    last = b"0,   46807994,   46807994,        7,      265, 0x36334bbd, S=1, Skip Samples,       10, 0x033a008a\n"
    assert last_stamp_s(iter([head[:40], head[40:], b"0, 34, 34, 20, 1, 0x1\n" * 10_000, last])) == 46808.001
    assert last_stamp_s(iter([])) == 0
    assert last_stamp_s(iter([b"#tb 0: 1/0\n"])) == 0
    assert last_stamp_s(iter([b"nonsense"])) == 0
