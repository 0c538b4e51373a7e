"""Plans the kernels of `throughput.cu` for a model: their shape, and the launches of a step of the top tier."""

import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slash_infer.runtimes.kernel_weights import TILE, UNLIKELY, Float32, Half, KernelWeights, pack, up

GATHER, LAYER, SKIP, ROWS, SAMPLES, ADVANCE, UNIFORMS = range(7)  # kinds of launches
ROW_TILES = 2  # of a warp, in a product
CLIP_TILE = 8  # columns of an operand of the matrix units
MOST_OF_A_BLOCK = 16  # clips, in the sample tier: more are slower, though weights are read less often
MOST_OF_A_WARP = 32  # clips, in products
PADDING = 16  # of a vector in shared memory, so that no banks conflict


class Now(ctypes.Structure):
    """What changes from step to step, and from one request to the next. It is in the device's memory."""

    _fields_ = [
        ("position", ctypes.c_uint32),
        ("begun", ctypes.c_uint32),
        ("count", ctypes.c_int),
        ("floor", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ["uniform", "temperature", "codes", "nll"]),
    ]


class Call(ctypes.Structure):
    """The only parameter of a launch. `throughput.cu` says what its fields are."""

    _fields_ = [
        *(
            (name, ctypes.c_int)
            for name in [
                "kind",
                "clips",
                "at",
                "hop",
                "row_tiles",
                "is_gru",
                "recurrent",
                "columns",
                "frame",
                "frame_columns",
                "ring",
                "stride",
                "to",
                "to_side",
                "out_stride",
                "count",
            ]
        ),
        ("start", ctypes.c_uint64),
        *(
            (name, ctypes.c_void_p)
            for name in [
                "now",
                "tape",
                "samples",
                "above",
                "vectors",
                "weights",
                "order",
                "bias",
                "h",
                "c",
                "upsampled",
                "conditioning",
                "table",
                "keys",
                "uniform",
            ]
        ),
    ]


@dataclass(frozen=True)
class Shape:
    """What the kernels are compiled for.

    Args:
        weights: the model's.
        clips: of a block of the sample tier.
        product_clips: of a warp, in products.
        threads: of a block; as many as the cluster kernel's, for sums in its order.
    """

    weights: KernelWeights
    clips: int
    product_clips: int
    threads: int

    @property
    def clip_multiple(self) -> int:
        """That the number of clips must be padded to a multiple of."""
        return max(self.clips, self.product_clips)

    @property
    def ring(self) -> int:
        """Codes of a clip that a block keeps."""
        return int(1 << self.weights.history.bit_length())

    @property
    def sample_bytes(self) -> int:
        """Of shared memory that a block of the sample tier uses."""
        weights = self.weights
        each = 4 * weights.logits + (4 * self.ring + 2 * 2 * (weights.width + PADDING) if weights.history else 0)
        return up(self.clips * each, TILE)

    @property
    def layer_bytes(self) -> int:
        """Of shared memory that a block of a frame tier's layer uses."""
        return 4 * ROW_TILES * TILE * self.product_clips * (self.threads // 32)

    def shared_bytes(self, kind: int) -> int:
        """Return the shared memory that a block of a launch uses."""
        return {SAMPLES: self.sample_bytes, LAYER: self.layer_bytes}.get(kind, 0)

    def macros(self) -> dict[str, str]:
        """Return what the kernels are compiled with."""
        weights, warps = self.weights, self.threads // 32
        values = {
            "THREADS": self.threads,
            "CLIPS": self.clips,
            "PRODUCT_CLIPS": self.product_clips,
            "WIDTH": weights.width,
            "LEVELS": weights.levels,
            "LOGITS": weights.logits,
            "HISTORY": weights.history,
            "RING": self.ring,
            "HIDDEN": len(weights.sample.hidden) if weights.history else 0,
            "TOP_HOP": weights.tiers[-1].hop,
            "LOW_HOP": weights.tiers[0].hop,
            "CHAINS": math.gcd(weights.width // TILE, warps),
            "ROW_TILES": ROW_TILES,
            "PADDING": PADDING,
            "UNLIKELY": f"{UNLIKELY:g}f",
            "SHARED_FLOATS": max(self.sample_bytes, self.layer_bytes) // 4,
        }
        return {name: str(value) for name, value in values.items()}

    def blocks(self, kind: int, clips: int, row_tiles: int) -> int:
        """Return the blocks of a launch.

        Args:
            kind: of the launch.
            clips: all, a multiple of `clip_multiple`.
            row_tiles: tiles of rows of a product.
        """
        if kind in (GATHER, UNIFORMS):
            return clips
        if kind == SAMPLES:
            return clips // self.clips
        if kind == ADVANCE:
            return 1
        groups, warps = clips // self.product_clips, self.threads // 32
        across = 2 if groups > 1 else 1  # warps with the same rows
        return -(-row_tiles // (ROW_TILES * warps // across)) * -(-groups // across)


@dataclass(frozen=True)
class Vectors:
    """Where the vectors of a frame tier are, for each clip: its inputs, then the outputs of its layers, twice.

    Steps alternate between two places for outputs, 0 and 1.
    """

    inputs: int
    """Numbers that the tier reads in a step: the frame, padded, and the conditioning."""
    side: int
    """Of the outputs of all layers and of the skip connections."""
    width: int

    @classmethod
    def of(cls, weights: KernelWeights, k: int) -> "Vectors":
        """Return those of a tier."""
        tier = weights.tiers[k]
        inputs = up(tier.frame_size, TILE) + (0 if tier.is_top else weights.width)
        return cls(inputs, (len(tier.layers) + 1) * weights.width, weights.width)

    @property
    def stride(self) -> int:
        """Numbers of each clip."""
        return self.inputs + 2 * self.side

    def output(self, layer: int, side: int = 0) -> int:
        """Return where a layer's outputs are."""
        return self.inputs + side * self.side + layer * self.width


@dataclass(frozen=True)
class Product:
    """A product with weights of a frame tier, in the order in which the cluster kernel adds it up.

    There each of as many warps as there are chains adds up some columns, and what these come to is added up last.
    """

    weights: npt.NDArray[np.uint8]
    """[steps, tiles of rows, 32, 16]."""
    order: npt.NDArray[np.int32]
    """[2 sides, steps]: twice where the vector of a step is; odd where a sum ends."""
    recurrent: int
    """The first steps, of a layer's last outputs, which are added up by themselves."""
    bias: Float32

    @classmethod
    def of(cls, weights: KernelWeights, kind: int, k: int, layer: int, chains: int) -> "Product":
        """Return a product of a tier."""
        tier, vectors = weights.tiers[k], Vectors.of(weights, k)
        layers = len(tier.layers)
        new, last, inputs = (0, 1), (1, 0), (0, 0)  # at each side
        recurrent: list[tuple[Half, list[int]]] = []

        def output(of: int, sides: tuple[int, int]) -> list[int]:
            return [vectors.output(of, side) for side in sides]

        if kind == SKIP:
            others, bias = [(weights.skip(k), output(0, new))], weights.skip_bias(k)
        elif kind == ROWS:
            of = layers - (tier.skip is None)
            others, bias = [(weights.upsampling(k), output(of, new))], weights.upsampling_bias(k)
        else:
            others = [(weights.below(k, layer), output(layer - 1, new))] if layer else []
            if not layer or tier.skip is not None:
                others.append((weights.inputs(k, layer), list(inputs)))
            recurrent.append((weights.recurrent(k, layer), output(layer, last)))
            bias = weights.layer_bias(k, layer)
        both = [_in_order(parts, chains) for parts in (recurrent, others) if parts]
        return cls(
            weights=np.concatenate([packed for packed, _ in both]),
            order=np.concatenate([order for _, order in both], axis=1),
            recurrent=both[0][1].shape[1] if recurrent else 0,
            bias=bias,
        )


def _in_order(
    parts: list[tuple[Half, list[int]]], chains: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return the weights and the order of the steps that make a sum of products, each with where its vector is."""
    packed = [pack(matrix) for matrix, _ in parts]
    steps, order = [], []
    for chain in range(chains):
        of_chain = [
            (tiles[column], [begin + TILE * column for begin in at])
            for tiles, (_, at) in zip(packed, parts, strict=True)
            for column in range(chain, len(tiles), chains)
        ]
        for i, (tile, at) in enumerate(of_chain, 1):
            steps.append(tile)
            order.append([2 * there + (i == len(of_chain)) for there in at])
    return np.stack(steps), np.array(order, np.int32).T


@dataclass(frozen=True)
class Stage:
    """A launch of a step of the top tier, before it is known where anything is."""

    kind: int
    tier: int
    layer: int
    at: int
    """Samples since the begin of the top tier's step."""


PRODUCTS = (LAYER, SKIP, ROWS)


def stages(weights: KernelWeights, *, given: bool) -> Iterator[Stage]:
    """Yield a step of the top tier, in order, as the bundle's format describes it.

    Args:
        weights: of the model.
        given: whether all codes are given, so that none are drawn.
    """
    yield from _step(weights, len(weights.tiers) - 1, 0, given)
    yield Stage(ADVANCE, 0, 0, 0)


def _step(weights: KernelWeights, k: int, at: int, given: bool) -> Iterator[Stage]:
    tier = weights.tiers[k]
    yield Stage(GATHER, k, 0, at)
    for layer in range(len(tier.layers)):
        yield Stage(LAYER, k, layer, at)
    if given and k == 0:
        return  # nothing reads what follows
    if tier.skip is not None:
        yield Stage(SKIP, k, 0, at)
    yield Stage(ROWS, k, 0, at)
    if k:
        for i in range(tier.upsampling):
            yield from _step(weights, k - 1, at + i * weights.tiers[k - 1].hop, given)
    else:
        yield Stage(SAMPLES, 0, 0, at)
