"""Header blocks of SPDY/3: names and values with 32-bit lengths, compressed by zlib with a dictionary.

The compressor's state runs through all blocks of one direction of a connection, so blocks must be read and written in
order. Several values of one name are separated by a zero byte.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from glasshive.cluster.embedded.kubelet.spdy.frames import ProtocolError

BLOCK_LIMIT_BYTES = 1 << 16

# The dictionary of the specification (section 2.6.10.1): words with their 32-bit lengths before them, then plain text.
_WORDS = (
    "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language|accept-ranges|age|allow|"
    "authorization|cache-control|connection|content-base|content-encoding|content-language|content-length|"
    "content-location|content-md5|content-range|content-type|date|etag|expect|expires|from|host|if-match|"
    "if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|location|max-forwards|pragma|"
    "proxy-authenticate|proxy-authorization|range|referer|retry-after|server|te|trailer|transfer-encoding|upgrade|"
    "user-agent|vary|via|warning|www-authenticate|method|get|status|200 OK|version|HTTP/1.1|url|public|set-cookie|"
    "keep-alive|origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(word)) + word.encode() for word in _WORDS.split("|")) + _TEXT.encode()


class HeaderReader:
    """Reads the blocks of one direction, in order."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def read(self, block: bytes) -> dict[str, str]:
        """Names (in lower case) and values of a block. Raises ProtocolError."""
        try:
            plain = self._zlib.decompress(block, BLOCK_LIMIT_BYTES)
        except zlib.error as error:
            raise ProtocolError(f"a header block: {error}") from None
        if self._zlib.unconsumed_tail:
            raise ProtocolError(f"a header block of more than {BLOCK_LIMIT_BYTES} bytes")
        try:
            (count,) = struct.unpack_from(">I", plain, 0)
            found, at = {}, 4
            for _ in range(count):
                name, at = _text(plain, at)
                found[name.lower()], at = _text(plain, at)
        except (struct.error, UnicodeDecodeError) as error:
            raise ProtocolError(f"a header block: {error}") from None
        return found


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", plain, at)
    end = at + 4 + length
    if end > len(plain):
        raise struct.error("a length beyond the end")
    return plain[at + 4 : end].decode(), end


class HeaderWriter:
    """Writes the blocks of one direction, in order."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def write(self, headers: Mapping[str, str]) -> bytes:
        """A block."""
        plain = struct.pack(">I", len(headers))
        for text in (word.encode() for pair in headers.items() for word in pair):
            plain += struct.pack(">I", len(text)) + text
        return self._zlib.compress(plain) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
