"""Finished detections to write down."""

from collections.abc import Sequence

from hypothesis import strategies as st

from app.formats.registry import Formats, Lang, RenderContext
from app.formats.report import AudioSummary, ChannelSegments, Report, Timing
from app.vad.models.family import ModelInfo
from app.vad.segment import Segment

EXAMPLE: tuple[tuple[int, int], ...] = (
    (70, 2340), (2620, 6200), (6480, 23670), (23950, 26250), (26780, 28990), (29950, 31430), (31750, 37600),
    (38210, 46900), (47310, 49630), (49910, 56460), (56740, 59540), (59820, 70450),
)  # fmt: skip
"""What the model's authors publish for their own example, ms."""
Times = Sequence[tuple[int, int]]


FORMATS = Formats()


def rendered(name: str, report: Report, lang: Lang = "zh") -> bytes:
    """The whole of an answer in a format that needs no audio."""
    return b"".join(FORMATS[name].new(RenderContext(lang)).finish(report))


def segments(times: Times) -> tuple[Segment, ...]:
    """Segments of these times, with probabilities that differ and every third one cut."""
    return tuple(
        Segment(start, end, forced_end=index % 3 == 2, speech_probability=0.9 + index % 10 / 128)
        for index, (start, end) in enumerate(times)
    )


def report_of(
    *tracks: Times,
    split: bool = False,
    name: str = "example",
    duration_ms: int = 70_470,
    rate: int = 16_000,
    channels: int | None = None,
    subtype: str = "PCM_16",
) -> Report:
    """A report; `split`: each track is a channel of its own, else the one track is the mix of all channels."""
    return Report(
        request_id="0123",
        name=name,
        model=ModelInfo("some", "some/model", "v1", "ab" * 32),
        device="cpu",
        degraded=False,
        audio=AudioSummary(duration_ms, rate, channels or len(tracks), "WAV", subtype, truncated=False),
        channels=tuple(
            ChannelSegments(index if split else None, segments(times)) for index, times in enumerate(tracks)
        ),
        options={"mode": "endpoint"},
        timing=Timing(queue_ms=1, decode_ms=2, inference_ms=3, total_ms=7047),
    )


def tracks(longest_ms: int = 43_200_000) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Segments in order on the 10 ms grid, which may touch but not overlap; often none."""
    edges = st.lists(st.integers(0, longest_ms // 10), max_size=24, unique=True)
    return edges.map(sorted).flatmap(lambda marks: st.booleans().map(lambda touching: _pairs(marks, touching)))


def _pairs(marks: list[int], touching: bool) -> list[tuple[int, int]]:
    step = 1 if touching else 2
    return [(marks[at] * 10, marks[at + 1] * 10) for at in range(0, len(marks) - 1, step)]
