"""Which decoder reads a file."""

from collections.abc import Sequence
from pathlib import Path

from app.audio.containers import BY_NAME
from app.audio.decode import Decoder
from app.audio.ffmpeg import open_with_ffmpeg
from app.audio.input import AudioInput
from app.audio.limits import AudioLimits
from app.audio.raw import RawDecoder
from app.audio.silk import SilkDecoder
from app.audio.sniff import HEAD_BYTES, advice, container_for_certain, mpeg_audio_after_junk, sniff
from app.audio.stop import Stop
from app.audio.structure import Structure, look
from app.audio.wav_flac import CannotRead, SoundfileDecoder
from app.vad.errors import InvalidAudio, InvalidOption, NoAudio, UnsupportedAudio

_NOT_FOR_LIBSNDFILE = (0x50, 0x55)
"""MPEG audio in WAV, layers II and III: it takes the header's estimate for the number of frames."""


class NeedsChild(Exception):
    """A child process has to decode the file."""


def open_decoder(
    source: AudioInput,
    limits: AudioLimits,
    ffmpeg: Path | None,
    stop: Stop | None = None,
    *,
    in_process: bool = False,
) -> Decoder:
    """Open a file by its content, or as it is said to be. Raises `NoAudio`, `UnsupportedAudio`, `InvalidAudio`, and
    `InvalidOption` where what is said is not so.

    `ffmpeg`: None when there is none; then WAV, FLAC and raw samples alone can be read. `stop`: ends the opening from
    another thread. `in_process`: raise `NeedsChild` instead of starting a child process.
    """
    source.on_disk()
    with source.open() as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise NoAudio("the file is empty")
    container = sniff(head)
    if source.raw is not None and not _contradicts(source, head):
        if source.track:
            raise InvalidOption("track", "raw samples have one, number 0")
        return RawDecoder(source.path, source.raw, limits)
    if source.headerless is not None:
        _refuse_header(head, certain=True)
        _refuse_child(in_process)
        coding = source.headerless
        return _by_ffmpeg(source, coding.container, limits, ffmpeg, told=coding.arguments, stop=stop)
    if container is None:
        if mpeg_audio_after_junk(head) is None:
            raise UnsupportedAudio(advice(head))
        _refuse_child(in_process)
        structure = look(source.path, "MP3")
        return _by_ffmpeg(source, "MP3", limits, ffmpeg, structure=structure, told=("-f", "mp3"), stop=stop)
    structure = look(source.path, container)
    if container == "SILK":
        if source.track:
            raise InvalidOption("track", "a SILK file has one, number 0")
        _refuse_child(in_process)
        return SilkDecoder(source.path, limits, structure, stop)
    decoder = _in_process(source, container, structure, limits, ffmpeg)
    if decoder is not None:
        return decoder
    _refuse_child(in_process)
    known = BY_NAME[container]
    told = ("-f", known.demuxers[0]) if known.forced else ()
    return _by_ffmpeg(source, container, limits, ffmpeg, structure=structure, told=told, stop=stop)


def _refuse_child(refused: bool) -> None:
    if refused:
        raise NeedsChild


def _contradicts(source: AudioInput, head: bytes) -> bool:
    """Whether what is said to be raw has a header that says otherwise. Raises `InvalidOption` where it was said by
    name."""
    return _refuse_header(head, certain=source.raw_for_certain)


def _refuse_header(head: bytes, *, certain: bool) -> bool:
    container = container_for_certain(head)
    if container is not None and certain:
        raise InvalidOption("encoding", f"this is a {container} file, which says itself what it holds; leave this out")
    return container is not None


def _in_process(
    source: AudioInput, container: str, structure: Structure, limits: AudioLimits, ffmpeg: Path | None
) -> Decoder | None:
    """WAV and FLAC; None for what ffmpeg reads better, where there is one."""
    if container not in ("WAV", "FLAC"):
        wave = structure.wave
        return None if wave is None or wave.as_declared else _by_hand(source, container, structure, limits)
    if source.track:
        raise InvalidOption("track", f"a {container} file has one, number 0")
    wave = structure.wave
    if wave is not None and not wave.as_declared:
        by_hand = _by_hand(source, container, structure, limits)
        if by_hand is not None or ffmpeg is not None:
            return by_hand
    if wave is not None and wave.format is not None and wave.format.tag in _NOT_FOR_LIBSNDFILE and ffmpeg is not None:
        return None
    try:
        return SoundfileDecoder(source.path, container, limits, structure)
    except CannotRead as error:
        if ffmpeg is None:
            raise InvalidAudio(f"the {container} file cannot be read: {error}") from None
        return None


def _by_hand(source: AudioInput, container: str, structure: Structure, limits: AudioLimits) -> Decoder | None:
    """A WAV whose samples do not lie as its header says; None for a coding that is more than bare samples."""
    wave = structure.wave
    form = None if wave is None or wave.format is None else wave.format.raw_form()
    if wave is None or form is None:
        return None
    return RawDecoder(source.path, form, limits, container=container, ranges=wave.ranges, structure=structure)


def _by_ffmpeg(
    source: AudioInput,
    container: str,
    limits: AudioLimits,
    ffmpeg: Path | None,
    *,
    structure: Structure | None = None,
    told: Sequence[str] = (),
    stop: Stop | None = None,
) -> Decoder:
    if ffmpeg is None:
        raise UnsupportedAudio(f"{container} needs ffmpeg, which is not installed here; WAV and FLAC can be read")
    return open_with_ffmpeg(
        source.path, container, limits, ffmpeg, structure=structure, track=source.track, clock=source.clock,
        told=told, stop=stop,
    )  # fmt: skip
