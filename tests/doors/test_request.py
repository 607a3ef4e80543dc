"""What is asked, before a model is known."""

import pytest

from app.request import DetectionRequest
from app.vad.errors import InvalidOption


def test_what_is_asked_again_is_not_parsed_again_and_never_taken_for_another() -> None:
    asked = [{}, {"threshold": "0.5"}, {"threshold": 0.5}, {"keep": "true"}, {"keep": True}, {"threshold": "0.50"}]
    first, second = ([DetectionRequest.parse(each) for each in asked] for _ in range(2))
    assert first == second
    assert first[0] is second[0]
    assert [each.segmenter_options.get("threshold") for each in first] == [None, "0.5", 0.5, None, None, "0.50"]
    with pytest.raises(InvalidOption):
        DetectionRequest.parse({"lang": "xx"})
    with pytest.raises(InvalidOption):  # nor is what was refused
        DetectionRequest.parse({"lang": "xx"})
