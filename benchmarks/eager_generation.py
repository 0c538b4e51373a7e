"""Generation as public PyTorch implementations write it: the baseline for Slash's sampler.

The sample tier is called eagerly for every sample: the last H codes are embedded and flattened, H * E numbers are
multiplied by L1, and the code is drawn with `multinomial`. A frame tier runs once every hop.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from slash_train.model import SampleRNN


class EagerGeneration:
    """A loop over samples.

    Args:
        model: the model, which must have a sample tier, on the device to run on.
        clips: B, the number of clips to generate in parallel.
        silence: the code that fills the initial history.
    """

    def __init__(self, model: SampleRNN, clips: int, silence: int) -> None:
        if model.sample_tier is None:
            raise ValueError("the baseline needs a sample tier")
        self._tiers, self._samples, sample_tier = model.tiers(), model.samples, model.sample_tier
        self._embedding, self._hidden, self._output = sample_tier.embedding, sample_tier.hidden, sample_tier.output
        self._seen = sample_tier.history
        first = sample_tier.first.detach().flatten(0, 1)  # [H * E, D]
        self._first = nn.Linear(first.shape[0], first.shape[1], bias=False, device=first.device)
        self._first.weight.data = first.T.contiguous()
        self._state = [state.contiguous() for state in model.initial_state(clips)]
        self._outputs = [torch.empty(0)] * len(self._tiers)  # of each tier; filled before the first sample
        self._history = torch.full((clips, model.config.context), silence, device=first.device)
        self._time = 0

    @torch.inference_mode()
    def generate(self, samples: int) -> Tensor:
        """Return the next `samples` codes of every clip, [B, samples]."""
        return torch.stack([self._next() for _ in range(samples)], dim=1)

    def _next(self) -> Tensor:
        for k in reversed(range(len(self._tiers))):
            self._step(k)
        lowest = self._tiers[0]
        embedded = self._embedding(self._history[:, -self._seen :]).flatten(1)
        x = self._first(embedded) + self._outputs[0][:, self._time % lowest.hop]
        for layer in self._hidden:
            x = functional.relu(layer(x))
        code = torch.multinomial(functional.softmax(self._output(x), dim=-1), 1)
        self._history = torch.cat([self._history[:, 1:], code], dim=1)
        self._time += 1
        return code[:, 0]

    def _step(self, k: int) -> None:
        """Step frame tier k, counted from 0, if it is time for it."""
        tier = self._tiers[k]
        if self._time % tier.hop:
            return
        conditioning = None
        if not tier.is_top:
            above = self._outputs[k + 1]
            i = self._time // tier.hop % above.shape[1]
            conditioning = above[:, i : i + 1]
        frame = self._samples[self._history[:, -tier.frame_size :]]
        self._outputs[k], self._state[k] = tier(frame.unsqueeze(1), conditioning, self._state[k])
