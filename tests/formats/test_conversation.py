"""Call-centre figures of two sides and more, against a count of milliseconds."""

import json

import numpy as np
from hypothesis import given, settings

from app.formats.registry import RenderContext
from app.formats.report import conversation
from tests.formats.reports import FORMATS, Times, report_of, tracks

LENGTH = 20_000


def test_two_sides() -> None:
    sides = ([(1_000, 5_000), (8_000, 9_000)], [(4_000, 6_000), (9_000, 10_000)])
    report = report_of(*sides, split=True, duration_ms=12_000)
    document = json.loads(b"".join(FORMATS["json"].new(RenderContext()).finish(report)))
    assert (document["silence_ms"], document["overlap_ms"], document["interruptions"]) == (5_000, 1_000, 1)
    figures = [(each["silence_ms"], each["overlap_ms"], each["interruptions"]) for each in document["channels"]]
    assert figures == [(7_000, 1_000, 0), (9_000, 1_000, 1)]


def test_one_channel_has_no_conversation() -> None:
    report = report_of([(1_000, 5_000)], duration_ms=12_000)
    document = json.loads(b"".join(FORMATS["json"].new(RenderContext()).finish(report)))
    assert not {"silence_ms", "overlap_ms", "interruptions"} & document.keys()


@settings(max_examples=60, deadline=None)
@given(first=tracks(LENGTH), second=tracks(LENGTH), third=tracks(LENGTH))
def test_figures_are_those_of_a_count(first: Times, second: Times, third: Times) -> None:
    report = report_of(first, second, third, split=True, duration_ms=LENGTH)
    found = conversation(report.channels, LENGTH)
    heard = np.zeros((3, LENGTH), dtype=bool)
    for row, times in zip(heard, (first, second, third), strict=True):
        for start, end in times:
            row[start:end] = True
    many = heard.sum(axis=0)
    assert found.silence_ms == int((many == 0).sum())
    assert found.overlap_ms == int((many > 1).sum())
    for channel, row in enumerate(heard):
        side = found.sides[channel]
        assert side.silence_ms == int((~row).sum())
        assert side.overlap_ms == int((row & (many > 1)).sum())
