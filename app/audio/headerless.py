"""Codings whose files have no header, so that nothing but the request can say what they are, and that are more than
bare samples (`pcm`): each sample depends on those before it. ffmpeg decodes them when it is told which they are."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.vad.errors import InvalidOption


@dataclass(frozen=True, slots=True)
class Headerless:
    """One coding; its sound is mono."""

    container: str
    """What `audio.format` calls it; an entry of `CONTAINERS`."""
    demuxer: str
    """As ffmpeg calls what hands over the file's bytes."""
    usual_rate: int
    """Hz, where nothing is said."""
    decoder: str | None = None
    """ffmpeg's, where the demuxer does not bring it along; then the rate is the request's to say, too."""
    sample_rate: int | None = None
    """Hz, as the request says; None: the usual one."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """ffmpeg's, in front of the file."""
        if self.decoder is None:
            return ("-f", self.demuxer)
        rate = str(self.sample_rate or self.usual_rate)
        return ("-f", self.demuxer, "-ar", rate, "-ac", "1", "-c:a", self.decoder)


_VOX = Headerless("VOX", "alaw", 8_000, decoder="adpcm_ima_oki")
"""Dialogic's: 4 bits a sample. ffmpeg has no demuxer for it; that of A-law hands over bytes just as they come."""
HEADERLESS: Mapping[str, Headerless] = {
    "g722": Headerless("G722", "g722", 16_000),
    "g729": Headerless("G729", "g729", 8_000),
    "vox": _VOX,
    "adpcm_oki": _VOX,
}
"""As `encoding=` takes them."""


def find_headerless(name: str, sample_rate: int | None, channels: int | None) -> Headerless | None:
    """The coding that is so called; None when none is. Raises `InvalidOption` for a rate or a number of channels that
    it cannot have."""
    coding = HEADERLESS.get(name.lower())
    if coding is None:
        return None
    if channels not in (None, 1):
        raise InvalidOption("channels", f"{name.lower()} has one channel")
    if coding.decoder is None:
        if sample_rate not in (None, coding.usual_rate):
            raise InvalidOption("sample_rate", f"{name.lower()} has {coding.usual_rate} Hz and no other rate")
        return coding
    return Headerless(coding.container, coding.demuxer, coding.usual_rate, coding.decoder, sample_rate)
