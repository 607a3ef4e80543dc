"""Headers with parameters, as clients write them: what a body is, and what a file is called."""

import re
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import unquote_to_bytes

from starlette.requests import HTTPConnection

from app.api.errors import BadRequest
from app.vad.errors import UnsupportedAudio

_MAX_BOUNDARY_BYTES = 200
"""RFC 2046 allows 70."""
_PARAMETER = re.compile(r";\s*([^\s=;\"]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;]*))")
_ESCAPED = re.compile(r"\\([\"\\])")
_EXTENDED = re.compile(r"([A-Za-z0-9_-]*)'[^']*'(.*)")
_CHARSETS = frozenset({
    "utf-8", "utf8", "us-ascii", "iso-8859-1", "windows-1251", "windows-1252", "gb2312", "gbk", "gb18030", "big5",
    "shift_jis", "euc-jp", "euc-kr",
})  # fmt: skip
"""That a client may name; of the others that Python knows, some are no charsets, and some fail in ways of their own."""
_FORM_ESCAPES = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))
"""What browsers and many clients write for these three, and for nothing else (WHATWG HTML, multipart/form-data)."""


def form_boundary(request: HTTPConnection) -> bytes | None:
    """Between the parts of a form; None for a body that is itself the file.

    Raises `BadRequest` where a form names none, and `UnsupportedAudio` for a multipart body that is no form.
    """
    kind, parameters = parse_header(request.headers.get("content-type", "").encode("latin-1"))
    if kind != "multipart/form-data":
        if kind.startswith("multipart/"):
            raise UnsupportedAudio(
                f"{kind[:40]} is not supported; send multipart/form-data with the file in the form field 'file', or "
                "the file's bytes as the body"
            )
        return None
    boundary = parameters.get("boundary", "").encode()
    if not 0 < len(boundary) <= _MAX_BOUNDARY_BYTES:
        raise BadRequest(
            "the Content-Type multipart/form-data has no boundary; do not set this header by hand, because the HTTP "
            "client adds the boundary"
        )
    return boundary


def parse_header(value: bytes) -> tuple[str, dict[str, str]]:
    """A header's value and its parameters, both names in lower case; the first of several with one name.

    Quoted values may hold anything, `;` and `name=` included. A backslash escapes a quote or a backslash, as curl
    writes them, and else stands for itself, as browsers write it. Text that is not UTF-8 is read as GB 18030, the whole
    of what clients on Chinese Windows write, before it is taken apart: there a backslash may be half a character.
    """
    text = decoded(value)
    kind, parameters, at = text.partition(";")[0], dict[str, str](), text.find(";")
    while at >= 0:
        found = _PARAMETER.match(text, at)
        if found is not None:
            quoted, token = found[2], found[3]
            plain = _ESCAPED.sub(r"\1", quoted) if quoted is not None else token.strip().strip('"')
            parameters.setdefault(found[1].lower(), plain)
        at = text.find(";", at + 1 if found is None else found.end())
    return kind.strip().lower(), parameters


def file_name_of(disposition: bytes) -> str | None:
    """What a Content-Disposition calls a file: `filename*` (RFC 8187) before `filename`, as RFC 6266 has it; None where
    it says nothing."""
    return file_name_in(parse_header(disposition)[1])


def file_name_in(parameters: Mapping[str, str]) -> str | None:
    """The same, of a header that has been taken apart."""
    extended = _EXTENDED.fullmatch(parameters.get("filename*", ""))
    if extended is not None:
        return decoded(unquote_to_bytes(extended[2]), extended[1].lower())
    name = parameters.get("filename")
    if name is not None:
        for escape, meant in _FORM_ESCAPES:
            name = name.replace(escape, meant)
    return name


def decoded(name: bytes, charset: str = "utf-8") -> str:
    """Text in the charset that a client names, in UTF-8, or else in GB 18030; whatever comes, something is read."""
    for encoding in (charset if charset in _CHARSETS else "utf-8", "utf-8", "gb18030"):
        with suppress(UnicodeDecodeError):
            return name.decode(encoding)
    return name.decode(errors="replace")
