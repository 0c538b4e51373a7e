"""Decodes what libsndfile reads: to the real end of the file, and over damage where it can."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from typing_extensions import override

from slash_infer.audio.byte_window import ByteWindow
from slash_infer.audio.chunk_sizes import Piece, find_pieces
from slash_infer.audio.decoder import BLOCK_FRAMES, Decoder, Frames, seconds_of
from slash_infer.audio.mpeg import find_frames
from slash_infer.audio.ogg import find_links
from slash_infer.audio.quiet import quiet_decoders
from slash_infer.errors import UserError

UNCOUNTED = 1 << 62  # libsndfile's number of frames where there is none is above
PRETENDED = 64  # more than any frame of MPEG audio is longer than another
AFTER_DAMAGE, AFTER_THE_END = 3, 5  # frames of MPEG audio that must follow one another to be taken for audio
TAGS = 1 << 16  # bytes after the audio that are not worth a remark
_W64_LENGTH = re.compile(r"^riff : (\d+) \(should be (\d+)\)", re.MULTILINE)  # what libsndfile logs
FLAC_BEGINNING = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
READ_AHEAD = 1 << 16  # bytes that the FLAC decoder may have read beyond the end of its stream
FIRST_STEP = 0.05  # seconds to skip at damage; doubled until decoding works again


class SndfileDecoder(Decoder):
    """Decodes a file with libsndfile.

    Args:
        path: for messages.
        file: opened for reading.
        size: of the file in bytes.
        start: where its audio begins, if something else stands before.

    Raises:
        soundfile.LibsndfileError: libsndfile does not know its format, or finds it malformed.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int, start: int = 0) -> None:
        self._path, self._file, self._size = path, file, size
        self.remarks = [f"{start:,} bytes at its beginning are not audio"] if start else []
        self._pieces = [Piece(start, size)] if start else self._find_pieces()
        self._first = self._open(self._pieces[0])
        self.rate, self.channels = self._first.rate, self._first.channels
        self._is_mpeg = self._first.sound.format == "MP3"
        self.counted: float | None = None
        if self._is_mpeg:
            self._first = self._open_mpeg(self._pieces[0].start)
        self._count(self._first)
        if len(self._pieces) > 1:
            self.remarks.append(f"holds {len(self._pieces)} recordings, one after another")
        if "Seems to be a truncated file" in self._first.sound.extra_info:  # of VOC files
            self.remarks.append("is cut off at its end")

    @override
    def blocks(self) -> Iterator[Frames]:
        frames = 0
        pieces = self._mpeg_pieces() if self._is_mpeg else self._other_pieces()
        for opened in pieces:
            if opened.rate != self.rate:
                raise UserError(
                    self._path,
                    f"changes from {self.rate} to {opened.rate} Hz at {seconds_of(frames, self.rate)} s",
                    "split it there",
                )
            for block in opened.blocks():
                frames += len(block)
                yield block

    def _find_pieces(self) -> list[Piece]:
        self._file.seek(0)
        if self._file.read(4) == b"OggS":
            links = find_links(self._file, self._size)
            if links.damaged:
                self.remarks.append("has damaged pages")
            if not links.ended:
                self.remarks.append("is cut off at its end")
            ends = [*links.starts[1:], self._size]
            return [Piece(start, end) for start, end in zip(links.starts, ends, strict=True)]
        pieces = find_pieces(self._file, self._size)
        if len(pieces) == 1 and pieces[0].end < self._size:  # decoders would take ages to find that it is zeros
            raise UserError(self._path, "holds no audio", "remove it")
        return pieces

    def _open(self, piece: Piece, pretended: int = 1) -> "_Opened":
        return _Opened(ByteWindow(self._file, piece.start, piece.end, piece.patches, pretended), piece)

    def _count(self, opened: "_Opened") -> None:
        """Add what a header says about its length."""
        if opened.counted is not None:
            self.counted = (self.counted or 0) + opened.counted

    def _other_pieces(self) -> Iterator["_Opened"]:
        opened = self._first
        for piece in self._pieces:
            following = opened if piece is self._pieces[0] else self._following(piece)
            if following is None:
                continue
            opened = following
            if piece.patches and (piece.counted or 0) < 1:
                share = opened.sound.frames * (piece.counted or 0)
                self.remarks.append(
                    f"its header counts {seconds_of(share, self.rate)} of "
                    f"{seconds_of(opened.sound.frames, self.rate)} s"
                )
            yield from self._over_damage(opened)
        yield from self._flac_after(opened)

    def _flac_after(self, opened: "_Opened") -> Iterator["_Opened"]:
        """Yield the FLAC streams that follow in the same file."""
        while opened.sound.format == "FLAC" and not opened.failed:
            start = max(opened.piece.start + 1, opened.window.position - READ_AHEAD)
            self._file.seek(start)
            found = FLAC_BEGINNING.search(self._file.read(2 * READ_AHEAD))
            if found is None:
                return
            following = self._following(Piece(start + found.start(), self._size))
            if following is None:
                return
            self.remarks.append("holds another recording after its end")
            opened = following
            yield opened

    def _following(self, piece: Piece) -> "_Opened | None":
        """Open a recording that follows another one in the file; None if it cannot be decoded."""
        try:
            opened = self._open(piece)
        except soundfile.LibsndfileError as error:
            length = f"{piece.end - piece.start:,} bytes"
            self.remarks.append(f"{length} after a recording in it cannot be decoded ({error.error_string})")
            return None
        self._count(opened)
        return opened

    def _over_damage(self, opened: "_Opened") -> Iterator["_Opened"]:
        """Yield one recording, and it again after every place that cannot be decoded."""
        yield opened
        while opened.failed:
            damaged = opened.position
            opened = self._open(opened.piece)
            step = round(FIRST_STEP * self.rate)
            while damaged + step < opened.sound.frames < UNCOUNTED and not opened.decodes_at(damaged + step):
                opened, step = self._open(opened.piece), 2 * step
            until = min(damaged + step, opened.sound.frames)
            at = seconds_of(damaged, self.rate)
            if not damaged + step < opened.sound.frames < UNCOUNTED:
                self.remarks.append(f"is damaged from {at} s on")
                return
            self.remarks.append(f"{seconds_of(until - damaged, self.rate)} s at {at} s are damaged and left out")
            yield opened

    def _mpeg_pieces(self) -> Iterator["_Opened"]:
        opened = self._first
        frames = 0
        while True:
            yield opened
            frames += opened.position
            reached = opened.window.position
            damaged = opened.position < opened.sound.frames
            following = self._next_mpeg(reached, AFTER_DAMAGE if damaged else AFTER_THE_END)
            at = seconds_of(frames, self.rate)
            if following is None:
                if self._size - reached > TAGS:
                    self.remarks.append(f"{self._size - reached:,} bytes at its end are not audio")
                return
            if damaged:
                self.remarks.append(f"is damaged at {at} s")
            else:
                self.remarks.append(f"goes on after the {at} s that its header counts")
                self._count(following)
            opened = following

    def _next_mpeg(self, start: int, count: int) -> "_Opened | None":
        """Open the next MPEG audio from `start` on, of at least `count` frames, if there is any."""
        while (found := find_frames(self._file, start, self._size, count)) is not None:
            try:
                return self._open_mpeg(found)
            except soundfile.LibsndfileError:  # what looks like frames need not be any
                start = found + 1
        return None

    def _open_mpeg(self, start: int) -> "_Opened":
        """Open MPEG audio. Without a count in its header, libsndfile estimates its length and stops there.

        The estimate grows with the file, so the file is said to be so much longer that it is never too short.
        """
        piece = Piece(start, self._size)
        opened, pretended = self._open(piece), self._open(piece, PRETENDED)
        if pretended.sound.frames == opened.sound.frames:
            return opened
        pretended.counted = None
        return pretended


class _Opened:
    """A part of a file, opened with libsndfile."""

    def __init__(self, window: ByteWindow, piece: Piece) -> None:
        self.window, self.piece = window, piece
        with quiet_decoders():
            self.sound = soundfile.SoundFile(window)
        # soundfile seeks after every read of a seekable file, to where it is; in MP3, libsndfile comes out elsewhere
        self.sound.seekable = lambda: False
        self._raise_disk_error()
        self.rate: int = self.sound.samplerate
        self.channels: int = self.sound.channels
        self.position = 0
        """Frames decoded, from the beginning of the part."""
        self.failed = False
        """Whether the decoder gave up."""
        frames = self.sound.frames
        self.counted: float | None = None if frames >= UNCOUNTED else frames
        corrected = _W64_LENGTH.search(self.sound.extra_info)
        if corrected is not None:
            self.counted = frames * int(corrected[1]) / int(corrected[2])
        if (piece.counted is not None and not piece.patches) or (piece.counted or 0) > 1:
            self.counted = frames * (piece.counted or 1)

    def decodes_at(self, position: int) -> bool:
        """Move to a frame; return whether decoding works there."""
        try:
            with quiet_decoders():
                self.sound.seek(position)
                works = len(self.sound.read(1)) == 1
                self.sound.seek(position)
        except soundfile.LibsndfileError:
            works = False
        self._raise_disk_error()
        self.position = position
        return works

    def blocks(self) -> Iterator[Frames]:
        """Decode up to the end that libsndfile sees, or to damage."""
        while not self.failed and self.position < self.sound.frames:
            wanted = min(BLOCK_FRAMES, self.sound.frames - self.position)
            block = np.full((wanted, self.channels), np.nan, np.float32)
            try:
                with quiet_decoders():
                    count = len(self.sound.read(out=block))
            except soundfile.LibsndfileError:
                self.failed = True
                decoded = ~np.isnan(block).any(axis=1)  # what came before the damage is in the block
                count = len(block) if decoded.all() else int(decoded.argmin())
            self._raise_disk_error()
            if count:
                self.position += count
                yield block[:count]
            elif not self.failed:
                return

    def _raise_disk_error(self) -> None:
        if self.window.error is not None:
            raise self.window.error
