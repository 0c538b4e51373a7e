"""Which files hold audio, by their names and by their first bytes."""

SNDFILE_SUFFIXES: dict[str, tuple[str, ...]] = {  # by libsndfile's names of formats
    "AIFF": (".aif", ".aiff", ".aifc"),
    "AU": (".au", ".snd"),
    "AVR": (".avr",),
    "CAF": (".caf",),
    "FLAC": (".flac",),
    "HTK": (".htk",),
    "IRCAM": (".sf",),
    "MP3": (".mp1", ".mp2", ".mp3", ".mpa"),
    "MPC2K": (),  # a sampler's .snd
    "NIST": (".nist", ".sph"),
    "OGG": (".ogg", ".oga", ".opus"),
    "PAF": (".paf", ".fap"),
    "PVF": (".pvf",),
    "RF64": (".rf64", ".bw64"),
    "SD2": (".sd2",),
    "SVX": (".svx", ".8svx"),
    "VOC": (".voc",),
    "W64": (".w64",),
    "WAV": (".wav", ".wave", ".bwf"),
    "WAVEX": (".wavex",),
    "WVE": (".wve",),
    "XI": (".xi",),
    "MAT4": (),  # numbers of any kind: never searched for
    "MAT5": (),
    "RAW": (),  # no header says what it is
    "SDS": (),  # refused
}
# fmt: off
LIBAV_SUFFIXES = frozenset({
    ".3g2", ".3gp", ".aac", ".ac3", ".adts", ".aax", ".alac", ".amr", ".ape", ".asf", ".avi", ".dff", ".dsf",
    ".dts", ".dv", ".eac3", ".f4a", ".f4v", ".flv", ".m2ts", ".m4a", ".m4b", ".m4p", ".m4r", ".m4v", ".mka",
    ".mkv", ".mov", ".mp4", ".mpc", ".mpeg", ".mpg", ".mts", ".ogm", ".ogv", ".qt", ".ra", ".rm", ".shn",
    ".tak", ".tta", ".vob", ".weba", ".webm", ".wma", ".wmv", ".wv",
})
# fmt: on
"""What PyAV is needed for."""
SUFFIXES = frozenset(suffix for of_format in SNDFILE_SUFFIXES.values() for suffix in of_format) | LIBAV_SUFFIXES
SNIFFED = 12
"""First bytes of a file that `sounds` wants to see."""

_MAGIC = (b"fLaC", b"OggS", b"caff", b".snd", b"ID3", b"riff\x2e\x91\xcf\x11", b"Creative Voice", b"NIST_1A", b"2BIT")


def sounds(beginning: bytes) -> bool:
    """Return whether a file that begins so is a recording, whatever its name."""
    container, kind = beginning[:4], beginning[8:12]
    if container in {b"RIFF", b"RIFX", b"RF64", b"BW64"}:
        return kind == b"WAVE"
    if container == b"FORM":
        return kind in {b"AIFF", b"AIFC", b"8SVX", b"16SV"}
    return any(beginning.startswith(magic[:SNIFFED]) for magic in _MAGIC)
