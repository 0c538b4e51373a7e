"""Uses the GPU's code on a driver without a GPU (fake_cuda.c), which must be the `libcuda.so.1` that is found first.

    LD_LIBRARY_PATH=FOLDER python on_fake_gpu.py BUNDLE BUNDLE_WITH_FP16 FOLDER_FOR_KERNELS

Each check is a function; writes a JSON object with what each of them raised.
"""

import ctypes
import gc
import itertools
import json
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import host_device
import numpy as np
import onnxruntime as ort
from cuda.bindings import driver
from typing_extensions import override

from slash_infer.bundle import Bundle, Precision
from slash_infer.errors import UserError
from slash_infer.runtimes import gpu as gpu_module
from slash_infer.runtimes.cluster_gpu import ClusterGpu
from slash_infer.runtimes.cluster_runtime import Cluster
from slash_infer.runtimes.gpu import GpuArray, GpuGraphs
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.runtimes.onnx_session import OnnxGraph, open_session
from slash_infer.runtimes.protocol import Graph, Launch
from slash_infer.runtimes.throughput_runner import ThroughputRunner
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler

Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
FAKE = ctypes.CDLL("libcuda.so.1")


@cache
def example() -> Bundle:
    """Return the bundle to generate from."""
    return Bundle(Path(sys.argv[1]))


class FakeGpu(GpuGraphs):
    """A GPU whose graphs ONNX Runtime runs on the CPU, at the GPU's addresses, when the stream comes to them."""

    name = "fake"
    precisions: tuple[Precision, ...] = ("fp32",)

    @property
    @override
    def description(self) -> str:
        return "no GPU"

    @override
    def load(self, content: bytes, name: str, width: int) -> "_QueuedGraph":
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = open_session(content, name, options, ["CPUExecutionProvider"])
        return _QueuedGraph(self, OnnxGraph(session, name, "cpu", lambda array: array.address))


class _QueuedGraph(Graph[GpuArray]):
    def __init__(self, gpu: GpuGraphs, graph: OnnxGraph) -> None:
        self._gpu, self._graph = gpu, graph
        self.inputs, self.outputs = graph.inputs, graph.outputs

    @override
    def bind(self, arrays: Mapping[str, GpuArray]) -> Launch:
        run = self._graph.bind(arrays)
        callback = Callback(lambda _: run())  # freed with the launch, as TensorRT's contexts are

        def launch() -> None:
            with self._gpu.turn():
                function = driver.CUhostFn(ctypes.cast(callback, ctypes.c_void_p).value)
                (code,) = driver.cuLaunchHostFunc(self._gpu.handle, function, 0)
                assert code == driver.CUresult.CUDA_SUCCESS, code

        return launch


class FakeClusterGpu(ClusterGpu):
    """A GPU whose kernels are compiled for the host."""

    threads = 128

    @override
    def compile(self, source: str, macros: Mapping[str, str]) -> bytes:
        if not macros:  # asked for how many clusters there may be, and never launched
            return b"libcuda.so.1\0"
        time.sleep(0.05)  # other threads may come meanwhile
        name = "throughput.cu" if "PRODUCT_CLIPS" in macros else "cluster.cu"
        source = (host_device.SOURCES / name).read_text()
        return bytes(host_device.build(Path(sys.argv[3]), source, macros)) + b"\0"


class ImpatientGpu(FakeClusterGpu):
    """The same, where threads wait for next to nothing."""

    @override
    def compile(self, source: str, macros: Mapping[str, str]) -> bytes:
        return super().compile(source, {**macros, "PATIENCE": "0"} if macros else {})


def the_cluster_kernel_draws_the_codes_that_it_draws_without_a_driver() -> None:
    bundle = Bundle(Path(sys.argv[2]))
    engine = Engine(bundle, Cluster(FakeClusterGpu()), "fp16")
    without = Cluster(host_device.HostDevice(Path(sys.argv[3])))
    expected = Sampler(bundle, 2, engine=Engine(bundle, without, "fp16")).codes(64)
    sampler = Sampler(bundle, 2, engine=engine)
    assert np.array_equal(np.concatenate([sampler.codes(samples) for samples in (1, 15, 48)], axis=1), expected)
    drawn = dict[int, Any]()

    def draw(clip: int) -> None:
        drawn[clip] = Sampler(bundle, [clip % 2, 5], engine=engine).codes(64)[0]

    _in_threads(draw, 4)
    for clip, codes in drawn.items():
        assert np.array_equal(codes, expected[clip % 2]), clip


def kernels_for_many_clips_draw_the_codes_of_those_for_few() -> None:
    bundle = Bundle(Path(sys.argv[2]))
    engine = Engine(bundle, Cluster(FakeClusterGpu()), "fp16")
    expected = Sampler(bundle, 2, engine=engine).codes(64)
    sampler = Sampler(bundle, 17, engine=engine)
    assert all(isinstance(runner, ThroughputRunner) for runner in sampler._batch._runners)
    drawn = np.concatenate([sampler.codes(samples) for samples in (1, 15, 48)], axis=1)
    assert np.array_equal(drawn[:2], expected)
    riff = np.sin(np.arange(50, dtype=np.float32) / 3)
    few, many = (Sampler(bundle, clips, engine=engine) for clips in (2, 17))
    for sampler in (few, many):
        sampler.prime(riff)
    assert np.array_equal(many.codes(32)[:2], few.codes(32))


def samplers_on_several_threads_may_begin_at_once_on_the_cluster_kernels() -> None:
    bundle = Bundle(Path(sys.argv[2]))
    expected = Sampler(bundle, 2, engine=Engine(bundle, Cluster(FakeClusterGpu()), "fp16")).codes(32)
    for clips in (2, 17):
        engine, drawn = Engine(bundle, Cluster(FakeClusterGpu()), "fp16"), dict[int, Any]()
        begun = threading.Barrier(4)

        _in_threads(partial(_draw_at_once, engine, clips, begun, drawn), 4)
        for number, codes in drawn.items():
            assert np.array_equal(codes[:2], expected), (clips, number)


def _draw_at_once(engine: Engine, clips: int, begun: threading.Barrier, drawn: dict[int, Any], number: int) -> None:
    begun.wait()
    drawn[number] = Sampler(Bundle(Path(sys.argv[2])), clips, engine=engine).codes(32)


def the_whole_player_draws_the_codes_of_the_cpu() -> None:
    expected = Sampler(example(), 4, engine=Engine(example(), OnnxCpu(cores=1))).codes(320)
    sampler = Sampler(example(), 4, engine=Engine(example(), FakeGpu()))
    drawn = np.concatenate([sampler.codes(samples) for samples in (1, 15, 304)], axis=1)
    assert np.array_equal(drawn, expected)


def a_captured_graph_keeps_alive_what_it_was_captured_from() -> None:
    gpu = FakeGpu()
    source, to = gpu.array([2, 4], np.float32), gpu.array([2, 4], np.float32)
    gpu.put(source, np.arange(8, dtype=np.float32).reshape(2, 4))

    class Context:
        """Stands for what a library needs to run: a graph refers to it, and owns nothing."""

        def run(self) -> None:
            """Do nothing."""

    context = Context()
    alive = weakref.ref(context)
    replay = gpu.capture([context.run, gpu.copy_columns(to, 0, source, 0, 4)])
    del context, source
    gc.collect()
    gpu.array([1], np.float32)  # frees what was dropped
    replay()
    assert alive() is not None, "what was captured is gone"
    assert np.array_equal(gpu.get(to), np.arange(8).reshape(2, 4))
    del replay
    gc.collect()
    assert alive() is None, "what was captured is kept for ever"


def any_thread_may_use_it() -> None:
    engine, drawn = Engine(example(), FakeGpu()), dict[int, Any]()

    def draw(clip: int) -> None:
        drawn[clip] = Sampler(example(), [clip], engine=engine).codes(160)

    _in_threads(draw, 6)
    for clip in range(6):
        assert np.array_equal(drawn[clip], Sampler(example(), [clip], engine=engine).codes(160)), clip


def memory_that_is_dropped_while_a_stream_is_captured_does_not_spoil_it() -> None:
    gpu = FakeGpu()
    to = gpu.array([1, 4], np.float32)
    held = [gpu.array([1, 4], np.float32) for _ in range(2)]
    cycle: list[Any] = [gpu.array([1, 4], np.float32)]
    cycle.append(cycle)  # only the garbage collector frees it
    del cycle
    calls = itertools.count()

    def drops() -> None:
        if next(calls) == 1:  # the first call is not captured yet
            assert not gc.isenabled(), "garbage may be collected meanwhile"
            held.pop()
            other = threading.Thread(target=held.pop)
            other.start()
            other.join()
            gc.collect()

    gpu.capture([drops, gpu.copy_columns(to, 0, to, 0, 4)])()
    assert not held and gc.isenabled()
    gpu.get(to)


def threads_that_capture_do_not_get_into_each_others_graphs() -> None:
    gpu = FakeGpu()
    seen = dict[int, Any]()

    def work(number: int) -> None:
        source, to = gpu.array([1, 4], np.float32), gpu.array([1, 4], np.float32)
        gpu.put(source, np.full([1, 4], number, np.float32))
        replay = gpu.capture([lambda: time.sleep(1e-3), gpu.copy_columns(to, 0, source, 0, 4)])
        gpu.put(source, np.full([1, 4], -number, np.float32))
        replay()
        seen[number] = gpu.get(to)

    _in_threads(work, 8)
    for number, values in seen.items():
        assert np.all(values == -number), (number, values)


def memory_is_freed() -> None:
    engine = Engine(example(), FakeGpu())
    counts = []
    for _ in range(4):
        for clips in range(1, 20):  # more batch sizes than the engine keeps runners for
            Sampler(example(), clips, engine=engine).codes(16)
        gc.collect()
        counts.append(FAKE.fake_allocations())
    assert counts[-1] <= counts[1], counts


def a_programming_error_is_not_taken_for_a_missing_gpu() -> None:
    with mock.patch.object(gpu_module, "Device", side_effect=TypeError("a defect")):
        try:
            FakeGpu()
        except TypeError as error:
            assert str(error) == "a defect"
        else:
            raise AssertionError("the defect was hidden")


def an_error_of_the_driver_is_said() -> None:
    gpu = FakeGpu()
    array = gpu.array([1, 4], np.float32)
    gone = GpuArray(array.memory, array.address + 2**40, array.shape, array.dtype)
    try:
        gpu.get(gone)
    except UserError as error:
        assert str(error).startswith("`engine` fake: the GPU failed (CUDA: CUDA_ERROR_ILLEGAL_ADDRESS); "), error
    else:
        raise AssertionError("reading memory that is not there went through")


def a_launch_that_fails_is_said_in_one_line() -> None:
    sampler = Sampler(example(), 1, engine=Engine(example(), FakeGpu()))
    sampler.codes(16)
    FAKE.fake_failure(2)
    for expected in ("CUDA_ERROR_OUT_OF_MEMORY", ""):
        try:
            sampler.codes(16)
        except UserError as error:
            said = str(error)
            assert said.startswith("`engine` fake: the GPU failed (") and expected in said, said
            assert "fewer `clips`" in said, said
        else:
            assert not expected, "a call that failed went through"


def a_kernel_that_gives_up_says_so_every_time() -> None:
    bundle = Bundle(Path(sys.argv[2]))
    sampler = Sampler(bundle, 1, engine=Engine(bundle, Cluster(ImpatientGpu()), "fp16"))
    for _ in range(2):
        try:
            sampler.codes(16)
        except UserError as error:
            assert str(error).startswith("`engine` cluster: the kernel gave up waiting (place "), error
        else:
            raise AssertionError("a kernel that gave up went through")


def _in_threads(work: Callable[[int], None], count: int) -> None:
    raised = list[BaseException]()

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


CHECKS = [
    the_cluster_kernel_draws_the_codes_that_it_draws_without_a_driver,
    kernels_for_many_clips_draw_the_codes_of_those_for_few,
    samplers_on_several_threads_may_begin_at_once_on_the_cluster_kernels,
    the_whole_player_draws_the_codes_of_the_cpu,
    a_captured_graph_keeps_alive_what_it_was_captured_from,
    any_thread_may_use_it,
    memory_that_is_dropped_while_a_stream_is_captured_does_not_spoil_it,
    threads_that_capture_do_not_get_into_each_others_graphs,
    memory_is_freed,
    a_programming_error_is_not_taken_for_a_missing_gpu,
    an_error_of_the_driver_is_said,
    a_launch_that_fails_is_said_in_one_line,
    a_kernel_that_gives_up_says_so_every_time,
]


def main() -> None:
    """Run every check."""
    outcome = {}
    for check in CHECKS:
        try:
            check()
        except Exception:
            outcome[check.__name__] = traceback.format_exc()
        else:
            outcome[check.__name__] = ""
    sys.stdout.write(json.dumps(outcome))


if __name__ == "__main__":
    main()
