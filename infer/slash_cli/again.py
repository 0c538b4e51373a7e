"""The command that generates a clip again, for its sidecar."""

import shlex

from slash_infer.clips.spec import ClipSpec, RenderOptions
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.floor import as_floor


def again(bundle: str | None, engine: Engine, options: RenderOptions, spec: ClipSpec, seconds: float) -> str:
    """Return the command that generates one clip of a job again, by itself and as long as it came out.

    Args:
        bundle: its path, as the user named it; None for the one that comes with Slash.
        engine: what ran it.
        options: the job's.
        spec: the clip's.
        seconds: its length.
    """
    words: list[object] = ["slash", "generate", *([] if bundle is None else [bundle])]
    words += ["--out", spec.file.name, "--clip", spec.clip]
    words += ["--seed", options.seed, "--seconds", seconds, "--temperature", spec.temperature]
    words += ["--floor", as_floor(options.floor, engine.manifest.codec.levels)]
    words += ["--candidates", options.candidates] + ["--no-restart"] * (not options.restart)
    words += ["--engine", engine.runtime.name, "--precision", engine.precision]
    if spec.prime is not None:
        prime = spec.prime.source
        words += ["--prime", prime.file, "--prime-start", prime.start, "--prime-seconds", prime.seconds]
    words += ["--include-prime"] * options.include_prime
    words += [] if options.normalise is None else ["--normalise", options.normalise]
    words += [] if options.bits == 16 else ["--bits", options.bits]
    return shlex.join(map(str, words))
