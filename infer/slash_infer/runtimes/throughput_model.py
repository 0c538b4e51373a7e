"""A model on the kernels for many clips: its weights are loaded once, kernels are compiled as batches need them."""

from threading import Lock
from typing import Generic

from slash_infer.runtimes.cluster_kernel import KernelDevice, StageKernel
from slash_infer.runtimes.generation_state import GenerationState
from slash_infer.runtimes.kernel_weights import GATES, TILE, KernelWeights
from slash_infer.runtimes.protocol import A
from slash_infer.runtimes.throughput_plan import CLIP_TILE, MOST_OF_A_BLOCK, MOST_OF_A_WARP, ROW_TILES, Shape
from slash_infer.runtimes.throughput_runner import LoadedWeights, ThroughputRunner


class ThroughputModel(Generic[A]):
    """A model on the kernels of `throughput.cu`.

    Args:
        device: runs the kernels.
        weights: of the model.
    """

    def __init__(self, device: KernelDevice[A], weights: KernelWeights) -> None:
        self._device, self.weights = device, weights
        self._loaded: LoadedWeights[A] | None = None
        self._kernels: dict[tuple[int, int], StageKernel] = {}
        self._lock = Lock()  # runners are asked for on several threads

    @property
    def fits(self) -> bool:
        """Whether the smallest block has enough shared memory."""
        return self._fits(self._shape(CLIP_TILE, CLIP_TILE))

    def runner(self, state: GenerationState) -> ThroughputRunner[A]:
        """Return a runner for as many clips as `state` has, in that state."""
        shape = self.shape_for(len(state.history))
        key = shape.clips, shape.product_clips
        with self._lock:
            if self._loaded is None:
                self._loaded = LoadedWeights(self._device, self.weights)
            if key not in self._kernels:
                self._kernels[key] = self._device.stage_kernel(shape)
        return ThroughputRunner(self._device, shape, self._kernels[key], self._loaded, state)

    def shape_for(self, clips: int) -> Shape:
        """Return blocks of the sample tier that run at the same time, and products for all processors' warps."""
        processors, rows = self._device.processors, GATES * self.weights.width // (TILE * ROW_TILES)
        of_block = of_warp = CLIP_TILE
        while of_block < MOST_OF_A_BLOCK and clips > of_block * processors:
            if not self._fits(self._shape(2 * of_block, CLIP_TILE)):
                break
            of_block *= 2
        while of_warp < MOST_OF_A_WARP and rows * clips // (2 * of_warp) >= processors * self._device.threads // 32:
            if not self._fits(self._shape(of_block, 2 * of_warp)):
                break
            of_warp *= 2
        return self._shape(of_block, of_warp)

    def _fits(self, shape: Shape) -> bool:
        return max(shape.sample_bytes, shape.layer_bytes) <= self._device.shared_bytes

    def _shape(self, clips: int, product_clips: int) -> Shape:
        return Shape(self.weights, clips, product_clips, self._device.threads)
