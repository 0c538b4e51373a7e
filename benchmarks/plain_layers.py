"""The sample tier as the paper describes it, which `slash_train.model.SampleTier` computes in a cheaper way."""

from types import MethodType

from torch import Tensor
from torch.nn import functional

from slash_train.model import SampleRNN, SampleTier


def use_plain_layers(model: SampleRNN) -> None:
    """Make a model's sample tier embed, flatten and multiply (eq. 5-7), without the table and without folding."""
    tier = model.sample_tier
    if tier is not None:
        tier.folding_pays = lambda samples: False  # type: ignore[method-assign]  # noqa: ARG005
        tier.forward = MethodType(_forward, tier)  # type: ignore[method-assign]


def _forward(tier: SampleTier, codes: Tensor, conditioning: Tensor, *, folded: bool) -> Tensor:
    if folded:
        raise ValueError("plain layers take the conditioning before L2")
    embedded = tier.embedding(codes.unfold(1, tier.history, 1)).flatten(2)  # [B, T, H * E]
    x = embedded @ tier.first.flatten(0, 1) + conditioning
    for linear in tier.hidden:
        x = functional.relu(linear(x))
    logits: Tensor = tier.output(x)
    return logits
