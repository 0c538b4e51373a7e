"""Compiles ONNX graphs to TensorRT plans and keeps them in a private cache. One module for both kinds of TensorRT.

`tensorrt` builds on the GPU that is to run the plan. `tensorrt-rtx` also builds on a machine without a GPU, for one
that is named by its compute capability.

A plan is code: it is never taken from a bundle, only from the user's own cache, and only under the key it was built
for, which names everything it depends on.
"""

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slash_infer.bundle import Precision
from slash_infer.errors import UserError, first_line
from slash_infer.files import atomic_file, read_json, write_json
from slash_infer.runtimes.protocol import Unavailable

PRECISIONS: tuple[Precision, ...] = ("fp16", "fp32")  # int8 graphs are for ONNX Runtime on the CPU
RECIPE = 1  # raised with every change to how plans are built
BATCHES = (1, 8, 1024)  # clips side by side that a plan takes: at least, best tuned for, at most
NOT_CAPTURABLE = b"stream_capturable=0"  # TensorRT-RTX's own note in a plan, for the parts it compiles as one
TARGETS = {"7.5": "SM75", "8.0": "SM80", "8.6": "SM86", "8.9": "SM89", "12.0": "SM120", "12.1": "SM121"}


@dataclass(frozen=True)
class PlanKey:
    """Everything a plan depends on."""

    graph_sha256: str
    flavour: str
    """tensorrt or tensorrt_rtx."""
    version: str
    gpu: str
    """Its name, or `any` for plans built for a compute capability."""
    compute_capability: str
    driver: str
    """Its version, or `any` likewise."""
    recipe: int = RECIPE
    batches: tuple[int, int, int] = BATCHES

    @property
    def name(self) -> str:
        """A file name that no other key has."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


class Compiler:
    """TensorRT, whichever kind is installed: `tensorrt` before `tensorrt_rtx`.

    Raises:
        Unavailable: neither is.
    """

    def __init__(self) -> None:
        broken = ""
        for flavour in ("tensorrt", "tensorrt_rtx"):
            try:
                self.trt: Any = importlib.import_module(flavour)
            except ModuleNotFoundError:
                continue
            except ImportError as error:  # a library of its own is missing
                broken = f" ({flavour} is, but broken: {first_line(error)})"
                continue
            self.flavour = flavour
            break
        else:
            raise Unavailable(f"TensorRT is not installed{broken}; in Slash's folder: pip install '.[tensorrt]'")
        self.logger = _logger(self.trt)

    @property
    def version(self) -> str:
        """TensorRT's."""
        return str(self.trt.__version__)

    @property
    def builds_for_others(self) -> bool:
        """Whether it builds for a GPU that is not here."""
        return hasattr(self.trt, "ComputeCapability")

    def key(self, content: bytes, gpu: str, compute_capability: str, driver: str) -> "PlanKey":
        """Return the key of a graph's plan for a GPU."""
        sha256 = hashlib.sha256(content).hexdigest()
        return PlanKey(sha256, self.flavour, self.version, gpu, compute_capability, driver)

    def build(self, content: bytes, name: str, target: str | None = None) -> bytes:
        """Compile a graph.

        Args:
            content: ONNX, all weights inside.
            name: for messages.
            target: the compute capability it is for, one of TARGETS; None for the GPU that is here.

        Returns:
            the plan.

        Raises:
            UserError: TensorRT does not support the graph, or its plan could not be captured in CUDA graphs.
        """
        trt = self.trt
        builder = trt.Builder(self.logger)
        network = builder.create_network(_strongly_typed(trt))
        parser = trt.OnnxParser(network, self.logger)
        if not parser.parse(content):
            faults = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
            raise UserError(name, f"TensorRT cannot read it ({faults})", "use `engine` cuda or cpu")
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32
        if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # else the plan may not be stream-capturable
        if self.builds_for_others:
            config.num_compute_capabilities = 1
            wanted = (
                trt.ComputeCapability.CURRENT if target is None else getattr(trt.ComputeCapability, TARGETS[target])
            )
            config.set_compute_capability(wanted, 0)
        profile = builder.create_optimization_profile()
        for i in range(network.num_inputs):
            tensor = network.get_input(i)
            shapes = [[batch if size == -1 else size for size in tensor.shape] for batch in BATCHES]
            profile.set_shape(tensor.name, *shapes)
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise UserError(name, f"TensorRT cannot compile it ({self.logger.last})", "use `engine` cuda or cpu")
        if NOT_CAPTURABLE in bytes(plan):
            raise UserError(name, "its plan cannot be captured in a CUDA graph", "use `engine` cuda or cpu")
        return bytes(plan)


class PlanCache:
    """The user's own folder of plans, `$XDG_CACHE_HOME/slash/plans` or `~/.cache/slash/plans`.

    Raises:
        UserError: the folder belongs to somebody else, or others may write to it.
    """

    def __init__(self) -> None:
        base = os.environ.get("XDG_CACHE_HOME")
        self.path = (Path(base) if base else Path.home() / ".cache") / "slash" / "plans"
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = self.path.stat()
        if self.path.is_symlink() or held.st_uid != os.getuid() or held.st_mode & 0o022:
            raise UserError(self.path, "others may write to it", f"make it your own and run: chmod 700 {self.path}")

    def find(self, key: PlanKey) -> bytes | None:
        """Return the plan built for exactly this key, or None where there is none, or a damaged one."""
        page, plan = self._files(key)
        if not (page.exists() and plan.exists()):
            return None
        content = plan.read_bytes()
        described = {**asdict(key), "batches": list(key.batches), "plan_sha256": hashlib.sha256(content).hexdigest()}
        try:
            return content if read_json(page, "a plan's page") == described else None
        except UserError:  # cut short: the plan is built again
            return None

    def find_or_build(self, keys: Sequence[PlanKey], build: Callable[[], bytes]) -> tuple[bytes, bool]:
        """Return the first plan there is under `keys`, or build one for the first of them; say whether it is new."""
        for key in keys:
            plan = self.find(key)
            if plan is not None:
                return plan, False
        plan = build()
        self.keep(keys[0], plan)
        return plan, True

    def path_of(self, key: PlanKey) -> Path:
        """Return where the plan of a key lies, or would."""
        return self._files(key)[1]

    def keep(self, key: PlanKey, plan: bytes) -> None:
        """Keep a plan under its key."""
        page, file = self._files(key)
        with atomic_file(file) as part:
            part.write_bytes(plan)
        write_json(page, {**asdict(key), "plan_sha256": hashlib.sha256(plan).hexdigest()})

    def _files(self, key: PlanKey) -> tuple[Path, Path]:
        return self.path / f"{key.name}.json", self.path / f"{key.name}.plan"


def _strongly_typed(trt: Any) -> int:
    """Return the flag by which a network computes in the types its ONNX says. In TensorRT 11 all do, without it."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _logger(trt: Any) -> Any:
    """Return a logger that keeps the last error for our own message, and prints nothing."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.last = "it says nothing more"

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.last = message

    return Logger()
