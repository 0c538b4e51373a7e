"""Plans the kernel `cluster.cu` for a model and a device: its shape, and the programs of the frame tiers' blocks.

The kernel knows no model. It is compiled for the shape of one, and its blocks run programs: lists of products, each
of some rows of a weight with a vector, and of what follows. This module deals out rows to blocks, decides which
weights stay in shared memory, and lays out both memories.
"""

import ctypes
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from slash_infer.runtimes.kernel_weights import GATES, TILE, UNLIKELY, Float32, Half, KernelWeights, pack, up

MAX_TILES = 4  # that a block multiplies at once
ROW_TILES = 2  # of those that make conditioning: fewer, so that the first row is done early
MAX_TIERS = 3
LEAST_RING = 32  # codes that the sample tier keeps
MOST_IN_REGISTERS = 64  # codes of history whose table rows are kept there
MAX_COPIES = 8  # of what frame tiers tell each other
COPY, STATE_IN, STATE_OUT, RECUR, LAYER, ROWS, MIX = range(7)
CODES, CONDITIONING, OUTPUT = 1, 2, 4  # what a step fetches; OUTPUT << l is that of layer l
PATIENCE = 3_000_000_000  # clock cycles until a waiting thread gives up
ALONE, GIVEN, NO_FRAMES = 1, 2, 4  # flags of a call


class DoesNotFit(Exception):  # noqa: N818  a fact about a model and a device
    """The message says why a model cannot run on the device in this way."""


class Op(ctypes.Structure):
    """One entry of a block's program. `cluster.cu` says what its fields are."""

    _fields_ = [
        (name, ctypes.c_int)
        for name in [
            "kind",
            "tier",
            "step",
            "fetch",
            "tiles",
            "vector_a",
            "stride_a",
            "columns_a",
            "weights_a",
            "resident_a",
            "vector_b",
            "stride_b",
            "columns_b",
            "weights_b",
            "resident_b",
            "bias",
            "recurrent",
            "state",
            "mail",
            "mail_stride",
            "tile_stride",
            "rows",
            "layer",
            "unit",
        ]
    ]


class Tier(ctypes.Structure):
    """The shape of a frame tier, and where its vectors are."""

    _fields_ = [
        (name, ctypes.c_int)
        for name in [
            "steps",
            "hop",
            "frame",
            "layers",
            "is_gru",
            "has_above",
            "frame_columns",
            "x",
            "x_stride",
            "h",
            "h_stride",
            "h_mail",
            "above_mail",
            "above_rows",
            "state",
        ]
    ]


class Call(ctypes.Structure):
    """The only parameter of the kernel."""

    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in [
                "fragments",
                "biases",
                "table",
                "samples",
                "weights",
                "programs",
                "mail",
                "tape",
                "states",
                "uniform",
                "temperature",
                "nll",
                "fault",
                "report",
                "profile",
            ]
        ),
        ("floor", ctypes.c_float),
        *(
            (name, ctypes.c_int)
            for name in [
                "steps",
                "flags",
                "first_op",
                "step_op",
                "last_op",
                "end_op",
                "mail_copy",
                "conditioning",
                "fetched_last",
            ]
        ),
        ("tiers", Tier * MAX_TIERS),
    ]


class Weight(NamedTuple):
    """Rows of one block for one product; the same in every step."""

    key: tuple[Any, ...]
    matrix: Half  # [tiles * 16, columns * 16]
    priority: int  # the lower, the earlier it gets a place in shared memory


@dataclass
class Stage:
    """A product of all blocks, before its rows are dealt out."""

    kind: int
    tier: int
    step: int
    layer: int
    first_tile: int
    tiles: int
    fetch: int
    priority: int


@dataclass
class Plan:
    """Everything that does not depend on a call."""

    cluster: int
    frame_blocks: int
    clips: int
    threads: int
    width: int
    logits: int
    levels: int
    context: int
    top_hop: int
    low_hop: int
    history: int
    ring: int
    staged: bool
    hidden: int
    shared_bytes: int
    step_ops: int
    tiers: list[Tier]
    call: dict[str, int]
    programs: npt.NDArray[np.int32]
    weights: npt.NDArray[np.uint8]
    fragments: npt.NDArray[np.uint8]
    biases: Float32
    table: Half
    samples: Float32
    mail_words: int
    state_floats: int
    copies: int
    near: bool
    resident_bytes: list[int] = field(default_factory=list)
    streamed_bytes: list[int] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    real_width: int = 0

    @property
    def blocks(self) -> int:
        """Blocks of the grid."""
        return self.cluster + self.frame_blocks

    def macros(self, *, patience: int = PATIENCE, profile: bool = False) -> dict[str, str]:
        """Return what the kernel is compiled with."""
        values = {
            "CLIPS": self.clips,
            "THREADS": self.threads,
            "CLUSTER": self.cluster,
            "WIDTH": self.width,
            "LEVELS": self.levels,
            "LOGITS": self.logits,
            "HISTORY": self.history,
            "RING": self.ring,
            "STAGED": int(self.staged),
            "HIDDEN": self.hidden,
            "CONTEXT": self.context,
            "TOP_HOP": self.top_hop,
            "LOW_HOP": self.low_hop,
            "MAX_TIERS": MAX_TIERS,
            "STEP_OPS": self.step_ops,
            "SHARED_FLOATS": self.shared_bytes // 4,
            "COPIES": self.copies,
            "NEAR": int(self.near),
            "UNLIKELY": f"{UNLIKELY:g}f",
        }
        named = {name: str(value) for name, value in values.items()}
        named["PATIENCE"] = f"{patience}LL"
        if profile:
            named["PROFILE"] = "1"
        return named

    def initial_states(self, initial: Sequence[Float32]) -> Float32:
        """Return the states of all clips from those that a bundle begins with, [S, L, D] of each tier."""
        states = np.zeros(self.state_floats, np.float32)
        for tier, values in zip(self.tiers, initial, strict=True):
            padded = np.zeros((*values.shape[:2], self.clips, self.width), np.float32)
            padded[..., : values.shape[2]] = values[:, :, np.newaxis]
            states[tier.state : tier.state + padded.size] = padded.reshape(-1)
        return states


def make_plan(
    tiers: Sequence[Any],
    sample: Any,
    levels: int,
    *,
    cluster: int,
    frame_blocks: int,
    clips: int = 1,
    threads: int = 256,
    shared_bytes: int = 227 * 1024,
    row_tiles: int = ROW_TILES,
    near: bool = True,
) -> Plan:
    """Plan a folded model.

    Args:
        tiers: `FoldedFrameTier`, the lowest first.
        sample: `FoldedSampleTier`, or None.
        levels: Q.
        cluster: blocks of the sample tier.
        frame_blocks: blocks of the frame tiers, a multiple of `cluster`.
        clips: side by side, up to 8.
        threads: of a block.
        shared_bytes: that a block may use.
        row_tiles: tiles that a block multiplies at once where it makes conditioning.
        near: keep the newest code's table rows in the cluster's shared memory, if they fit.

    Raises:
        DoesNotFit: it cannot run so.
    """
    return _Planner(
        tiers, sample, levels, cluster, frame_blocks, clips, threads, shared_bytes, row_tiles, near
    ).plan()


class _Planner:
    def __init__(
        self,
        tiers: Sequence[Any],
        sample: Any,
        levels: int,
        cluster: int,
        frame_blocks: int,
        clips: int,
        threads: int,
        shared_bytes: int,
        row_tiles: int,
        near: bool,
    ) -> None:
        if len(tiers) > MAX_TIERS:
            raise DoesNotFit(f"the kernel has {MAX_TIERS} frame tiers, and the model {len(tiers)}")
        if sample is not None and not sample.hidden:
            raise DoesNotFit("the kernel needs a hidden layer after the table")
        if clips > min(8, threads // 32):
            raise DoesNotFit(f"{clips} clips are more than a cluster has warps for")
        self.tiers, self.sample, self.levels = tiers, sample, levels
        self.cluster, self.frame_blocks, self.clips, self.threads = cluster, frame_blocks, clips, threads
        self.warps, self.shared_bytes, self.row_tiles = threads // 32, shared_bytes, row_tiles
        self.weights = KernelWeights(tiers, sample, levels, cluster)
        self.width, self.logits = self.weights.width, self.weights.logits
        self.top_hop, self.low_hop = tiers[-1].hop, tiers[0].hop
        self.history, self.context = self.weights.history, self.weights.context
        self.ring = max(LEAST_RING, 1 << (self.history + 1).bit_length())
        self.staged = clips * self.width // cluster // 8 > self.warps or self.history > MOST_IN_REGISTERS
        self.mail_words = self.state_floats = 0
        self.copies = min(MAX_COPIES, -(-frame_blocks // cluster))
        self.near = near and self._sample_bytes(1) <= shared_bytes
        if sample is not None and (needed := self._least_sample_bytes()) > shared_bytes:
            raise DoesNotFit(
                f"a block of the sample tier needs {needed} bytes of shared memory, and has {shared_bytes}"
            )
        self.matrices: dict[tuple[Any, ...], Half] = {}
        self.biases: dict[tuple[int, int, int], Float32] = {}
        self.rotation = 0
        self.dealt: dict[tuple[int, ...], int] = {}

    def plan(self) -> Plan:
        places = self._lay_out_tiers()
        if (needed := self._lay_out_vectors(places, 0)) > self.shared_bytes:
            raise DoesNotFit(f"a block needs {needed} bytes of shared memory and more, and has {self.shared_bytes}")
        stages = list(self._run(len(self.tiers) - 1, 0))
        recurrent = [(k, layer) for k, tier in enumerate(self.tiers) for layer in range(len(tier.layers))]
        for k, layer in recurrent:
            self._deal((k, layer), self.width * GATES // TILE)
        blocks = [_Block(self, index, stages, recurrent) for index in range(self.frame_blocks)]
        step_ops = max(len(block.step) for block in blocks) + 1
        frame_shared = 2 * self.warps * MAX_TILES * TILE * self.clips * 4 + (step_ops + 1) * ctypes.sizeof(Op)
        vectors = self._lay_out_vectors(places, frame_shared)
        blob = _Blob()
        for block in blocks:
            block.lay_out(vectors, blob)
        first = max(len(block.first) for block in blocks)
        last = max(len(block.last) for block in blocks)
        end = first + step_ops + last
        programs = np.zeros((self.frame_blocks, end, ctypes.sizeof(Op) // 4), np.int32)
        for index, block in enumerate(blocks):
            for at, ops in ((0, block.first), (first, block.step), (first + step_ops, block.last)):
                for i, op in enumerate(ops):
                    programs[index, at + i] = np.frombuffer(bytes(op), np.int32)
        lowest = self.tiers[0]
        last_output = len(lowest.layers) - (1 if lowest.skip is None else 0)
        return Plan(
            cluster=self.cluster,
            frame_blocks=self.frame_blocks,
            clips=self.clips,
            threads=self.threads,
            width=self.width,
            logits=self.logits,
            levels=self.levels,
            context=self.context,
            top_hop=self.top_hop,
            low_hop=self.low_hop,
            history=self.history,
            ring=self.ring,
            staged=self.staged,
            hidden=0 if self.sample is None else len(self.sample.hidden),
            shared_bytes=self.shared_bytes,
            step_ops=step_ops,
            tiers=places,
            call={
                "first_op": 0,
                "step_op": first,
                "last_op": first + step_ops,
                "end_op": end,
                "mail_copy": self.mail_copy,
                "conditioning": self.row_mail[0],
                "fetched_last": OUTPUT << last_output,
            },
            programs=programs,
            weights=blob.bytes(),
            mail_words=self.mail_words,
            copies=self.copies,
            near=self.near,
            state_floats=self.state_floats,
            resident_bytes=[block.resident_bytes for block in blocks],
            streamed_bytes=[block.streamed_bytes for block in blocks],
            cells=[tier.cell for tier in self.tiers],
            real_width=self.weights.real_width,
            samples=self.tiers[0].samples,
            **self._pack_sample_tier(),
        )

    def _lay_out_tiers(self) -> list[Tier]:
        """Return the tiers with their places in global memory; shared memory follows in `_lay_out_vectors`."""
        places = []
        self.row_mail = []
        for k, tier in enumerate(self.tiers):
            layers, half_width = len(tier.layers), self.width // 2
            place = Tier(
                steps=self.top_hop // tier.hop,
                hop=tier.hop,
                frame=tier.frame_size,
                layers=layers,
                is_gru=tier.cell == "gru",
                has_above=not tier.is_top,
                frame_columns=up(tier.frame_size, TILE),
                h_mail=self._mail((layers + 1) * 2 * self.clips * half_width),
                state=self.state_floats,
            )
            self.state_floats += 2 * layers * self.clips * self.width
            rows = 2 * self.clips * tier.upsampling * self.weights.out_width(k)
            self.row_mail.append(self._mail(rows) if k else 0)
            places.append(place)
        self.mail_copy = self.mail_words
        self.mail_words *= self.copies
        self.row_mail[0] = self._mail(2 * self.clips * self.tiers[0].upsampling * self.weights.out_width(0))
        for below, place in enumerate(places[:-1]):
            place.above_mail, place.above_rows = self.row_mail[below + 1], self.tiers[below + 1].upsampling
        self.places = places
        return places

    def _sample_bytes(self, kept_rows: int) -> int:
        """Return about what a block of the sample tier needs of shared memory; the compiler checks it exactly."""
        vectors = self.clips * (10 * self.width + 4 * self.logits + max(1024, 4 * self.ring))
        partial = self.warps * (2 * self.width + self.logits) // self.cluster * self.clips * 4
        newest = kept_rows * self.levels * self.width // self.cluster * 2
        units = self.width // self.cluster
        to_come = self.clips * (units * 8 + self.history * (units + 8) * 2)
        return vectors + partial + newest + to_come + 4096

    def _least_sample_bytes(self) -> int:
        """Return what a block of the sample tier needs of shared memory, without table rows for the newest code."""
        clips, units, rows = self.clips, self.width // self.cluster, self.logits // self.cluster
        warps = math.gcd(self.width // TILE, self.warps)  # by columns: a power of two, as the number of warps is
        fixed = clips * (10 * self.width + 4 * self.logits) + 4 * (len(self.sample.hidden) * units + rows)
        partial = 4 * warps * clips * (2 * units + rows)
        older = 2 * (units + 8) * (clips * self.history if self.staged else 1)
        sizes = [fixed + partial + 4 * clips * self.ring, 4 * 8, 8 * clips * units, older, 2 * units]
        return sum(up(size, 16) for size in sizes)

    def _mail(self, words: int) -> int:
        at = self.mail_words
        self.mail_words += up(words, 32)
        return at

    def _lay_out_vectors(self, places: list[Tier], at: int) -> int:
        """Place the vectors that all blocks have in shared memory; return where they end, in bytes."""
        for place in places:
            place.x_stride = place.frame_columns + (self.width if place.has_above else 0)
            place.h_stride = (place.layers + 1) * self.width
            place.x = at // 2
            at = up(at + 2 * self.clips * place.x_stride, 16)
            place.h = at // 2
            at = up(at + 2 * self.clips * place.h_stride, 16)
        return at

    def _run(self, k: int, step: int) -> Iterator[Stage]:
        """Yield what one step of tier k does, in order, as the bundle's format describes it."""
        tier = self.tiers[k]
        layers, tiles = len(tier.layers), self.width * GATES // TILE
        inputs = CODES | (0 if tier.is_top else CONDITIONING)
        for layer in range(layers):
            fetch = inputs if layer == 0 else OUTPUT << layer - 1
            if layer and tier.skip is not None:
                fetch |= inputs
            yield Stage(LAYER, k, step, layer, 0, tiles, fetch, 0)
        if tier.skip is not None:
            yield Stage(
                MIX, k, step, layers, 0, self.width // TILE, sum(OUTPUT << layer for layer in range(layers)), 0
            )
        output = OUTPUT << (layers if tier.skip is not None else layers - 1)
        row = self.weights.out_width(k) // TILE
        if k == 0:
            yield Stage(ROWS, k, step, 0, 0, row, output, 1)
            if tier.upsampling > 1:
                yield Stage(ROWS, k, step, 0, row, row * (tier.upsampling - 1), output, 4)
        else:
            for i in range(tier.upsampling):
                yield Stage(ROWS, k, step, 0, i * row, row, output, 1 if i == 0 else 3)
                yield from self._run(k - 1, step * tier.upsampling + i)
        for layer in range(layers):
            yield Stage(RECUR, k, step, layer, 0, tiles, OUTPUT << layer, 2 if k < len(self.tiers) - 1 else 5)

    def _deal(self, key: tuple[int, ...], tiles: int) -> None:
        """Remember which block gets the first share of some tiles: shares that are larger by one go around."""
        if key not in self.dealt:
            self.dealt[key] = self.rotation
            self.rotation = (self.rotation + tiles) % self.frame_blocks

    def share(self, key: tuple[int, ...], tiles: int, block: int) -> range:
        """Return the tiles of a block."""
        self._deal(key, tiles)
        turn = (block - self.dealt[key]) % self.frame_blocks
        size, larger = divmod(tiles, self.frame_blocks)
        first = turn * size + min(turn, larger)
        return range(first, first + size + (turn < larger))

    def matrix(self, kind: int, k: int, layer: int, part: str) -> Half:
        """Return a whole weight."""
        key = (kind, k, layer, part)
        if key not in self.matrices:
            self.matrices[key] = self._matrix(*key)
        return self.matrices[key]

    def _matrix(self, kind: int, k: int, layer: int, part: str) -> Half:
        if kind == MIX:
            return self.weights.skip(k)
        if kind == ROWS:
            return self.weights.upsampling(k)
        if kind == RECUR:
            return self.weights.recurrent(k, layer)
        return self.weights.below(k, layer) if part == "below" else self.weights.inputs(k, layer)

    def bias(self, kind: int, k: int, layer: int) -> Float32:
        """Return a whole bias."""
        key = (kind, k, layer)
        if key not in self.biases:
            self.biases[key] = self._bias(*key)
        return self.biases[key]

    def _bias(self, kind: int, k: int, layer: int) -> Float32:
        if kind == MIX:
            return self.weights.skip_bias(k)
        return self.weights.upsampling_bias(k) if kind == ROWS else self.weights.layer_bias(k, layer)

    def _pack_sample_tier(self) -> dict[str, Any]:
        if self.sample is None:
            nothing = np.zeros(16, np.uint8)
            return {"fragments": nothing, "biases": np.zeros(4, np.float32), "table": np.zeros((1, 1, 8), np.float16)}
        matrices, fragments = self.weights.sample_matrices(), []
        for rank in range(self.cluster):
            for matrix in matrices:
                rows = len(matrix) // self.cluster
                fragments.append(self._pack_rows(matrix[rank * rows : (rank + 1) * rows]))
        return {
            "fragments": np.concatenate(fragments),
            "biases": self.weights.sample_biases(),
            "table": self.weights.table(),
        }

    def _pack_rows(self, matrix: Half) -> npt.NDArray[np.uint8]:
        """Return the operands of a block's warps: [tile of the warp][warp][lane], 16 bytes each."""
        tiles = pack(matrix)  # [columns, rows, 32, 16]
        columns, rows = tiles.shape[:2]
        across_warps = 1
        while across_warps < self.warps and columns % (across_warps * 2) == 0:
            across_warps *= 2
        down_warps = self.warps // across_warps
        across, down = columns // across_warps, -(-rows // down_warps)
        padded = np.zeros((columns, down * down_warps, 32, 16), np.uint8)
        padded[:, :rows] = tiles
        split = padded.reshape(across_warps, across, down_warps, down, 32, 16)
        return split.transpose(3, 1, 2, 0, 4, 5).reshape(-1)


class _Block:
    """The program of one block, and its shared memory."""

    def __init__(self, planner: _Planner, index: int, stages: list[Stage], recurrent: list[tuple[int, int]]) -> None:
        self.planner, self.index = planner, index
        self.first: list[Op] = []
        self.step: list[Op] = []
        self.last: list[Op] = []
        self.weights: dict[tuple[Any, ...], Weight] = {}
        self.uses: list[tuple[Op, str, tuple[Any, ...]]] = []  # op, which operand, key of the weight
        self.biases: list[tuple[Op, Float32]] = []
        self.slots: dict[tuple[int, int, int], list[Op]] = {}  # of each layer's first tile: ops that share its state
        self.have: set[tuple[int, int, int]] = set()
        self.resident_bytes = self.streamed_bytes = 0
        for stage in stages:
            self._add(stage)
        for k, layer in recurrent:
            for tiles in _chunks(planner.share((k, layer), planner.width * GATES // TILE, index), MAX_TILES):
                unit = tiles.start * TILE // GATES
                for kind, ops in ((STATE_IN, self.first), (STATE_OUT, self.last)):
                    op = Op(kind=kind, tier=k, layer=layer, unit=unit, tiles=len(tiles))
                    ops.append(op)
                    self.slots[k, layer, tiles.start].append(op)
        # A block needs every layer's output for its products with it, even where it has no unit of that layer.
        needed = {(stage.tier, stage.layer) for stage in stages if stage.kind == RECUR}
        for k, layer in sorted(needed):
            if not planner.share((k, layer), planner.width * GATES // TILE, index):
                continue
            for tiles in _chunks(planner.share((k, layer), planner.width * GATES // TILE, index), MAX_TILES):
                self.first.append(self._product(RECUR, k, 0, layer, tiles, 1, fetch=0, priority=5))

    def _add(self, stage: Stage) -> None:
        planner = self.planner
        if stage.kind in (LAYER, RECUR):
            tiles: Sequence[int] = planner.share((stage.tier, stage.layer), stage.tiles, self.index)
            chunks, stride = _chunks(tiles, MAX_TILES), 1
        elif stage.kind == MIX:
            tiles = planner.share((stage.tier, -1), stage.tiles, self.index)
            chunks, stride = _chunks(tiles, MAX_TILES), 1
        else:
            planner._deal((stage.tier, -2), planner.weights.out_width(stage.tier) // TILE)
            start = planner.dealt[stage.tier, -2]
            skip = (self.index - start - stage.first_tile) % planner.frame_blocks
            tiles = range(stage.first_tile + skip, stage.first_tile + stage.tiles, planner.frame_blocks)
            chunks, stride = _chunks(tiles, planner.row_tiles), planner.frame_blocks
        for chunk in chunks:
            fetch = 0
            for bit in range(8):
                if stage.fetch >> bit & 1:
                    key = (stage.tier, stage.step, bit)
                    fetch |= (key not in self.have) << bit
                    self.have.add(key)
            op = self._product(stage.kind, stage.tier, stage.step, stage.layer, chunk, stride, fetch, stage.priority)
            self.step.append(op)

    def _product(
        self, kind: int, k: int, step: int, layer: int, tiles: range, stride: int, fetch: int, priority: int
    ) -> Op:
        planner = self.planner
        tier, place = planner.tiers[k], planner.places[k]
        op = Op(kind=kind, tier=k, step=step, layer=layer, fetch=fetch, tiles=len(tiles), tile_stride=stride * TILE)
        op.unit = tiles.start * TILE // GATES
        half_width = planner.width // 2
        if kind in (LAYER, RECUR):
            self.slots.setdefault((k, layer, tiles.start), []).append(op)
        parts = ["all"]
        if kind == LAYER:
            parts = (["below"] if layer else []) + (["inputs"] if not layer or tier.skip is not None else [])
            op.mail = place.h_mail + layer * 2 * planner.clips * half_width + op.unit // 2
            op.mail_stride = planner.clips * half_width
        elif kind == MIX:
            op.mail = place.h_mail + layer * 2 * planner.clips * half_width + tiles.start * TILE // 2
            op.mail_stride = planner.clips * half_width
        elif kind == ROWS:
            op.rows = tier.upsampling * planner.weights.out_width(k)
            op.mail = planner.row_mail[k] + tiles.start * TILE
            op.mail_stride = planner.clips * op.rows
        for part, operand in zip(parts, "ab", strict=False):
            key = (kind, k, layer, part, tiles.start, len(tiles))
            if key not in self.weights:
                whole = planner.matrix(kind, k, layer, part)
                rows = whole.reshape(-1, TILE, whole.shape[1])[tiles.start : tiles.stop : tiles.step]
                self.weights[key] = Weight(key, rows.reshape(-1, whole.shape[1]), priority)
            self.uses.append((op, operand, key))
            setattr(op, f"columns_{operand}", self.weights[key].matrix.shape[1] // TILE)
        if kind != RECUR:
            whole_bias = planner.bias(kind, k, layer)
            self.biases.append((op, whole_bias.reshape(-1, TILE)[tiles.start : tiles.stop : tiles.step].reshape(-1)))
        return op

    def lay_out(self, at: int, blob: "_Blob") -> None:
        """Place vectors, state, biases and as many weights as fit in shared memory.

        Args:
            at: where the vectors end, in bytes.
            blob: takes the weights and biases in global memory.
        """
        planner = self.planner
        for op, operand, key in self.uses:
            vector, stride = self._vector(op, key[3])
            setattr(op, f"vector_{operand}", vector)
            setattr(op, f"stride_{operand}", stride)
        for ops in self.slots.values():
            rows = ops[0].tiles * TILE * planner.clips
            for op in ops:
                op.recurrent, op.state = at // 4, at // 4 + rows
            at += 4 * rows + 4 * (rows // GATES) * 2
            at = up(at, 16)
        copies, at = self._place_biases(at, blob)
        where: dict[tuple[Any, ...], tuple[int, int]] = {}
        for weight in sorted(self.weights.values(), key=lambda weight: weight.priority):
            packed = pack(weight.matrix)
            there = blob.add(packed)
            if at + packed.nbytes <= planner.shared_bytes:
                copies.append(Op(kind=COPY, bias=at // 16, weights_a=there, tiles=packed.nbytes // 16))
                where[weight.key] = (at // 16, 1)
                at += packed.nbytes
                self.resident_bytes += packed.nbytes
            else:
                where[weight.key] = (there, 0)
                self.streamed_bytes += packed.nbytes
        if at > planner.shared_bytes:
            raise DoesNotFit(f"a block needs {at} bytes of shared memory, and has {planner.shared_bytes}")
        for op, operand, key in self.uses:
            setattr(op, f"weights_{operand}", where[key][0])
            setattr(op, f"resident_{operand}", where[key][1])
        self.first = [*copies, *self.first]

    def _vector(self, op: Op, part: str) -> tuple[int, int]:
        """Return where the vector of a product is, and its stride between clips; in halves."""
        planner = self.planner
        place, tier = planner.places[op.tier], planner.tiers[op.tier]
        if op.kind == LAYER and part == "inputs":
            return place.x, place.x_stride
        if op.kind == LAYER:
            output = op.layer - 1
        elif op.kind == RECUR:
            output = op.layer
        elif op.kind == MIX:
            output = 0
        else:
            output = len(tier.layers) - (1 if tier.skip is None else 0)
        return place.h + output * planner.width, place.h_stride

    def _place_biases(self, at: int, blob: "_Blob") -> tuple[list[Op], int]:
        """Place the biases from `at` on, equal ones once; return what copies them there, and where they end."""
        if not self.biases:
            return [], at
        placed: dict[bytes, int] = {}
        begin = at
        for op, bias in self.biases:
            content = bias.tobytes()
            if content not in placed:
                placed[content] = at
                at += len(content)
            op.bias = placed[content] // 4
        packed = np.frombuffer(b"".join(placed), np.float32)
        return [Op(kind=COPY, bias=begin // 16, weights_a=blob.add(packed), tiles=packed.nbytes // 16)], at


class _Blob:
    """Bytes in global memory, in units of 16."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.uint8]] = []
        self._size = 0

    def add(self, values: npt.NDArray[Any]) -> int:
        flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        at = self._size
        self._parts.append(flat)
        self._size += len(flat)
        return at // 16

    def bytes(self) -> npt.NDArray[np.uint8]:
        return np.concatenate(self._parts)


def _chunks(tiles: Sequence[int], most: int) -> list[Any]:
    return [tiles[i : i + most] for i in range(0, len(tiles), most)]
