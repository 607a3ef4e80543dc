"""What is to be read: a file, and what it does not say of itself."""

from dataclasses import dataclass
from pathlib import Path

from app.audio.clock import Clock
from app.audio.headerless import Headerless
from app.audio.pcm import RawForm


@dataclass(frozen=True, slots=True)
class AudioInput:
    """A file as somebody wants it read."""

    path: Path
    raw: RawForm | None = None
    """Of bare samples; None: the file says what it is."""
    raw_for_certain: bool = True
    """Whether somebody has said so by name. A content type alone is believed only of a file that is nothing else:
    `audio/basic` is what programs call Sun's files with a header, too."""
    headerless: Headerless | None = None
    """Of a coding that no header tells and no table here decodes, such as G.722."""
    track: int | None = None
    """Which of several sounds, from 0; None: the container's default one, or the first that can be read."""
    clock: Clock = "samples"
