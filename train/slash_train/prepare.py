"""Makes a corpus from recordings, block by block: memory does not grow with the corpus.

There are two passes. The first decodes every recording into a temporary float32 file and measures it; the second
applies one gain to all recordings and writes int16.
"""

import hashlib
import io
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from slash_infer.arguments import check_choice
from slash_infer.codec import to_pcm16
from slash_infer.errors import Argument, UserError
from slash_infer.files import atomic_directory, check_directory_output, write_json
from slash_train.choices import Channel, Scale, Split
from slash_train.corpus import MADE_BY, MANIFEST, SAMPLES, CorpusManifest, LeftOutRecording, Recording, Region
from slash_train.finding import LeftOut, find_recordings, together
from slash_train.given_splits import folder_splits, listed_splits
from slash_train.measurement import DriftRemover, Measurement
from slash_train.recordings import decode
from slash_train.screening import check, check_loudest, drowned, remarks
from slash_train.splits import divide

TARGET_PEAK = 10 ** (-1 / 20)  # the loudest sample of the corpus ends up at -1 dBFS
HELD_OUT = 0.1  # for validation, and again for testing
SILENT_PEAK = 10 ** (-120 / 20)  # below this, a recording is nothing but rounding noise
QUIETEST = 1e-10  # of full scale: the least level that is told apart from none
COPY_SAMPLES = 1 << 20

Advance = Callable[[str, int], None]
"""Called with the name of each recording once it has been decoded, and the number of all recordings."""


@dataclass(frozen=True)
class _Decoded:
    """A recording in the temporary file of decoded samples."""

    path: Path
    start: int
    """In samples."""
    measured: Measurement
    """As it was written."""
    remarks: list[str]


def prepare(
    sources: Sequence[Path],
    out: Path,
    *,
    sample_rate: int = 16_000,
    channel: Channel = "mix",
    valid: float | None = None,
    test: float | None = None,
    valid_list: Path | None = None,
    test_list: Path | None = None,
    scale: Scale = "corpus",
    remove_dc: bool = False,
    skip_bad: bool = False,
    force: bool = False,
    advance: Advance = lambda *_: None,
    left_out: Callable[[LeftOut], object] = lambda _: None,
    say: Callable[[str], object] = lambda _: None,
) -> CorpusManifest:
    """Make the corpus `out` from audio files and folders.

    Args:
        sources: files, and folders to search for files.
        out: the directory to make. It appears complete, or not at all.
        sample_rate: sample rate of the corpus in Hz.
        channel: how several channels are reduced to one.
        valid: fraction to hold out for validation, 0 for none; 0.1 unless lists or folders say.
        test: fraction to hold out for testing, likewise.
        valid_list: names the recordings for validation, one a line; all that is in neither list is for training.
        test_list: names those for testing, likewise. Without lists and fractions, folders called train, valid and
            test are taken for the splits, if all recordings are in such.
        scale: `corpus` for one gain, by which the loudest recording nearly fills the range. `recording` maps the
            range of every recording that is not silent to that from -1 to 1, as published experiments do: where its
            halves are uneven, its silence is then no longer at 0, and is not heard as a pause.
        remove_dc: take out offsets from zero, and what else changes slower than about once a second.
        skip_bad: leave out recordings that cannot be used; otherwise one is enough to fail.
        force: replace an existing corpus at `out`.
        advance: called after each recording.
        left_out: called with everything in the sources that did not go into the corpus.
        say: told, in one line, what decides the splits, if nothing that was asked for does.

    Returns:
        the manifest, as written to `corpus.json`.

    Raises:
        UserError: a fraction or the rate is out of range, a list names what is not there, there are no recordings,
            or some that cannot be used (it names them all), all are silent, or `out` exists.
    """
    check_choice("scale", scale, get_args(Scale))
    shares = _shares(valid, test)
    named: tuple[tuple[Split, Path | None], ...] = (("valid", valid_list), ("test", test_list))
    lists = {split: file for split, file in named if file is not None}
    for fraction, value in (("valid", valid), ("test", test)):
        if lists and value is not None:
            raise UserError(Argument(fraction, value), "cannot be combined with lists", "leave it or them out")
    if not 1000 <= sample_rate <= 192_000:
        raise UserError(Argument("sample_rate", sample_rate), "must be from 1000 to 192000 Hz")
    found = find_recordings(sources)
    paths = found.recordings
    given = listed_splits(paths, lists) if lists else None
    if given is None and valid is None and test is None:
        given = folder_splits(paths, sources)
        if given is not None:
            say("split as the folders are called: train, valid and test")
    check_directory_output(out, force=force, metadata=MANIFEST, made_by=MADE_BY, inputs=[*paths, *lists.values()])
    faults = list(found.faults)
    with atomic_directory(out, force=force, metadata=MANIFEST, made_by=MADE_BY) as folder:
        temporary = folder / "decoded.float32"
        decoded: list[_Decoded] = []
        with temporary.open("wb") as sink:
            for path in paths:
                start = sink.tell()
                try:
                    measured, remarks = _decode_and_measure(path, sample_rate, channel, remove_dc, sink.write)
                    decoded.append(_Decoded(path, start // 4, measured, remarks))
                except UserError as fault:
                    faults.append(fault)
                    sink.seek(start)
                    sink.truncate()
                advance(path.name, len(paths))
        (_leave_out_too_loud if scale == "corpus" else _leave_out_too_loud_in_part)(decoded, faults)
        if faults and not (skip_bad and decoded):
            raise together(faults)
        peak = max(d.measured.peak for d in decoded)
        if peak < SILENT_PEAK:
            raise UserError(sources[0], "every recording is silent", "nothing can be learned from it")
        gain = TARGET_PEAK / peak
        lines = [(gain, 0.0) if scale == "corpus" else _to_its_range(d.measured) for d in decoded]
        sha256 = _write_pcm(temporary, folder / SAMPLES, decoded, lines)
        temporary.unlink()
        manifest = CorpusManifest(
            sample_rate=sample_rate,
            channel=channel,
            scale=scale,
            gain_db=float(20 * np.log10(gain)) if scale == "corpus" else None,
            offsets_removed=remove_dc and scale == "corpus",  # the other moves zero
            samples_sha256=sha256,
            recordings=_describe(decoded, sample_rate, shares, given),
            left_out=tuple(LeftOutRecording(name=_text(str(f.subject)), why=f.fault) for f in faults),
        )
        if manifest.length("train") == 0:
            remedy = "lower `valid` and `test`" if given is None else "leave some for it, or give `valid` and `test`"
            raise UserError(sources[0], "nothing is left to train on", remedy)
        write_json(folder / MANIFEST, manifest.model_dump())
    for file in found.left_out:
        left_out(file)
    for each in faults:
        left_out(LeftOut(Path(str(each.subject)), each.fault))
    return manifest


def _decode_and_measure(
    path: Path, sample_rate: int, channel: Channel, remove_dc: bool, write: Callable[[bytes], int]
) -> tuple[Measurement, list[str]]:
    """Decode, check and write one recording; return its measures as written, and what is odd about it."""
    found, written = Measurement(sample_rate), Measurement(sample_rate)
    remover = DriftRemover(sample_rate)
    for block in decode(path, sample_rate, channel, found.stats):
        found.add(block)
        if not remove_dc:
            write(block.tobytes())
            continue
        for part in remover.add(block):
            written.add(part)
            write(part.tobytes())
    found.finish()
    if found.length == 0:
        raise UserError(path, f"is shorter than one sample at {sample_rate} Hz", "remove it")
    check(path, found, remove_dc=remove_dc)
    if not remove_dc:
        return found, remarks(found)
    for part in remover.finish():
        written.add(part)
        write(part.tobytes())
    written.finish()
    written.stats = found.stats
    return written, remarks(found)


def _leave_out_too_loud(decoded: list[_Decoded], faults: list[UserError]) -> None:
    """Take those recordings out of `decoded` that are so loud that others would be lost; add what is wrong."""
    while decoded:
        loudest = max(decoded, key=lambda d: d.measured.peak)
        peak = loudest.measured.peak
        lost = drowned([d.measured for d in decoded], TARGET_PEAK / peak) if peak >= SILENT_PEAK else []
        try:
            check_loudest(loudest.path, peak, [decoded[i].path for i in lost])
        except UserError as fault:
            faults.append(fault)
            decoded.remove(loudest)
        else:
            return


def _leave_out_too_loud_in_part(decoded: list[_Decoded], faults: list[UserError]) -> None:
    """Take those recordings out of `decoded` most of which would be lost under their own peaks; add what is wrong."""
    for each in list(decoded):
        if drowned([each.measured], _to_its_range(each.measured)[0]):
            try:
                check_loudest(each.path, each.measured.peak, [each.path])
            except UserError as fault:
                faults.append(fault)
                decoded.remove(each)


def _shares(valid: float | None, test: float | None) -> tuple[float, float]:
    """Return the fractions to hold out, the default where none is given."""
    shares = (HELD_OUT if valid is None else valid, HELD_OUT if test is None else test)
    if not (0 <= shares[0] < 1 and 0 <= shares[1] < 1 and sum(shares) < 1):
        raise UserError(
            Argument("valid", f"{shares[0]} `test` {shares[1]}"), "each must be at least 0 and both together under 1"
        )
    return shares


def _regions(
    decoded: Sequence[_Decoded], names: Sequence[str], shares: tuple[float, float], given: Mapping[Path, Split] | None
) -> list[list[Region]]:
    """Return the regions of every recording: whole ones where splits are given.

    Raises:
        UserError: two splits that are given hold the same audio.
    """
    contents = [d.measured.stats.sha256 for d in decoded]
    if given is None:
        return divide(names, [d.measured.length for d in decoded], *shares, contents)
    regions, first = [], dict[str, _Decoded]()
    for d, content in zip(decoded, contents, strict=True):
        original = first.setdefault(content, d)
        if given[original.path] != given[d.path]:
            fault = f"is for {given[d.path]}, and holds the same audio as {original.path}, for {given[original.path]}"
            raise UserError(d.path, fault, "put both into one split")
        regions.append([Region(split=given[d.path], start=d.start, length=d.measured.length)])
    return regions


def _describe(
    decoded: Sequence[_Decoded], sample_rate: int, shares: tuple[float, float], given: Mapping[Path, Split] | None
) -> tuple[Recording, ...]:
    names = _names([d.path for d in decoded])
    contents = [d.measured.stats.sha256 for d in decoded]
    first = dict(zip(reversed(contents), reversed(names), strict=True))
    recordings = []
    for name, d, regions in zip(names, decoded, _regions(decoded, names, shares, given), strict=True):
        said, original = list(d.remarks), first[d.measured.stats.sha256]
        if original != name:
            said.append(f"the same audio as {original}, so in the same split")
        recordings.append(
            Recording(
                name=name,
                sha256=d.measured.stats.sha256,
                source_rate=d.measured.stats.rate,
                peak=d.measured.peak,
                level_db=float(20 * np.log10(max(d.measured.level, QUIETEST))),
                clipped=d.measured.stats.clipped,
                silent_seconds=d.measured.silent_samples / sample_rate,
                remarks=tuple(said),
                regions=tuple(regions),
            )
        )
    return tuple(recordings)


def _to_its_range(measured: Measurement) -> tuple[float, float]:
    """Return the gain and the offset by which a recording comes to fill the range from -1 to 1; silence stays."""
    width = measured.highest - measured.lowest
    if width < SILENT_PEAK:
        return 1.0, 0.0
    return 2 / width, -1 - 2 * measured.lowest / width


def _write_pcm(temporary: Path, out: Path, decoded: Sequence[_Decoded], lines: Sequence[tuple[float, float]]) -> str:
    """Scale recordings in a file of float32 by their gains, and add their offsets; write an int16 .npy file.

    Returns:
        its SHA-256.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i2", "fortran_order": False, "shape": (sum(d.measured.length for d in decoded),)}
    )
    digest = hashlib.sha256(header.getvalue())
    with temporary.open("rb") as source, out.open("wb") as target:
        target.write(header.getvalue())
        for recording, (gain, offset) in zip(decoded, lines, strict=True):
            source.seek(4 * recording.start)
            for first in range(0, recording.measured.length, COPY_SAMPLES):
                block = np.fromfile(source, np.float32, min(COPY_SAMPLES, recording.measured.length - first))
                pcm = to_pcm16(block * gain + offset).astype("<i2").tobytes()
                digest.update(pcm)
                target.write(pcm)
    return digest.hexdigest()


def _names(paths: Sequence[Path]) -> list[str]:
    """Name recordings by file name, with as many parent folders as it takes to make the names unique."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return _distinct([_text(name) for name in names])


def _text(name: str) -> str:
    """Return a file name as text: the bytes of old ones may not be valid UTF-8."""
    return os.fsencode(name).decode("utf-8", errors="replace")


def _distinct(names: Sequence[str]) -> list[str]:
    """Number the names that are the same as one before."""
    distinct: dict[str, None] = {}
    for name in names:
        numbered = (f"{name} ({count})" for count in itertools.count(2))
        distinct[next(each for each in itertools.chain([name], numbered) if each not in distinct)] = None
    return list(distinct)
