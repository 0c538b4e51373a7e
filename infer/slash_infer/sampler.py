"""The generation loop: stitches the tiers together, sample by sample, frame by frame."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from slash_infer.bundle import Bundle
from slash_infer.engine import CpuEngine
from slash_infer.randomness import Uniforms

BLOCK_SECONDS = 0.25  # of audio per block that `stream` yields, rounded to whole frames


class Sampler:
    """Generates a batch of clips from a bundle. Each clip is a function of the bundle, the seed and its number.

    Args:
        bundle: the exported model.
        clips: the numbers of the clips to make side by side.
        seed: chooses the random draws, together with the clip's number.
        temperature: divides the logits; under 1 plays safer, over 1 wilder.
        engine: runs the graphs; made for the bundle when not given.

    Raises:
        UserError: seed or clip number out of range, or the engine cannot load the bundle.
    """

    def __init__(
        self,
        bundle: Bundle,
        clips: Sequence[int] = (0,),
        *,
        seed: int = 0,
        temperature: float = 1.0,
        engine: CpuEngine | None = None,
    ) -> None:
        self._manifest = bundle.manifest
        self._engine = engine or CpuEngine(bundle)
        self._engine.reset(len(clips))
        self._uniforms = Uniforms(seed, clips)
        self._temperature = np.full(len(clips), temperature, np.float32)
        shape = (len(clips), self._manifest.top_frame)
        self._history = np.full(shape, self._manifest.codec.silence, np.int32)  # the last `top` codes
        self._ahead = np.zeros((len(clips), 0), np.int32)  # generated but not yet asked for

    def codes(self, count: int) -> npt.NDArray[np.int32]:
        """Return the next `count` codes of every clip, [clips, count]."""
        frames = [self._ahead]
        missing = count - self._ahead.shape[1]
        while missing > 0:
            frames.append(self._next_frame())
            missing -= self._manifest.top_hop
        made = np.concatenate(frames, axis=1)
        self._ahead = made[:, count:]
        return made[:, :count]

    def stream(self, seconds: float) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the next `seconds` of every clip as blocks of samples in [-1, 1], float32 [clips, samples]."""
        remaining = round(seconds * self._manifest.sample_rate)
        hop = self._manifest.top_hop
        block = max(1, round(BLOCK_SECONDS * self._manifest.sample_rate / hop)) * hop
        while remaining > 0:
            count = min(block, remaining)
            yield self._manifest.codec.decode(self.codes(count))
            remaining -= count

    def generate(self, seconds: float) -> npt.NDArray[np.float32]:
        """Return the next `seconds` of every clip at once, float32 [clips, samples]."""
        return np.concatenate([np.zeros((len(self._history), 0), np.float32), *self.stream(seconds)], axis=1)

    def _next_frame(self) -> npt.NDArray[np.int32]:
        """Take one step of the top tier, and return the codes made, int32 [clips, hop]."""
        self._run(len(self._manifest.frame_tiers), None)
        return self._history[:, -self._manifest.top_hop :]

    def _run(self, k: int, conditioning: npt.NDArray[np.float32] | None) -> None:
        """Step tier k once, and the tier below it r times; the sample tier is k = 0."""
        tier = self._manifest.frame_tiers[k - 1]
        frame = self._history[:, -tier.frame_size :]
        below = self._engine.step(k, frame, conditioning)
        if k > 1:
            for i in range(below.shape[1]):
                self._run(k - 1, below[:, i])
            return
        uniform = self._uniforms.next(tier.hop)
        codes, _ = self._engine.sample(frame, below, uniform, self._temperature)
        self._history = np.concatenate([self._history[:, tier.hop :], codes], axis=1)
