"""Muon against PyTorch's, and which weights it is for."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from slash_infer.codec import Codec
from slash_train.config import ModelConfig
from slash_train.model import SampleRNN
from slash_train.muon import Matrices, Muon, orthogonal
from slash_train.optimiser import hidden_matrices

GO_ON, SKIP = torch.zeros(()), torch.ones(())


def _gradients(shape: tuple[int, ...], steps: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(shape, generator=generator) for _ in range(steps)]


@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48), (1, 7)])
def test_one_matrix_moves_the_way_pytorchs_muon_moves_it(shape: tuple[int, int]) -> None:
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    muon = Muon([Matrices("one", ours, 1)], torch.float32)
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.0, momentum=0.95)
    for gradient in _gradients(shape):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step(0.02, GO_ON)
        reference.step()  # type: ignore[no-untyped-call]
    a, b = (ours - 1).flatten(), (theirs - 1).flatten()
    assert torch.cosine_similarity(a, b, dim=0) > 0.85
    assert 0.7 < a.norm() / b.norm() < 2.5


def test_stacked_matrices_are_updated_as_if_each_were_a_parameter() -> None:
    stacked = nn.Parameter(torch.zeros(4 * 8, 12))
    alone = [nn.Parameter(torch.zeros(8, 12)) for _ in range(4)]
    other = nn.Parameter(torch.zeros(8, 12))
    together = Muon([Matrices("gates", stacked, 4), Matrices("other", other, 1)], torch.float32)
    apart = [Muon([Matrices("gate", gate, 1)], torch.float32) for gate in alone]
    for gradient in _gradients((32, 12)):
        stacked.grad, other.grad = gradient, gradient[8:16]
        together.step(0.1, GO_ON)
        for gate, muon, part in zip(alone, apart, gradient.chunk(4), strict=True):
            gate.grad = part
            muon.step(0.1, GO_ON)
    assert torch.allclose(stacked, torch.cat([gate.detach() for gate in alone]), atol=1e-4)
    assert torch.allclose(other, alone[1], atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 10, 40), (2, 40, 10)])
def test_updates_keep_their_directions_and_get_alike_in_size(shape: tuple[int, int, int]) -> None:
    matrices = _gradients(shape)[0]
    u, values, vt = torch.linalg.svd(matrices, full_matrices=False)
    turned = u.mT @ orthogonal(matrices) @ vt.mT  # diagonal, if only singular values changed
    became = turned.diagonal(dim1=1, dim2=2)
    large = values > values.norm(dim=1, keepdim=True) / 50
    assert became[large].min() > 0.14 and became[large].max() < 2
    assert (turned - torch.diag_embed(became)).abs().max() < 1e-3


def test_bfloat16_is_enough() -> None:
    matrices = _gradients((3, 64, 64))[0]
    exact, rough = orthogonal(matrices), orthogonal(matrices.bfloat16())
    assert rough.dtype == torch.float32
    assert torch.cosine_similarity(exact.flatten(1), rough.flatten(1)).min() > 0.97


def test_a_gradient_of_zero_moves_nothing() -> None:
    weights = nn.Parameter(torch.ones(4, 4))
    weights.grad = torch.zeros(4, 4)
    Muon([Matrices("weights", weights, 1)], torch.float32).step(0.1, GO_ON)
    assert torch.equal(weights, torch.ones(4, 4))


def test_a_skipped_step_changes_neither_weights_nor_momentum_whatever_the_gradient() -> None:
    weights = nn.Parameter(torch.ones(4, 4))
    muon = Muon([Matrices("weights", weights, 1)], torch.float32)
    weights.grad = torch.eye(4)
    muon.step(0.1, GO_ON)
    before, momentum = weights.detach().clone(), muon.momenta["weights"].clone()
    weights.grad = torch.full((4, 4), torch.nan)
    muon.step(0.1, SKIP)
    assert torch.equal(weights, before) and torch.equal(muon.momenta["weights"], momentum)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_is_for_the_matrices_between_layers(cell: Literal["lstm", "gru"]) -> None:
    gates = {"lstm": 4, "gru": 3}[cell]
    config = ModelConfig(hops=(2, 8), rnn_layers=2, cell=cell, skip_connections=True, width=8, embedding=4)
    model = SampleRNN(config, Codec(levels=16))
    counts = {one.name: one.count for one in hidden_matrices(model)}
    recurrent = {name: count for name, count in counts.items() if "recurrence.rnns" in name}
    assert len(recurrent) == 2 * 2 * 2 and set(recurrent.values()) == {gates}
    assert counts["frame_tiers.0.upsample.weight"] == 2 and counts["frame_tiers.1.upsample.weight"] == 4
    assert counts["frame_tiers.0.input.weight"] == counts["sample_tier.hidden.0.weight"] == 1
    assert counts["frame_tiers.1.recurrence.skips.1.weight"] == 1
    others = {name for name, _ in model.named_parameters()} - set(counts)
    assert not [name for name in others if name.endswith(("weight", "weight_ih_l0", "weight_hh_l0"))
                and name not in ("sample_tier.embedding.weight", "sample_tier.output.weight")]  # fmt: skip
    assert "sample_tier.first" in others


def test_an_upsampling_that_gives_the_logits_is_an_output_layer() -> None:
    model = SampleRNN(ModelConfig(hops=(4,), rnn_layers=1, width=8, mlp_layers=0), Codec(levels=16))
    assert "frame_tiers.0.upsample.weight" not in {one.name for one in hidden_matrices(model)}
