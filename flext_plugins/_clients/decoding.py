"""Decoding of a body that a plugin reads, in memory whose size the service does not choose.

The client libraries decode for the application, which sets no limit to what comes of a few bytes.
"""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flext_plugins._errors import AnswerTooLong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PIECE = 16 * 1024
"""Bytes that are decoded at a time."""
MOST_CODINGS = 5
"""So many content codings may lie on top of each other."""
WINDOW_LOG = 23
"""Memory of Zstandard's decoder, as a power of two: what RFC 9659 lets a service ask for."""
CUT_SHORT = "it is cut short"
GZIP, ZLIB, DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class Undecodable(Exception):
    """It is not encoded as was said."""


class Within:
    """Lets a body of so many bytes pass, and none that is longer: a transformation."""

    def __init__(self, most: int) -> None:
        self._most, self._left = most, most

    def feed(self, chunk: bytes) -> bytes:
        """Give `chunk` back.

        Raises:
            AnswerTooLong: it is too much.
        """
        self._left -= len(chunk)
        if self._left < 0:
            raise too_long(self._most)
        return chunk

    def end(self) -> bytes:
        """Give nothing more."""
        return b""


class Output:
    """The bytes that have come so far, of which there may be `most`."""

    def __init__(self, most: int) -> None:
        self._most, self.data = most, bytearray()

    @property
    def room(self) -> int:
        """So many bytes may be added, and one more, which is too much."""
        return self._most - len(self.data) + 1

    def add(self, data: bytes) -> None:
        """Add what was decoded.

        Raises:
            AnswerTooLong: it is too much.
        """
        self.data += data
        if self.room <= 0:
            raise too_long(self._most)


def too_long(most: int) -> AnswerTooLong:
    """The error of an answer that has more bytes than a plugin may read."""
    return AnswerTooLong(
        f"its answer has more than {most} bytes, as sent or decoded, which is all that plugins may "
        "read (max_plugin_read)"
    )


def without_codings(
    data: bytes, headers: Mapping[str, str], most: int, undecodable: type[Exception]
) -> bytes:
    """The body without its content codings; one that nobody here can undo stays as it is.

    Args:
        data: the body, as it came.
        headers: those of the answer.
        most: the bytes that each of the codings may make of it.
        undecodable: the library's error.

    Raises:
        AnswerTooLong: more than `most` would come of it.
        undecodable: it is not encoded so, or more often than anybody has a reason to.
    """
    names = [each.strip().lower() for each in headers.get("Content-Encoding", "").split(",")]
    if len(names) > MOST_CODINGS:
        raise undecodable(f"more than {MOST_CODINGS} content codings")
    for name in reversed(names):
        decode = DECODERS.get(name)
        if decode is None or not data:
            continue
        output = Output(most)
        try:
            decode(data, output)
        except Undecodable as error:
            raise undecodable(f"not encoded in {name}: {error}") from None
        data = bytes(output.data)
    return data


def _pieces(data: bytes) -> Iterator[bytes]:
    return (data[start : start + PIECE] for start in range(0, len(data), PIECE))


def _inflate(data: bytes, output: Output, form: int) -> None:
    """Undo zlib's compression; what stands behind the end counts only if it is another of gzip's.

    Raises:
        Undecodable: it is none.
    """
    stream, has_ended = zlib.decompressobj(form), False
    for piece in _pieces(data):
        rest = piece
        while rest:
            if stream.eof:
                if form != GZIP:
                    return
                stream, has_ended = zlib.decompressobj(form), True
            try:
                output.add(stream.decompress(rest, output.room))
            except zlib.error as error:
                if has_ended:
                    return
                raise Undecodable(str(error)) from None
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail


def _gzip(data: bytes, output: Output) -> None:
    _inflate(data, output, GZIP)


def _deflate(data: bytes, output: Output) -> None:
    try:
        _inflate(data, output, ZLIB)
    except Undecodable:  # what some services send in its place
        output.data.clear()
        _inflate(data, output, DEFLATE)


def _brotli(module: Any) -> Callable[[bytes, Output], None]:
    def decode(data: bytes, output: Output) -> None:
        stream = module.Decompressor()
        try:
            if not hasattr(stream, "can_accept_more_data"):  # before 1.2 a piece has no limit
                for place in range(len(data)):
                    output.add(stream.process(data[place : place + 1]))
                return
            for piece in _pieces(data):
                output.add(stream.process(piece, output_buffer_limit=output.room))
                while not stream.can_accept_more_data():
                    output.add(stream.process(b"", output_buffer_limit=output.room))
        except module.error as error:
            raise Undecodable(str(error)) from None

    return decode


def _zstandard(module: Any) -> Callable[[bytes, Output], None]:
    def decode(data: bytes, output: Output) -> None:
        decoder = module.ZstdDecompressor(max_window_size=1 << WINDOW_LOG)
        try:
            with decoder.stream_reader(data, read_across_frames=True) as reader:
                while more := reader.read(min(PIECE, output.room)):
                    output.add(more)
            _see_whole(decoder, data)
        except module.ZstdError as error:
            raise Undecodable(str(error)) from None

    return decode


def _see_whole(decoder: Any, data: bytes) -> None:
    """Decode again what is known to be short, as the reader gives of a cut frame what there is.

    Raises:
        Undecodable: the last frame does not end.
    """
    stream = decoder.decompressobj()
    for piece in _pieces(data):
        rest = piece
        while rest:
            if stream.eof:
                stream = decoder.decompressobj()
            stream.decompress(rest)
            rest = stream.unused_data if stream.eof else b""
    if not stream.eof:
        raise Undecodable(CUT_SHORT)


def _zstd(module: Any) -> Callable[[bytes, Output], None]:
    options = {module.DecompressionParameter.window_log_max: WINDOW_LOG}

    def decode(data: bytes, output: Output) -> None:
        stream = module.ZstdDecompressor(options=options)
        try:
            for piece in _pieces(data):
                rest = piece
                while rest or not (stream.eof or stream.needs_input):
                    if stream.eof:
                        stream = module.ZstdDecompressor(options=options)
                    output.add(stream.decompress(rest, output.room))
                    rest = stream.unused_data if stream.eof else b""
            if not stream.eof:
                raise Undecodable(CUT_SHORT)
        except module.ZstdError as error:
            raise Undecodable(str(error)) from None

    return decode


def _with_extras() -> Iterator[tuple[str, Callable[[bytes, Output], None]]]:
    """Yield the decoders of what is installed, by the names of their codings."""
    extras = (
        ("br", "brotli", _brotli),
        ("br", "brotlicffi", _brotli),
        ("zstd", "zstandard", _zstandard),
        ("zstd", "backports.zstd", _zstd),
        ("zstd", "compression.zstd", _zstd),
    )
    for name, module, decoder in extras:
        try:
            yield name, decoder(import_module(module))
        except ImportError:
            continue


DECODERS: dict[str, Callable[[bytes, Output], None]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    **dict(_with_extras()),
}
