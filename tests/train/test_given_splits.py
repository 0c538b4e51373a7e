"""Splits that lists give, or the names of folders."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from slash_infer.errors import UserError
from slash_train.corpus import CorpusManifest
from slash_train.prepare import prepare


def _recordings(folder: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(i).integers(-9000, 9000, 4000).astype(np.int16), 16_000)
    return folder


def _list(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _splits(manifest: CorpusManifest) -> dict[str, str]:
    assert all(len(recording.regions) == 1 for recording in manifest.recordings)
    assert all(recording.regions[0].length == 4000 for recording in manifest.recordings)
    return {recording.name: recording.regions[0].split for recording in manifest.recordings}


def test_lists_name_what_is_held_out(tmp_path: Path) -> None:
    """With as much of a path as it takes; blank lines and a byte order mark mean nothing."""
    source = _recordings(tmp_path / "in", "a.wav", "one/b.wav", "two/b.wav", "c d.flac")
    valid, test = _list(tmp_path / "v", "\ufeffone/b.wav\r\n\n"), _list(tmp_path / "t", "  c d.flac  ")
    splits = _splits(prepare([source], tmp_path / "corpus", valid_list=valid, test_list=test))
    assert splits == {"in/a.wav": "train", "one/b.wav": "valid", "two/b.wav": "train", "in/c d.flac": "test"}


def test_one_list_leaves_the_other_split_empty(tmp_path: Path) -> None:
    source = _recordings(tmp_path / "in", "a.wav", "b.wav", "c.wav")
    manifest = prepare([source], tmp_path / "corpus", test_list=_list(tmp_path / "t", "b.wav"))
    assert _splits(manifest) == {"a.wav": "train", "b.wav": "test", "c.wav": "train"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.wav\nx.wav", "v: line 2: 'x.wav' is none of the recordings; correct it, or take it out"),
        ("b.wav", "v: line 1: 'b.wav' is the end of 2 recordings' paths; write more of its path"),
        ("a.wav\n\na.wav", "v: line 3: 'a.wav' is listed already; list it once"),
        ("..", "v: line 1: '..' is none of the recordings"),
        ("/", "v: line 1: '/' is none of the recordings"),
        ("a.wav\none/b.wav\ntwo/b.wav", "nothing is left to train on; leave some for it, or give `valid` and `test`"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path: Path, text: str, says: str) -> None:
    source = _recordings(tmp_path / "in", "a.wav", "one/b.wav", "two/b.wav")
    with pytest.raises(UserError, match=f".*{re.escape(says)}"):
        prepare([source], tmp_path / "corpus", valid_list=_list(tmp_path / "v", text))
    assert not (tmp_path / "corpus").exists()


def test_a_recording_in_both_lists_is_refused(tmp_path: Path) -> None:
    source, name = _recordings(tmp_path / "in", "a.wav", "b.wav"), "a.wav"
    with pytest.raises(UserError, match=r"t: line 1: 'a.wav' is listed already"):
        prepare(
            [source],
            tmp_path / "corpus",
            valid_list=_list(tmp_path / "v", name),
            test_list=_list(tmp_path / "t", name),
        )


@pytest.mark.parametrize("kind", ["missing", "a folder", "no text"])
def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path, kind: str) -> None:
    source, path = _recordings(tmp_path / "in", "a.wav"), tmp_path / "list"
    if kind == "a folder":
        path.mkdir()
    elif kind == "no text":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=f"{path}: (no such file|.*plain file|is not UTF-8 text)"):
        prepare([source], tmp_path / "corpus", valid_list=path)


def test_lists_and_fractions_exclude_each_other(tmp_path: Path) -> None:
    source = _recordings(tmp_path / "in", "a.wav", "b.wav")
    with pytest.raises(UserError, match=r"`valid` 0\.0: cannot be combined with lists"):
        prepare([source], tmp_path / "corpus", valid=0.0, test_list=_list(tmp_path / "t", "a.wav"))


def test_the_same_audio_in_two_splits_is_refused(tmp_path: Path) -> None:
    source = _recordings(tmp_path / "in", "a.wav", "b.wav")
    (source / "c.wav").write_bytes((source / "a.wav").read_bytes())
    with pytest.raises(UserError, match=r"c\.wav: is for test, and holds the same audio as .*a\.wav, for train; put"):
        prepare([source], tmp_path / "corpus", test_list=_list(tmp_path / "t", "c.wav"))


@pytest.mark.parametrize("name", ["in", "test"])
def test_folders_called_after_splits(tmp_path: Path, name: str) -> None:
    """In a source, whatever that is called itself; and it is said."""
    source, said = (
        _recordings(tmp_path / name, "train/a.wav", "train/deep/valid/b.wav", "valid/c.wav", "test/d.wav"),
        list[str](),
    )
    splits = _splits(prepare([source], tmp_path / "corpus", say=said.append))
    assert splits == {"a.wav": "train", "b.wav": "train", "c.wav": "valid", "d.wav": "test"}
    assert said == ["split as the folders are called: train, valid and test"]


def test_folders_called_after_splits_are_sources_themselves_or_around_files(tmp_path: Path) -> None:
    source = _recordings(tmp_path / "in", "train/a.wav", "train/deep/b.wav", "valid/c.wav", "test/d.wav")
    splits = _splits(prepare([source / "train", source / "valid/c.wav", source / "test"], tmp_path / "corpus"))
    assert splits == {"a.wav": "train", "b.wav": "train", "c.wav": "valid", "d.wav": "test"}


def test_a_list_in_the_corpus_that_it_would_replace_is_refused(tmp_path: Path) -> None:
    source = _recordings(tmp_path / "in", "a.wav", "b.wav")
    prepare([source], tmp_path / "corpus", valid=0, test=0)
    held_out = _list(tmp_path / "corpus" / "list", "a.wav")
    with pytest.raises(UserError, match="holds"):
        prepare([source], tmp_path / "corpus", test_list=held_out, force=True)
    assert held_out.exists()


@pytest.mark.parametrize(
    "names", [["train/a.wav", "train/b.wav", "train/c.wav"], ["train/a.wav", "test/b.wav", "c.wav"]]
)
def test_folders_that_leave_something_open_say_nothing(tmp_path: Path, names: list[str]) -> None:
    """All in one, or a recording in none."""
    source = _recordings(tmp_path / "in", *names)
    splits = _splits(prepare([source], tmp_path / "corpus"))
    assert sorted(splits.values()) == ["test", "train", "valid"]


def test_fractions_that_are_given_go_before_folders(tmp_path: Path) -> None:
    source = _recordings(tmp_path / "in", "train/a.wav", "test/b.wav")
    assert set(_splits(prepare([source], tmp_path / "corpus", valid=0, test=0)).values()) == {"train"}
