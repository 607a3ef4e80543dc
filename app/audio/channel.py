"""Which channels of a file are listened to."""

from typing import Literal, cast

from app.vad.errors import InvalidOption

Channel = int | Literal["mix", "split"]
"""`mix`: the mean of all channels. A number: that channel, from 0. `split`: each by itself."""
CHANNEL_PATTERN = r"^(mix|split|[0-7])$"
"""The numbers end where `AudioLimits.max_channels` does."""
_NAMES = ("mix", "split")
_NUMBERS = "01234567"


def parse_channel(text: str) -> Channel:
    """From raw text. Raises `InvalidOption`."""
    if text in _NAMES:
        return cast("Channel", text)
    if len(text) == 1 and text in _NUMBERS:
        return int(text)
    raise InvalidOption("channel", "must be mix, split, or the number of a channel, 0 to 7")
