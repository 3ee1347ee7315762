"""The Bible Retrieval System's file of a text, ``bible.data`` of Debian's package bible-kjv-text.

Behind a header lies what Unix compress makes of the text, an LZW stream that begins anew at every
window of it; no other program is needed to read it. A verse is a line, ``Ge1:1 In the beginning
...``.
"""

import re
import struct
from collections.abc import Mapping

from collapse.data.formats import SourceError
from collapse.data.kinds.files import Files

MAGIC = b"EC02Compressed Data File"
COUNTS = 0x54
"""Where the size of a window and the number of windows stand."""
STREAM = b"\x1f\x9d"
LEAST_BITS, CLEAR = 9, 256
VERSE = re.compile(r"([1-3]?[A-Z][A-Za-z]*)(\d+):\d+ (.*)")
TOKEN = re.compile(r"[a-z]+(?:'[a-z]*)?|[^\sa-z]")
END = "\n"
"""The token behind each verse."""


def read(wanted: Files, files: Mapping[str, bytes]) -> list[list[str]]:
    """Return the chapters in order, each its words in small letters and its marks as tokens.

    A verse ends with the token `END`.
    """
    ((name, content),) = files.items()
    try:
        lines = unpacked(name, content).decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{name}: not a text in ASCII ({error})") from None
    chapters: dict[str, list[str]] = {}
    # The first line is a title.
    for number, line in enumerate(lines[1:], 2):
        verse = VERSE.fullmatch(line)
        if verse is None:
            raise SourceError(f"{name}: line {number} of the text is no verse: {line!r:.60}")
        book, chapter, words = verse.groups()
        tokens = chapters.setdefault(f"{book} {chapter}", [])
        tokens += [*TOKEN.findall(words.lower()), END]
    return list(chapters.values())


def unpacked(name: str, content: bytes) -> bytes:
    """Return the text of a file.

    Raises
    ------
    SourceError
        If it is truncated or has another format.
    """
    if not content.startswith(MAGIC):
        raise SourceError(f"{name}: not a file of the Bible Retrieval System")
    try:
        _, count = struct.unpack_from(">2I", content, COUNTS)
        # The windows' begins, and the end of the last.
        places = struct.unpack_from(f">{count + 1}I", content, COUNTS + 8)
    except struct.error:
        raise SourceError(f"{name}: truncated header") from None
    if len(content) != places[-1]:
        raise SourceError(f"{name}: {len(content)} bytes found, its header says {places[-1]}")
    # A window begins behind the stream's own three bytes.
    begin = places[0] - 3
    if content[begin : begin + 2] != STREAM:
        raise SourceError(f"{name}: no compressed text at byte {begin}")
    try:
        return decompressed(content[begin:])
    except ValueError as error:
        raise SourceError(f"{name}: damaged compressed text ({error})") from None


def decompressed(stream: bytes) -> bytes:
    """Return what Unix compress has packed into a stream (LZW, Welch 1984).

    Codes of 9 bits at first, low bits first, grow as the table does, and come in groups of eight:
    what is left of a group is padding where their size changes or the table is cleared.

    Raises
    ------
    ValueError
        At a code that the table does not hold.
    """
    most, block = stream[2] & 0x1F, bool(stream[2] & 0x80)
    table = [bytes([value]) for value in range(256)] + ([b""] if block else [])
    fresh = len(table)
    found: list[bytes] = []
    size, before = LEAST_BITS, b""
    # In bits: the stream's place, and where the current group of codes began.
    place = begin = 24
    end = 8 * len(stream)
    while place + size <= end:
        byte = place >> 3
        code = int.from_bytes(stream[byte : byte + 4], "little") >> (place & 7) & (1 << size) - 1
        place += size
        if block and code == CLEAR:
            del table[fresh:]
            place, before = _next_group(place, begin, size), b""
            begin, size = place, LEAST_BITS
            continue
        if code < len(table):
            entry = table[code]
        elif code == len(table) and before:
            entry = before + before[:1]
        else:
            raise ValueError(f"code {code} of {len(table)} at bit {place - size}")
        found.append(entry)
        if before and len(table) < 1 << most:
            table.append(before + entry[:1])
        before = entry
        # The packer's table is one entry ahead of this one.
        if len(table) + 1 > 1 << size and size < most:
            place = _next_group(place, begin, size)
            begin, size = place, size + 1
    return b"".join(found)


def _next_group(place: int, begin: int, size: int) -> int:
    """Return where the group of eight codes ends in which a place lies, in bits."""
    return begin - (begin - place) // (8 * size) * 8 * size
