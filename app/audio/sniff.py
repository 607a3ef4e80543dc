"""What container a file is, by its first bytes; never by its name or by what the client says."""

HEAD_BYTES = 64
"""How much of a file `sniff` wants to see."""

_EBML = b"\x1a\x45\xdf\xa3"
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "OGG"),
    (0, b"ID3", "MP3"),
    (0, b"#!AMR", "AMR"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF"),
    (0, b"caff", "CAF"),
    (0, b".snd", "AU"),
    (0, b"riff\x2e\x91\xcf\x11", "W64"),
    (0, b"wvpk", "WAVPACK"),
    (0, b"MAC ", "APE"),
    (0, b"TTA1", "TTA"),
    (0, b"Creative Voice File\x1a", "VOC"),
    (0, b"\x0b\x77", "AC3"),
    (4, b"ftyp", "MP4"),
    (4, b"moov", "MP4"),
    (4, b"mdat", "MP4"),
    (4, b"wide", "MP4"),
    (4, b"free", "MP4"),
)
_FORMS: dict[tuple[bytes, bytes], str] = {
    (b"RIFF", b"WAVE"): "WAV",
    (b"RIFX", b"WAVE"): "WAV",
    (b"RF64", b"WAVE"): "RF64",
    (b"BW64", b"WAVE"): "RF64",
    (b"FORM", b"AIFF"): "AIFF",
    (b"FORM", b"AIFC"): "AIFF",
}


def sniff(head: bytes) -> str | None:
    """The container's name, such as `WAV`, or None when the bytes are of no audio container known here."""
    form = _FORMS.get((head[:4], head[8:12]))
    if form is not None:
        return form
    if head.startswith(_EBML):
        return "WEBM" if b"webm" in head else "MATROSKA"
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    return _mpeg_audio(head)


def _mpeg_audio(head: bytes) -> str | None:
    """A bare MPEG audio or ADTS frame: eleven set bits, then fields that exclude most other bytes."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "AAC" if (head[2] >> 2) & 0xF < 13 else None
    version, layer = (head[1] >> 3) & 3, (head[1] >> 1) & 3
    bitrate, rate = head[2] >> 4, (head[2] >> 2) & 3
    return "MP3" if version != 1 and layer != 0 and bitrate not in (0, 15) and rate != 3 else None
