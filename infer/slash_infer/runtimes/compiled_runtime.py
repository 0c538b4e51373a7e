"""The engine `compiled`: a model as one function, compiled for this machine's processor."""

import ctypes

import numpy as np
from typing_extensions import override

from slash_infer.bundle import Bundle, Precision
from slash_infer.errors import UserError
from slash_infer.runtimes.compiled_library import Batch, Library, pointers
from slash_infer.runtimes.compiled_weights import PackedModel
from slash_infer.runtimes.cpu_cores import cores_to_use
from slash_infer.runtimes.generated import Generated
from slash_infer.runtimes.generation_state import Float32, GenerationState, Int32
from slash_infer.runtimes.protocol import Model, Runner, Runtime
from slash_infer.runtimes.uniform_block import Uniform

ROWS_PER_THREAD = 2
PREFILLED = 1 << 14  # samples of all clips that are given at once: a signal waits for them


class Compiled(Runtime):
    """Slash's C code on the CPU.

    Args:
        cores: how many to use at most; those this process may use, up to 8, when not given.

    Raises:
        Unavailable: there is no C compiler, or it fails.
        UserError: `cores` is not from 1 to 1024, or the cache cannot be used.
    """

    name = "compiled"
    precisions: tuple[Precision, ...] = ("int8", "fp32")
    clips_together = 16

    def __init__(self, cores: int | None = None) -> None:
        self._cores = cores_to_use(cores)
        self._library = Library()

    @property
    @override
    def description(self) -> str:
        return "C compiled for this processor"

    @override
    def threads(self, clips: int, width: int) -> int:
        return max(1, min(self._cores, clips // ROWS_PER_THREAD))

    @override
    def batch_multiple(self, precision: Precision, width: int) -> int:
        return 1  # a clip is computed in the same order whatever the others are

    @override
    def open(self, bundle: Bundle, precision: Precision) -> "CompiledModel":
        return CompiledModel(bundle, precision, self._library)


class CompiledModel(Model):
    """A model whose weights are packed for the library.

    Args:
        bundle: whose model to run.
        precision: of the weights.
        library: runs it.

    Raises:
        UserError: the bundle has no such precision, or the model does not fit.
    """

    def __init__(self, bundle: Bundle, precision: Precision, library: Library) -> None:
        width, lanes = bundle.manifest.width, library.lanes
        if width % lanes:
            fault = f"has a width of {width}, and the engine compiled needs a multiple of {lanes}"
            raise UserError(bundle.path, fault, "use `engine` cpu")
        self.bundle, self.functions = bundle, library
        self.packed = PackedModel(bundle, precision, library.tile)

    @override
    def most_clips(self, clips: int) -> int:
        return clips

    @override
    def runner(self, state: GenerationState) -> "CompiledRunner":
        return CompiledRunner(self, state)


class CompiledRunner(Runner):
    """A batch of clips, and the memory that steps are computed in.

    Args:
        opened: the model.
        state: to begin in.
    """

    def __init__(self, opened: CompiledModel, state: GenerationState) -> None:
        self._opened, manifest = opened, opened.bundle.manifest
        self.clips, self.hop = len(state.history), manifest.top_hop
        self._tiers, sizes = manifest.frame_tiers, opened.packed.upsampled
        self._upsampled = [np.zeros((self.clips, size), np.float32) for size in sizes]
        self._strides = np.array(sizes, np.int64)
        scratch = [np.zeros((self.clips, opened.packed.model.stride), np.float32) for _ in range(3)]
        self._scratch = dict(zip("xyz", scratch, strict=True))
        self.set_state(state)

    @override
    def state(self) -> GenerationState:
        rnn_states = [
            {name: array.copy() for name, array in zip(tier.state_names, (h, c), strict=False)}
            for tier, h, c in zip(self._tiers, self._h, self._c, strict=True)
        ]
        return GenerationState(self._history.copy(), rnn_states)

    @override
    def set_state(self, state: GenerationState) -> None:
        self._history = state.history.copy()
        self._h = [np.array(tier["h"], np.float32, order="C") for tier in state.rnn_states]
        self._c = [
            np.array(tier.get("c", np.zeros_like(tier["h"])), np.float32, order="C") for tier in state.rnn_states
        ]

    @override
    def generate(self, uniform: Uniform, temperature: Float32, floor: float) -> Generated:
        steps = temperature.shape[1]
        codes = self._with_history(np.zeros((self.clips, steps * self.hop), np.int32))
        nll = np.zeros((self.clips, steps * self.hop), np.float32)
        self._run(
            codes,
            np.ascontiguousarray(uniform, np.float32),
            np.ascontiguousarray(temperature, np.float32),
            nll,
            floor,
        )
        return Generated(codes[:, self._history.shape[1] :].copy(), nll)

    @override
    def prefill(self, codes: Int32) -> None:
        at_once = max(1, PREFILLED // self.clips // self.hop) * self.hop
        for first in range(0, codes.shape[1], at_once):
            self._run(self._with_history(codes[:, first : first + at_once]), None, None, None, 0.0)

    def _with_history(self, codes: Int32) -> Int32:
        return np.ascontiguousarray(np.concatenate([self._history, codes], axis=1), np.int32)

    def _run(
        self,
        codes: Int32,
        uniform: Float32 | None,
        temperature: Float32 | None,
        nll: Float32 | None,
        floor: float,
    ) -> None:
        """Step over all codes behind the history, which are drawn if there are uniforms."""
        known = self._history.shape[1]
        times = codes.shape[1] - known
        arrays = {"codes": codes, "uniform": uniform, "temperature": temperature, "nll": nll, **self._scratch}
        lists = [pointers([array.ctypes.data for array in one]) for one in (self._h, self._c, self._upsampled)]
        batch = Batch(
            **{name: None if array is None else array.ctypes.data for name, array in arrays.items()},
            **dict(zip(("h", "c", "upsampled"), map(ctypes.addressof, lists), strict=True)),
            upsampled_stride=self._strides.ctypes.data,
            codes_stride=codes.shape[1],
            at=known,
            first=known,
            rows=self.clips,
            times=times,
            steps=times // self.hop,
            floor=floor,
        )
        self._opened.functions.generate(self._opened.packed.model, batch)
        self._history = codes[:, codes.shape[1] - known :].copy()
