"""What is to be read: a file, and what it does not say of itself."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.audio.clock import Clock
from app.audio.headerless import Headerless
from app.audio.pcm import RawForm


@dataclass(frozen=True, slots=True)
class AudioInput:
    """A file as somebody wants it read."""

    path: Path
    """Where it lies; where `data` is, only once `on_disk` has been called."""
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
    data: bytes | None = None
    """The whole file, where it is in memory."""
    spool: Callable[[], None] | None = None
    """Writes `data` to `path`; more than once is as good as once. To be given with `data`; its owner removes the
    file."""

    def open(self) -> BinaryIO:
        """A new reader of its bytes."""
        return self.path.open("rb") if self.data is None else io.BytesIO(self.data)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size if self.data is None else len(self.data)

    def on_disk(self) -> Path:
        """Where a child process, or a library that takes no bytes, finds it. Blocking. Raises OSError, and `Overloaded`
        where there is no space."""
        if self.spool is not None:
            self.spool()
        return self.path
