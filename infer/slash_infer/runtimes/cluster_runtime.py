"""The engine `cluster`: a model in kernels of our own, on GPUs with clusters of thread blocks."""

from threading import RLock
from typing import Any, Generic

from typing_extensions import override

from slash_infer.bundle import Bundle, Precision
from slash_infer.errors import UserError
from slash_infer.runtimes.cluster_kernel import KernelDevice, put
from slash_infer.runtimes.cluster_plan import DoesNotFit, Plan, make_plan
from slash_infer.runtimes.cluster_runner import ClusterRunner, Loaded
from slash_infer.runtimes.generation_state import GenerationState
from slash_infer.runtimes.kernel_weights import GATES, TILE, KernelWeights
from slash_infer.runtimes.model_weights import read_model_weights
from slash_infer.runtimes.protocol import A, Model, Runner, Runtime
from slash_infer.runtimes.throughput_model import ThroughputModel

MOST_CLIPS = 8  # that share a cluster's weights: the columns of an operand of the matrix units
MOST_TOGETHER = 16_384  # clips of the kernels for many
NARROW = 512  # width of models to which the first of the next two applies
MOST_IN_TURNS, MOST_IN_TURNS_IF_WIDE = 16, 56  # clips; more are faster in the kernels for many
LARGEST_CLUSTER = 16
UNITS = 32  # of a layer in each block of the sample tier: fewer take longer to exchange than to compute
ON_DEVICE = ("fragments", "biases", "table", "samples", "weights", "programs")  # what a plan has for the device


class Cluster(Runtime):
    """Slash's kernels on a device: the cluster kernel for few clips, and those of `throughput.cu` for many.

    Args:
        device: runs the kernels.
    """

    name = "cluster"
    precisions: tuple[Precision, ...] = ("fp16",)
    clips_together = 1024

    def __init__(self, device: KernelDevice[Any]) -> None:
        self._device = device

    @property
    @override
    def description(self) -> str:
        return f"cluster kernels on {self._device.name}"

    @override
    def threads(self, clips: int, width: int) -> int:
        return 1  # launches follow one another

    @override
    def batch_multiple(self, precision: Precision, width: int) -> int:
        return 1  # a clip is computed in the same order whatever the others are

    @override
    def open(self, bundle: Bundle, precision: Precision) -> "ClusterModel[Any]":
        return ClusterModel(bundle, precision, self._device)


class ClusterModel(Model, Generic[A]):
    """A model that fits the cluster kernel, which is planned, compiled and loaded for 1, 2, 4 and 8 clips as needed.

    Args:
        bundle: whose model to run.
        precision: of the weights; products are always of fp16.
        device: runs the kernels.

    Raises:
        UserError: the bundle has no such precision, or the model does not fit.
    """

    def __init__(self, bundle: Bundle, precision: Precision, device: KernelDevice[A]) -> None:
        self._path, self._levels, self._device = bundle.path, bundle.manifest.codec.levels, device
        self._tiers, self._sample_tier = read_model_weights(bundle, precision)
        self._lock = RLock()  # runners are asked for on several threads
        self._plans: dict[int, Plan] = {}
        self._loaded: dict[int, Loaded[A]] = {}
        try:
            self._cluster, self._frame_blocks = self._layout(bundle.manifest.width)
            self.plan(1)
        except DoesNotFit as reason:
            raise self._refusal(reason) from None
        self.many = ThroughputModel(
            device, KernelWeights(self._tiers, self._sample_tier, self._levels, self._cluster)
        )
        """The kernels for many clips."""
        self._most_in_turns = MOST_IN_TURNS if bundle.manifest.width <= NARROW else MOST_IN_TURNS_IF_WIDE

    @override
    def most_clips(self, clips: int) -> int:
        if clips > self._most_in_turns and self.many.fits:
            return min(clips, MOST_TOGETHER)
        with self._lock:
            return min(clips, self._size(clips))

    @override
    def runner(self, state: GenerationState) -> Runner:
        if len(state.history) > MOST_CLIPS:
            return self.many.runner(state)
        with self._lock:
            size = self._size(len(state.history))
            if size not in self._loaded:
                try:
                    self._loaded[size] = self._load(self.plan(size))
                except DoesNotFit as reason:
                    raise self._refusal(reason) from None
        return ClusterRunner(self._device, self._loaded[size], state)

    def _size(self, clips: int) -> int:
        """Return for how many clips the kernel should be made to run `clips`; fewer than that if they do not fit."""
        size = 1
        while size < min(clips, MOST_CLIPS):
            try:
                self.plan(2 * size)
            except DoesNotFit:
                break
            size *= 2
        return size

    def _layout(self, width: int) -> tuple[int, int]:
        """Return how many blocks are the sample tier's, and how many the frame tiers'."""
        cluster = 1
        while self._sample_tier is not None and cluster < LARGEST_CLUSTER and 2 * cluster * UNITS <= width:
            cluster *= 2
        while (most := self._device.most_clusters(cluster)) < 2:
            if cluster == 1:
                raise DoesNotFit("it needs two blocks with all of their shared memory at the same time")
            cluster //= 2
        clusters = -(-width * GATES // TILE // cluster)  # with a tile for every block
        return cluster, min(most - 1, clusters) * cluster

    def plan(self, clips: int) -> Plan:
        """Return the plan of the cluster kernel for so many clips.

        Raises:
            DoesNotFit: the device cannot run it.
        """
        if clips not in self._plans:
            self._plans[clips] = make_plan(
                self._tiers,
                self._sample_tier,
                self._levels,
                cluster=self._cluster,
                frame_blocks=self._frame_blocks,
                clips=clips,
                threads=self._device.threads,
                shared_bytes=self._device.shared_bytes,
            )
        return self._plans[clips]

    def _load(self, plan: Plan) -> Loaded[A]:
        kernel, on_device = self._device.kernel(plan), {}
        for name in ON_DEVICE:
            values = getattr(plan, name)
            on_device[name] = put(self._device, values)
            setattr(plan, name, values[:0])  # the host needs them no more
        return Loaded(plan, kernel, on_device)

    def _refusal(self, reason: DoesNotFit) -> UserError:
        return UserError(self._path, f"does not fit the engine cluster ({reason})", "use `engine` cuda or cpu")
