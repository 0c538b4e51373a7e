"""The processes that train one model together: one, or as many as torchrun starts."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from slash_infer.errors import UserError
from slash_train.model import SampleRNN, State

PATIENCE = timedelta(hours=1)  # how long workers wait while the main one saves and generates


class Workers:
    """One process alone. Every method is a no-op on what this process has."""

    rank, count = 0, 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run."""
        return self.rank == 0

    def lanes(self, batch: int) -> slice:
        """The lanes of a global batch that this process trains on.

        Raises:
            UserError: the batch cannot be divided evenly.
        """
        if batch % self.count:
            raise UserError(
                f"training.batch_size={batch} cannot be divided among {self.count} processes; make it a multiple"
            )
        share = batch // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def wrap(self, model: SampleRNN) -> nn.Module:
        """Return what to call in place of `model`, so that gradients are averaged over the processes."""
        return model

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Return, for each flag, whether any process raised it."""
        return list(flags)

    def sum(self, value: Tensor) -> Tensor:
        """Sum a tensor over the processes; on the CPU where there are several."""
        return value

    def gather(self, state: State) -> State:
        """Join the lanes' states [S, L, B, D] of all processes, in the lanes' order; on the CPU where several."""
        return state

    def wait(self) -> None:
        """Wait until every process has come here."""


class _Distributed(Workers):
    """This process among those that torchrun started."""

    def __init__(self) -> None:
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()
        # Everything but gradients travels between the hosts: through the GPU it would wait for its work.
        self._hosts = distributed.new_group(backend="gloo", timeout=PATIENCE)

    def wrap(self, model: SampleRNN) -> nn.Module:
        return DistributedDataParallel(model)

    def any(self, flags: Sequence[bool]) -> list[bool]:
        raised = torch.tensor(flags, dtype=torch.int32)
        distributed.all_reduce(raised, op=distributed.ReduceOp.MAX, group=self._hosts)
        return [bool(flag) for flag in raised.tolist()]

    def sum(self, value: Tensor) -> Tensor:
        total = value.detach().to("cpu", copy=True)
        distributed.all_reduce(total, group=self._hosts)
        return total

    def gather(self, state: State) -> State:
        gathered = []
        for tensor in (tensor.cpu().contiguous() for tensor in state):
            parts = [torch.empty_like(tensor) for _ in range(self.count)]
            distributed.all_gather(parts, tensor, group=self._hosts)
            gathered.append(torch.cat(parts, dim=2))
        return gathered

    def wait(self) -> None:
        distributed.barrier(group=self._hosts)


@contextmanager
def join_workers(device: torch.device) -> Iterator[Workers]:
    """Join the processes torchrun started, or work alone when there are none."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Workers()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what NCCL and pinned memory use unasked
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield _Distributed()
    finally:
        distributed.destroy_process_group()
