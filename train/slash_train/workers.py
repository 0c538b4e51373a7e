"""The processes that train one model together: a single one, or those started by torchrun."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from typing_extensions import override

from slash_infer.errors import UserError
from slash_train.model import SampleRNN, State

PATIENCE = timedelta(hours=1)  # how long workers wait while the main one saves and makes previews


class Workers:
    """A single process: nothing to share or to wait for."""

    rank, count = 0, 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes the run."""
        return self.rank == 0

    def lanes(self, batch: int) -> slice:
        """Return which lanes of a global batch this process trains on.

        Raises:
            UserError: the batch cannot be divided evenly.
        """
        if batch % self.count:
            fault = f"training.batch_size={batch} cannot be divided among {self.count} processes"
            raise UserError(None, fault, "make it a multiple")
        share = batch // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def wrap(self, model: SampleRNN) -> nn.Module:
        """Return the module to call instead of `model`, which averages gradients over the processes."""
        return model

    def most(self, values: Sequence[float]) -> list[float]:
        """Return for each value the largest that any process gives."""
        return list(values)

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes; on the CPU if there are several."""
        return value

    def gather(self, state: State) -> State:
        """Return the RNN states [S, L, B, D] of all lanes of all processes; on the CPU if there are several."""
        return state

    def wait(self) -> None:
        """Wait until every process has called this."""


class _Distributed(Workers):
    """One of the processes started by torchrun."""

    def __init__(self) -> None:
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()
        # Everything but gradients is exchanged on the CPU: on the GPU it would queue behind the training step.
        self._gloo = distributed.new_group(backend="gloo", timeout=PATIENCE)

    @override
    def wrap(self, model: SampleRNN) -> nn.Module:
        return DistributedDataParallel(model)

    @override
    def most(self, values: Sequence[float]) -> list[float]:
        largest = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(largest, op=distributed.ReduceOp.MAX, group=self._gloo)
        return [float(value) for value in largest.tolist()]

    @override
    def sum(self, value: Tensor) -> Tensor:
        total = value.detach().to("cpu", copy=True)
        distributed.all_reduce(total, group=self._gloo)
        return total

    @override
    def gather(self, state: State) -> State:
        gathered = []
        for tensor in (tensor.cpu().contiguous() for tensor in state):
            parts = [torch.empty_like(tensor) for _ in range(self.count)]
            distributed.all_gather(parts, tensor, group=self._gloo)
            gathered.append(torch.cat(parts, dim=2))
        return gathered

    @override
    def wait(self) -> None:
        distributed.barrier(group=self._gloo)


@contextmanager
def join_workers(device: torch.device) -> Iterator[Workers]:
    """Join the processes that torchrun started; without torchrun, yield a single worker."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Workers()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # the default device, which NCCL and pinned memory use
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield _Distributed()
    finally:
        distributed.destroy_process_group()
