"""Generates a batch of clips: uniforms in, audio out, the clips shared out among players."""

import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from slash_infer.bundle import Bundle
from slash_infer.choice import open_engine
from slash_infer.engine import Engine
from slash_infer.errors import UserError
from slash_infer.randomness import Uniforms

BLOCK_SECONDS = 0.25  # of audio per block that `stream` yields, rounded to whole frames


class Sampler:
    """Generates a batch of clips from a bundle. Each clip is a function of the bundle, the seed and its number.

    Args:
        bundle: the exported model.
        clips: the numbers of the clips to make side by side.
        seed: chooses the random draws, together with the clip's number.
        temperature: divides the logits; under 1 plays safer, over 1 wilder.
        engine: runs the graphs; the best one at hand when not given.

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
        engine: Engine | None = None,
    ) -> None:
        self._manifest = bundle.manifest
        engine = engine or open_engine(bundle).engine
        shares = engine.shares(len(clips))
        self._players = [engine.player(share) for share in shares]
        weakref.finalize(self, engine.take_back, self._players)
        self._threads = ThreadPoolExecutor(len(shares)) if len(shares) > 1 else None
        self._borders = np.cumsum(shares)[:-1]
        for player, share in zip(self._players, shares, strict=True):
            player.set_temperature(np.full(share, temperature, np.float32))
        self._uniforms = Uniforms(seed, clips)
        self._ahead = np.zeros((len(clips), 0), np.int32)  # generated but not yet asked for

    def codes(self, count: int) -> npt.NDArray[np.int32]:
        """Return the next `count` codes of every clip, [clips, count]."""
        missing = count - self._ahead.shape[1]
        steps = max(0, -(-missing // self._manifest.top_hop))
        made = np.concatenate([self._ahead, self._play(steps)], axis=1) if steps else self._ahead
        if made.max(initial=0) >= self._manifest.codec.levels:
            raise UserError("the bundle's graphs draw codes that its codec does not have; export the bundle again")
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
        return np.concatenate([np.zeros((len(self._ahead), 0), np.float32), *self.stream(seconds)], axis=1)

    def _play(self, steps: int) -> npt.NDArray[np.int32]:
        """Take some steps of the top tier, every player with its share of the clips."""
        uniforms = np.split(self._uniforms.next(steps * self._manifest.top_hop), self._borders)
        if self._threads is None:
            return self._players[0].play(uniforms[0])
        played = self._threads.map(lambda player, uniform: player.play(uniform), self._players, uniforms)
        return np.concatenate(list(played))
