"""Compiles ONNX graphs to TensorRT plans, with whichever kind of TensorRT is installed.

`tensorrt` builds on the GPU that is going to run the plan. `tensorrt-rtx` also builds on a machine without a GPU, for
a GPU named by its compute capability.
"""

import hashlib
import importlib
from typing import Any

from slash_infer.bundle import Precision
from slash_infer.errors import Argument, UserError, first_line
from slash_infer.runtimes.plan_cache import Batches, PlanKey
from slash_infer.runtimes.protocol import Unavailable

PLAN_PRECISIONS: tuple[Precision, ...] = ("fp16", "fp32")  # int8 graphs are for ONNX Runtime on the CPU
RECIPE = 2  # to be raised with every change to how plans are built
BATCHES = ((1, 1, 1), (2, 8, 16), (17, 256, 256), (257, 1024, 4096))
"""Ranges of clips side by side, each with a plan of its own: the fewest, those it is tuned for, the most. As several
profiles in one plan, each range would hold the weights again, wanted or not."""
NOT_CAPTURABLE = b"stream_capturable=0"  # TensorRT-RTX marks each part of a plan that it compiles as one
TARGETS = {"7.5": "SM75", "8.0": "SM80", "8.6": "SM86", "8.9": "SM89", "12.0": "SM120", "12.1": "SM121"}


class Compiler:
    """The TensorRT that is installed: `tensorrt`, or else `tensorrt_rtx`.

    Raises:
        Unavailable: neither is installed.
    """

    def __init__(self) -> None:
        broken = ""
        for flavour in ("tensorrt", "tensorrt_rtx"):
            try:
                self.trt: Any = importlib.import_module(flavour)
            except ModuleNotFoundError:
                continue
            except ImportError as error:  # one of its own libraries is missing
                broken = f" ({flavour} is, but broken: {first_line(error)})"
                continue
            self.flavour = flavour
            break
        else:
            raise Unavailable(f"TensorRT is not installed{broken}; pip install 'slash-audio[tensorrt]'")
        self.logger = _logger(self.trt)

    @property
    def version(self) -> str:
        """TensorRT's version."""
        return str(self.trt.__version__)

    @property
    def builds_for_others(self) -> bool:
        """Whether it can build for a GPU that is not in this machine."""
        return hasattr(self.trt, "ComputeCapability")

    def key(self, content: bytes, batches: Batches, gpu: str, compute_capability: str, driver: str) -> PlanKey:
        """Return the key of a graph's plan for a range of clips on a GPU. `content` is ONNX."""
        sha256 = hashlib.sha256(content).hexdigest()
        return PlanKey(sha256, self.flavour, self.version, gpu, compute_capability, driver, RECIPE, batches)

    def build(self, content: bytes, name: str, batches: Batches, target: str | None = None) -> bytes:
        """Compile a graph.

        Args:
            content: ONNX, with all weights inside.
            name: for messages.
            batches: the range of clips side by side, one of BATCHES.
            target: the compute capability to build for, one of TARGETS; None for the GPU in this machine.

        Returns:
            the plan.

        Raises:
            UserError: TensorRT does not support the graph, or its plan cannot be captured in a CUDA graph.
        """
        trt = self.trt
        builder = trt.Builder(self.logger)
        network = builder.create_network(_strongly_typed(trt))
        parser = trt.OnnxParser(network, self.logger)
        if not parser.parse(content):
            faults = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
            raise UserError(name, f"TensorRT cannot read it ({faults})", "use `engine` cuda or cpu")
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 graphs compute in fp32
        if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # else the plan may not be stream-capturable
        if self.builds_for_others:
            config.num_compute_capabilities = 1
            wanted = (
                trt.ComputeCapability.CURRENT if target is None else getattr(trt.ComputeCapability, TARGETS[target])
            )
            config.set_compute_capability(wanted, 0)
        config.max_aux_streams = 0  # a sample's kernels depend on one another
        profile = builder.create_optimization_profile()
        for i in range(network.num_inputs):
            tensor = network.get_input(i)
            shapes = [[batch if size == -1 else size for size in tensor.shape] for batch in batches]
            profile.set_shape(tensor.name, *shapes)
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise UserError(name, f"TensorRT cannot compile it ({self.logger.last})", "use `engine` cuda or cpu")
        if NOT_CAPTURABLE in bytes(plan):
            raise UserError(name, "its plan cannot be captured in a CUDA graph", "use `engine` cuda or cpu")
        return bytes(plan)


def batches_for(clips: int) -> Batches:
    """Return the range that `clips` clips side by side are in.

    Raises:
        UserError: there are too many.
    """
    for batches in BATCHES:
        if clips <= batches[2]:
            return batches
    raise UserError(Argument("clips", clips), f"TensorRT's plans take at most {BATCHES[-1][2]} side by side")


def _strongly_typed(trt: Any) -> int:
    """Return the flag that keeps a network to the types of its ONNX graph; TensorRT 11 does so without one."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _logger(trt: Any) -> Any:
    """Return a logger that prints nothing and keeps the last error for our own messages."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.last = "it says nothing more"

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.last = message

    return Logger()
