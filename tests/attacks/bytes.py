"""Files that no encoder writes, byte by byte."""

import struct
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import islice

_OGG_POLYNOMIAL = 0x04C11DB7


def riff(*chunks: bytes, form: bytes = b"WAVE") -> bytes:
    """A RIFF file of ready chunks."""
    body = form + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunk(name: bytes, content: bytes, length: int | None = None) -> bytes:
    """One chunk; `length` to lie about its length."""
    return name + struct.pack("<I", len(content) if length is None else length) + content


def wave_format(rate: int = 16_000, channels: int = 1, bits: int = 16, tag: int = 1) -> bytes:
    """A `fmt ` chunk."""
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, min(rate * frame, 2**32 - 1), frame, bits))


@cache
def png(side: int) -> bytes:
    """A black square, grey, 8 bits: `side` squared bytes when decoded, a thousandth of that here."""
    squeeze = zlib.compressobj(9)
    row = bytes(1 + side)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


def id3(*frames: bytes) -> bytes:
    """An ID3v2.3 tag."""
    body = b"".join(frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + body


def id3_frame(name: bytes, content: bytes) -> bytes:
    """One of its frames."""
    return name + struct.pack(">IH", len(content), 0) + content


def cover(picture: bytes) -> bytes:
    """A front cover."""
    return id3_frame(b"APIC", b"\x00image/png\x00\x03\x00" + picture)


@cache
def silent_opus(hours: float) -> bytes:
    """Ogg Opus of silence: packets of 120 ms in two bytes each."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48_000, 0, 0)
    tags = b"OpusTags" + struct.pack("<II", 0, 0)
    packets = iter([b"\xfb\x06"] * round(hours * 3600 / 0.12))
    return b"".join(_ogg_pages(head, tags, packets))


def _ogg_pages(head: bytes, tags: bytes, packets: Iterator[bytes]) -> Iterator[bytes]:
    yield _ogg_page([head], 0, 0, 2)
    yield _ogg_page([tags], 0, 1, 0)
    number, position = 2, 0
    while group := list(islice(packets, 255)):
        position += 5_760 * len(group)
        yield _ogg_page(group, position, number, 0)
        number += 1


def _ogg_page(packets: list[bytes], position: int, number: int, flags: int) -> bytes:
    lacing = bytes(len(packet) for packet in packets)
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, position, 1, number, 0) + bytes([len(packets)]) + lacing
    page = head + b"".join(packets)
    return page[:22] + struct.pack("<I", _ogg_checksum(page)) + page[26:]


def _checksum_table() -> list[int]:
    table = []
    for index in range(256):
        value = index << 24
        for _ in range(8):
            value = (value << 1 ^ _OGG_POLYNOMIAL if value & 0x80000000 else value << 1) & 0xFFFFFFFF
        table.append(value)
    return table


_TABLE = _checksum_table()


def _ogg_checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _TABLE[value >> 24 ^ byte]
    return value
