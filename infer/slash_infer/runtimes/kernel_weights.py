"""A model's weights as the kernels have them: padded, in fp16, the gates of a unit side by side.

Widths are padded to what the cluster kernel needs, for the kernels for many clips as well: the same sums in the same
order give the same clips. It needs numpy alone.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Half = npt.NDArray[np.float16]

TILE = 16  # rows and columns of an operand of the matrix units
GATES = 4  # rows of a unit
UNLIKELY = -1e30  # logit of codes that there are not


class Layer(Protocol):
    """A recurrent layer, as `slash_export.folding` makes it."""

    input_weight: Float32
    hidden_weight: Float32
    input_bias: Float32
    hidden_bias: Float32


class KernelWeights:
    """Whole weights, [rows, columns], of which kernels take tiles; and biases, one for each row.

    Args:
        tiers: `FoldedFrameTier`, the lowest first.
        sample: `FoldedSampleTier`, or None.
        levels: Q.
        cluster: blocks of the cluster kernel's sample tier.
    """

    def __init__(self, tiers: Sequence[Any], sample: Any, levels: int, cluster: int) -> None:
        self.tiers, self.sample, self.levels = tiers, sample, levels
        self.real_width = tiers[0].width
        self.width = up(self.real_width, TILE * cluster)
        self.logits = up(levels, max(32, TILE * cluster))
        self.history = 0 if sample is None else sample.table.shape[0]
        self.context = max([self.history, *(tier.frame_size for tier in tiers)])

    def out_width(self, k: int) -> int:
        """Return how many features each row of conditioning has, padded: logits where there is no sample tier."""
        return self.logits if k == 0 and self.sample is None else self.width

    def below(self, k: int, layer: int) -> Half:
        """Return the gates' weights for the output of the layer below, [4 D, D]."""
        inputs = self._gates_of_inputs(k, layer)[..., : self.real_width]
        return padded(inputs, (self.width, GATES, self.width)).reshape(-1, self.width)

    def inputs(self, k: int, layer: int) -> Half:
        """Return the gates' weights for what the tier reads: the frame, padded, and the conditioning."""
        tier, width = self.tiers[k], self.width
        inputs = self._gates_of_inputs(k, layer)[..., (self.real_width if layer else 0) :]
        frame = padded(inputs[..., : tier.frame_size], (width, GATES, up(tier.frame_size, TILE)))
        if not tier.is_top:
            frame = np.concatenate([frame, padded(inputs[..., tier.frame_size :], (width, GATES, width))], axis=2)
        return frame.reshape(width * GATES, -1)

    def recurrent(self, k: int, layer: int) -> Half:
        """Return the gates' weights for the layer's last output, [4 D, D]."""
        tier, width = self.tiers[k], self.width
        gates = _by_unit(tier.layers[layer].hidden_weight, tier.cell, is_input=False)
        return padded(gates, (width, GATES, width)).reshape(-1, width)

    def layer_bias(self, k: int, layer: int) -> Float32:
        """Return the gates' biases, [4 D]."""
        weights, real = self.tiers[k].layers[layer], self.real_width
        both = weights.input_bias, weights.hidden_bias
        if self.tiers[k].cell == "lstm":
            gates = (both[0] + both[1]).reshape(4, real)
        else:
            (r, z, n), (hr, hz, hn) = (bias.reshape(3, real) for bias in both)
            gates = np.stack([r + hr, z + hz, n, hn])
        return padded32(gates.T, (self.width, GATES)).reshape(-1)

    def skip(self, k: int) -> Half:
        """Return the skip connections' weight, [D, L D]."""
        weight = self.tiers[k].skip[0].T.reshape(self.real_width, -1, self.real_width)  # [out, L, D]
        return padded(weight, (self.width, weight.shape[1], self.width)).reshape(self.width, -1)

    def skip_bias(self, k: int) -> Float32:
        """Return the skip connections' bias, [D]."""
        return padded32(self.tiers[k].skip[1], (self.width,))

    def upsampling(self, k: int) -> Half:
        """Return the upsampling's weight, [r out_width, D]."""
        tier = self.tiers[k]
        weight = tier.upsample[0].T.reshape(tier.upsampling, tier.out_features, self.real_width)
        return padded(weight, (tier.upsampling, self.out_width(k), self.width)).reshape(-1, self.width)

    def upsampling_bias(self, k: int) -> Float32:
        """Return the upsampling's bias, [r out_width]."""
        tier = self.tiers[k]
        bias = tier.upsample[1].reshape(tier.upsampling, -1)
        return padded32(bias, (tier.upsampling, self.out_width(k))).reshape(-1)

    def sample_matrices(self) -> list[Half]:
        """Return the weights of the sample tier's hidden layers, [D, D], and of its output, [Q, D]."""
        width = self.width
        hidden = [padded(weight.T, (width, width)) for weight, _ in self.sample.hidden]
        return [*hidden, padded(self.sample.output[0].T, (self.logits, width))]

    def sample_biases(self) -> Float32:
        """Return their biases, one after another."""
        output = np.full(self.logits, UNLIKELY, np.float32)
        output[: self.levels] = self.sample.output[1]
        return np.concatenate([*(padded32(bias, (self.width,)) for _, bias in self.sample.hidden), output])

    def table(self) -> Half:
        """Return the sample tier's table, [H, Q, D]."""
        return padded(self.sample.table, (*self.sample.table.shape[:2], self.width))

    def _gates_of_inputs(self, k: int, layer: int) -> Float32:
        tier = self.tiers[k]
        return _by_unit(tier.layers[layer].input_weight, tier.cell, is_input=True)  # [D, 4, inputs]


def pack(matrix: Half) -> npt.NDArray[np.uint8]:
    """Arrange a matrix as operands of the matrix units.

    Columns within a tile are permuted, the same for all matrices, so that a lane finds its four entries of a vector
    side by side.

    Args:
        matrix: [rows * 16, columns * 16].

    Returns:
        [columns, rows, 32 lanes, 16 bytes].
    """
    rows, columns = (size // TILE for size in matrix.shape)
    split = matrix.reshape(rows, 2, 8, columns, 4, 2, 2)  # row, half, group; column, quarter, register, entry
    ordered = split.transpose(3, 0, 2, 4, 5, 1, 6)
    return np.ascontiguousarray(ordered).reshape(columns, rows, 32, 8).view(np.uint8)


def padded(values: npt.NDArray[Any], shape: Sequence[int]) -> Half:
    """Return values with zeros after them along each axis, in fp16."""
    return padded32(values, shape).astype(np.float16)


def padded32(values: npt.NDArray[Any], shape: Sequence[int]) -> Float32:
    """Return values with zeros after them along each axis, in fp32."""
    padding = [(0, to - size) for to, size in zip(shape, values.shape, strict=True)]
    return np.pad(values, padding).astype(np.float32)


def up(size: int, multiple: int) -> int:
    """Return the next multiple."""
    return -(-size // multiple) * multiple


def _by_unit(weight: Float32, cell: str, *, is_input: bool) -> Float32:
    """Return [D, 4, inputs] from [G * D, inputs]. A GRU's third and fourth row are the halves of its new gate."""
    gates = weight.reshape(4 if cell == "lstm" else 3, -1, weight.shape[1])
    if cell == "gru":
        r, z, n = gates
        nothing = np.zeros_like(n)
        gates = np.stack([r, z, n, nothing] if is_input else [r, z, nothing, n])
    return gates.transpose(1, 0, 2)
