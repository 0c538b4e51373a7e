# ruff: noqa
# mypy: ignore-errors
"""Checks and times the cluster kernel on a GPU: needs what slash_infer needs, and cuda-bindings, with NVRTC through cuda-core, or nvcc.

Every job is a process of its own with a time limit: a kernel that gives up takes its context with it. Results are
printed as they come, and a table last.

    python benchmarks/gpu_cluster.py --json FILE [JOB ...]

A job is `micro`, or a preset with options: `slash:cluster=16,frames=96,threads=256,clips=1,near=1,rows=2,profile`.
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
RUNTIMES = HERE.parent / "infer" / "slash_infer" / "runtimes"
sys.path[:0] = [str(HERE), str(HERE.parent / "infer")]

import cluster_model as models  # noqa: E402

from slash_infer.runtimes import cluster_plan as planning  # noqa: E402
from slash_infer.runtimes.cluster_kernel import kernel_source  # noqa: E402

JOBS = [
    "slash:cluster=16,frames=96,profile",
    "live:cluster=8,frames=64,threads=128,profile",
    "slash:cluster=16,frames=96,clips=8,profile",
    "micro",
    "studio:cluster=16,frames=96,profile",
    "paper-3tier:cluster=16,frames=96,profile",
    "tiny:cluster=1,frames=8",
    "slash:cluster=16,frames=96,clips=4",
]
JOB_SECONDS = 40
CHECKED_SAMPLES = 192
FLOOR = 0.002  # of the draws
TIMED_SECONDS = 1.0  # of audio
REPEATS = 3
PATIENCE = 1_000_000_000  # cycles, about 0.6 s
STAGES = [  # of a sample, as the kernel marks them
    "rows_wait",
    "inputs",
    "hidden_mma",
    "block_sync",
    "hidden_share",
    "older_begin",
    "hidden_wait",
    "output_mma",
    "output_share",
    "older_conditioning",
    "older_rows",
    "older_send",
    "logits_wait",
    "draw",
    "code_sync",
]
KINDS = ["copy", "in", "out", "recur", "layer", "rows", "mix"]

Array = npt.NDArray[Any]


def compile_cubin(source: str, macros: dict[str, str], arch: str) -> tuple[bytes, str]:
    """Return a cubin and the compiler that made it."""
    try:
        from cuda.core import Program, ProgramOptions

        options = ProgramOptions(arch=arch, define_macro=list(macros.items()), std="c++17")
        return Program(source, "c++", options).compile("cubin").code, "NVRTC"
    except Exception as error:
        print(f"cuda-core cannot compile ({type(error).__name__}: {str(error)[:300]}); trying nvcc", flush=True)
    number = arch.removeprefix("sm_")
    with tempfile.TemporaryDirectory() as folder:
        kernel, cubin = Path(folder) / "k.cu", Path(folder) / "k.cubin"
        kernel.write_text(source)
        target = f"-gencode=arch=compute_{number},code=sm_{number}"
        defines = [f"-D{name}={value}" for name, value in macros.items()]
        subprocess.run(  # noqa: S603  its arguments are this script's own
            ["nvcc", target, "-cubin", "-std=c++17", "-o", cubin, *defines, kernel],  # noqa: S607  wherever it is
            check=True,
            timeout=JOB_SECONDS,
        )
        return cubin.read_bytes(), "nvcc"


class Device:
    """The first GPU through the driver's API. Every call is checked."""

    def __init__(self) -> None:
        from cuda.bindings import driver

        self.driver: Any = driver
        self.ok(driver.cuInit(0))
        self.device = self.ok(driver.cuDeviceGet(0))
        self.context = self.ok(driver.cuDevicePrimaryCtxRetain(self.device))
        self.ok(driver.cuCtxSetCurrent(self.context))
        self.stream = self.ok(driver.cuStreamCreate(1))
        attribute = driver.CUdevice_attribute

        def read(which: Any) -> int:
            return int(self.ok(driver.cuDeviceGetAttribute(which, self.device)))

        self.capability = (
            read(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            read(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )
        self.processors = read(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        self.shared_bytes = read(attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
        self.clock = read(attribute.CU_DEVICE_ATTRIBUTE_CLOCK_RATE) * 1000
        self.name = self.ok(driver.cuDeviceGetName(96, self.device)).split(b"\0")[0].decode()
        self.arch = f"sm_{self.capability[0]}{self.capability[1]}" + ("a" if self.capability == (9, 0) else "")

    def ok(self, result: tuple[Any, ...]) -> Any:
        """Return what a call of the driver returns; raise what it failed with."""
        code, *values = result
        if int(code) != 0:
            raise RuntimeError(f"CUDA: {code!r}")
        return values[0] if len(values) == 1 else values

    def array(self, values: Array) -> int:
        """Copy to the device; return the address."""
        values = np.ascontiguousarray(values)
        address = self.ok(self.driver.cuMemAlloc(max(values.nbytes, 16)))
        self.put(address, values)
        return int(address)

    def put(self, address: int, values: Array) -> None:
        """Copy to the device."""
        values = np.ascontiguousarray(values)
        self.ok(self.driver.cuMemcpyHtoD(address, values.ctypes.data, values.nbytes))

    def get(self, address: int, like: Array) -> Array:
        """Copy an array of the same size from the device."""
        values = np.empty_like(like)
        self.ok(self.driver.cuMemcpyDtoH(values.ctypes.data, address, values.nbytes))
        return values

    def clear(self, address: int, size: int) -> None:
        """Set bytes to 0."""
        self.ok(self.driver.cuMemsetD8(address, 0, size))

    def host_words(self, count: int) -> tuple[Array, int]:
        """Return words on the host that the device may write, and their address there."""
        address = int(self.ok(self.driver.cuMemHostAlloc(count * 4, 2)))
        words = np.ctypeslib.as_array((ctypes.c_uint32 * count).from_address(address))
        words[:] = 0
        return words, int(self.ok(self.driver.cuMemHostGetDevicePointer(address, 0)))

    def kernel(self, cubin: bytes, name: bytes, shared_bytes: int, cluster: int) -> tuple[Any, dict[str, int]]:
        """Load a kernel; return it, and its registers and spilled bytes."""
        module = self.ok(self.driver.cuModuleLoadData(cubin))
        function = self.ok(self.driver.cuModuleGetFunction(module, name))
        attribute = self.driver.CUfunction_attribute
        self.ok(
            self.driver.cuFuncSetAttribute(
                function, attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared_bytes
            )
        )
        if cluster > 8:
            self.ok(
                self.driver.cuFuncSetAttribute(
                    function, attribute.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1
                )
            )
        facts = {
            what: self.ok(self.driver.cuFuncGetAttribute(which, function))
            for what, which in (
                ("registers", attribute.CU_FUNC_ATTRIBUTE_NUM_REGS),
                ("local_bytes", attribute.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES),
            )
        }
        return function, facts

    def config(self, blocks: int, threads: int, shared_bytes: int, cluster: int, *, cooperative: bool = False) -> Any:
        """Describe a launch."""
        config = self.driver.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = blocks, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = threads, 1, 1
        config.sharedMemBytes = shared_bytes
        config.hStream = self.stream
        attribute = self.driver.CUlaunchAttribute()
        attribute.id = self.driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        attribute.value.clusterDim.x, attribute.value.clusterDim.y, attribute.value.clusterDim.z = cluster, 1, 1
        together = self.driver.CUlaunchAttribute()  # the launch is refused unless all blocks fit at the same time
        together.id = self.driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_COOPERATIVE
        together.value.cooperative = int(cooperative)
        config.attrs = [attribute, together] if cooperative else [attribute]
        config.numAttrs = len(config.attrs)
        return config

    def most_clusters(self, function: Any, config: Any) -> int:
        """Return how many clusters fit at the same time."""
        return int(self.ok(self.driver.cuOccupancyMaxActiveClusters(function, config)))

    def launch(self, function: Any, config: Any, parameter: ctypes.Structure) -> float:
        """Launch with one parameter; return seconds on the device."""
        begun, ended = (self.ok(self.driver.cuEventCreate(0)) for _ in range(2))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(parameter))
        self.ok(self.driver.cuEventRecord(begun, self.stream))
        self.ok(self.driver.cuLaunchKernelEx(config, function, ctypes.addressof(pointers), 0))
        self.ok(self.driver.cuEventRecord(ended, self.stream))
        self.ok(self.driver.cuStreamSynchronize(self.stream))
        return float(self.ok(self.driver.cuEventElapsedTime(begun, ended))) / 1e3


# ---- A job: one preset in one layout ----


class Runner:
    """A planned model on the device."""

    def __init__(
        self, gpu: Device, plan: planning.Plan, model: models.Model, kernel: Any, config: Any, samples: int, seed: int
    ) -> None:
        self.gpu, self.plan, self.model, self.kernel, self.config = gpu, plan, model, kernel, config
        self.steps = max(1, samples // plan.top_hop)
        rng = np.random.default_rng(seed)
        clips, self.samples = plan.clips, self.steps * plan.top_hop
        self.history = rng.integers(0, plan.levels, (clips, plan.context))
        self.uniform = ((rng.integers(0, 2**22, (clips, self.samples)) + 0.5) / 2**22).astype(np.float32)
        self.temperature = rng.uniform(0.8, 1.2, (clips, self.steps)).astype(np.float32)
        self.states = plan.initial_states([tier.initial for tier in model[0]])
        self.tape = np.zeros((clips, plan.context + self.samples), np.uint64)
        self.nll = np.full((clips, self.samples), np.nan, np.float32)
        self.mail_bytes = plan.mail_words * 8
        held = {
            name: gpu.array(getattr(plan, name))
            for name in ("fragments", "biases", "table", "samples", "weights", "programs")
        }
        self.report, report = gpu.host_words(16)
        self.at = {
            **held,
            "mail": gpu.array(np.zeros(plan.mail_words, np.uint64)),
            "tape": gpu.array(self.tape),
            "states": gpu.array(self.states),
            "uniform": gpu.array(self.uniform),
            "temperature": gpu.array(self.temperature),
            "nll": gpu.array(self.nll),
            "fault": gpu.array(np.zeros(4, np.uint32)),
            "profile": gpu.array(np.zeros(1024, np.uint64)),
            "report": report,
        }

    def run(self, flags: int = 0, codes: Array | None = None) -> float:
        """Run from the initial state; return seconds."""
        gpu, plan = self.gpu, self.plan
        tag = np.uint64(1 << 32)
        self.tape[:] = 0
        self.tape[:, : plan.context] = self.history.astype(np.uint64) | tag
        if codes is not None:
            self.tape[:, plan.context :] = codes.astype(np.uint64) | tag
        gpu.put(self.at["tape"], self.tape)
        gpu.put(self.at["states"], self.states)
        gpu.put(self.at["nll"], np.full_like(self.nll, np.nan))
        gpu.clear(self.at["mail"], self.mail_bytes)
        gpu.clear(self.at["profile"], 8192)
        call = planning.Call(
            steps=self.steps,
            flags=flags,
            floor=FLOOR,
            tiers=(planning.Tier * planning.MAX_TIERS)(*plan.tiers),
            **plan.call,
            **self.at,
        )
        gpu.clear(self.at["fault"], 16)
        self.report[:] = 0
        seconds = gpu.launch(self.kernel, self.config, call)
        if self.report[0]:
            raise RuntimeError(
                f"a thread waited for too long (place, block, thread, expected, seen): {self.report[:5].tolist()}"
            )
        return seconds

    def codes(self) -> Array:
        """Return the codes that the last run drew, [clips, samples]."""
        tape = self.gpu.get(self.at["tape"], self.tape)
        codes: Array = (tape & np.uint64(0xFFFFFFFF)).astype(np.int64)[:, self.plan.context :]
        return codes


class Job:
    """A preset in one layout: planned, compiled, checked and timed."""

    def __init__(self, name: str, options: dict[str, str]) -> None:
        self.name, self.options, self.shape = name, options, models.PRESETS[name]
        self.clips, self.threads = int(options.get("clips", 1)), int(options.get("threads", 256))
        self.cluster = int(options.get("cluster", 16))
        self.gpu = Device()
        self.result: dict[str, Any] = {"device": self.gpu.name, "processors": self.gpu.processors, "floor": FLOOR}
        began = time.time()
        self.model = models.make_model(self.shape)
        self.result["model_s"] = time.time() - began

    def run(self) -> dict[str, Any]:
        """Do it all; print results as they come, and return them."""
        self._prepare()
        self._check()
        self._time()
        if "profile" in self.options:
            self._profile()
        return self.result

    def _prepare(self) -> None:
        """Plan and compile, with fewer frame blocks where not all clusters fit."""
        frames = int(self.options.get("frames", 112))
        while True:
            frames -= frames % self.cluster
            began = time.time()
            self.plan = planning.make_plan(
                *self.model,
                self.shape.levels,
                cluster=self.cluster,
                frame_blocks=frames,
                clips=self.clips,
                threads=self.threads,
                shared_bytes=self.gpu.shared_bytes,
                row_tiles=int(self.options.get("rows", planning.ROW_TILES)),
                near=self.options.get("near", "1") == "1",
            )
            self.result["plan_s"] = time.time() - began
            began = time.time()
            self.kernel, facts = self._compile()
            self.result["compile_s"] = time.time() - began
            self.config = self._launch(cooperative=False)
            most = self.gpu.most_clusters(self.kernel, self.config)
            self.result |= facts | {"most_clusters": most, "frames": frames}
            if most * self.cluster >= self.plan.blocks:
                break
            print(f"only {most} clusters of {self.cluster} fit: fewer frame blocks", flush=True)
            frames = (most - 1) * self.cluster
            if frames < self.cluster:
                raise RuntimeError(f"{most} clusters of {self.cluster} are too few")
        self.result["resident_MB"] = sum(self.plan.resident_bytes) / 1e6
        self.result["streamed_MB"] = sum(self.plan.streamed_bytes) / 1e6
        self.result["ops"] = self.plan.step_ops
        shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in self.result.items()}
        print(self.name, self.options, shown, flush=True)

    def _compile(self, *, profile: bool = False) -> tuple[Any, dict[str, int]]:
        macros = self.plan.macros(patience=PATIENCE, profile=profile)
        cubin, self.result["compiler"] = compile_cubin(kernel_source("cluster.cu"), macros, self.gpu.arch)
        return self.gpu.kernel(cubin, b"generate", self.plan.shared_bytes, self.cluster)

    def _launch(self, *, cooperative: bool) -> Any:
        plan = self.plan
        return self.gpu.config(plan.blocks, self.threads, plan.shared_bytes, self.cluster, cooperative=cooperative)

    def _runner(self, config: Any, samples: int, seed: int) -> Runner:
        return Runner(self.gpu, self.plan, self.model, self.kernel, config, samples, seed)

    def _check(self) -> None:
        """Compare a short run with what numpy computes from the same codes."""
        gpu, result = self.gpu, self.result
        try:
            self._runner(self._launch(cooperative=True), CHECKED_SAMPLES, 1).run()
            result["cooperative"] = True
        except RuntimeError as error:
            result["cooperative"] = str(error)[:200]
        short = self._runner(self.config, CHECKED_SAMPLES, 1)
        result["short_s"] = short.run()
        codes, nll = short.codes(), gpu.get(short.at["nll"], short.nll)
        states = gpu.get(short.at["states"], short.states)
        short.run()
        result["repeatable"] = bool((short.codes() == codes).all())
        verdicts = [
            models.judge(
                self.model,
                self.plan,
                self.shape.levels,
                short.history[clip],
                codes[clip],
                nll[clip],
                short.uniform[clip],
                short.temperature[clip],
                FLOOR,
                states,
                clip,
            )
            for clip in sorted({0, self.clips // 2, self.clips - 1})
        ]
        result["nll_error"] = max(verdict.nll for verdict in verdicts)
        result["draw_error"] = max(verdict.draw for verdict in verdicts)
        result["state_error"] = max(verdict.state for verdict in verdicts)
        result["bits"] = verdicts[0].bits
        result["correct"] = bool(
            result["nll_error"] < 0.1 and result["draw_error"] < 0.01 and result["state_error"] < 0.02
        )
        shown = ["correct", "repeatable", "cooperative", "nll_error", "draw_error", "state_error", "bits"]
        print({name: result[name] for name in shown}, flush=True)

    def _time(self) -> None:
        result, shape = self.result, self.shape
        self.long = self._runner(self.config, int(TIMED_SECONDS * shape.rate), 2)
        seconds = self._timed("whole")
        result["x_realtime_one"] = self.long.samples / shape.rate / seconds
        result["x_realtime_all"] = result["x_realtime_one"] * self.clips
        drawn = self.long.codes()
        if shape.mlp_layers:
            self._timed("sample_tier", planning.ALONE | planning.NO_FRAMES)
        self._timed("frame_tiers", planning.GIVEN, drawn)
        print({k: round(v, 3) for k, v in result.items() if "us_per" in k or "x_real" in k}, flush=True)

    def _timed(self, what: str, flags: int = 0, codes: Array | None = None) -> float:
        long = self.long
        long.run(flags, codes)
        times = [long.run(flags, codes) for _ in range(REPEATS)]
        seconds = statistics.median(times)
        self.result[f"{what}_us_per_sample"] = seconds / long.samples * 1e6
        self.result[f"{what}_us_per_step"] = seconds / long.steps * 1e6
        self.result[f"{what}_spread"] = (max(times) - min(times)) / seconds
        return seconds

    def _profile(self) -> None:
        """Run a kernel that counts its cycles."""
        long, plan, result = self.long, self.plan, self.result
        long.kernel, _ = self._compile(profile=True)
        long.run()
        result["profiled_us_per_sample"] = long.run() / long.samples * 1e6
        cycles = self.gpu.get(long.at["profile"], np.zeros(1024, np.uint64)).astype(np.int64)
        stages = {name: round(float(c) / long.samples, 1) for name, c in zip(STAGES, cycles, strict=False)}
        result["sample_cycles"] = stages
        print("cycles of a sample, block 0:", stages, "sum", round(sum(stages.values())), flush=True)
        ops = []
        for i in range(plan.step_ops - 1):
            op = planning.Op.from_buffer_copy(plan.programs[0, plan.call["step_op"] + i].tobytes())
            if op.kind == planning.COPY:
                break
            label = f"{KINDS[op.kind]} t{op.tier}s{op.step}l{op.layer} x{op.tiles}" + "*" * op.resident_a
            wait, work = (round(float(cycles[32 + 2 * i + j]) / long.steps) for j in range(2))
            ops.append((label, wait, work))
        result["frame_ops"] = ops
        print("frame block 0, cycles a step (op, * = weights resident; wait; work):", flush=True)
        for label, wait, work in ops[:40]:
            print(f"   {label:<22} {wait:>8} {work:>8}")


# ---- What the design rests on: latencies and rates, each in a kernel of its own ----


class Args(ctypes.Structure):
    """The parameter of the kernel in `gpu_cluster_micro.cu`."""

    _fields_ = [
        ("out", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("big", ctypes.c_void_p),
        ("bytes", ctypes.c_longlong),
        ("which", ctypes.c_int),
        ("rounds", ctypes.c_int),
    ]


def run_micro() -> dict[str, Any]:
    """Measure latencies and rates of the device; print and return them."""
    gpu = Device()
    source = (
        "typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;"
        "typedef unsigned long long u64;\n#define DEVICE __device__ __forceinline__\n"
        + (RUNTIMES / "device.cuh").read_text()
        + (HERE / "gpu_cluster_micro.cu").read_text()
    )
    cubin, compiler = compile_cubin(source, {"THREADS": "512"}, gpu.arch)
    result: dict[str, Any] = {"device": gpu.name, "compiler": compiler, "clock": gpu.clock}
    big = 256 << 20
    out, words = gpu.array(np.zeros(16, np.uint64)), gpu.array(np.zeros(4096, np.uint64))
    memory = gpu.array(np.zeros(big, np.uint8))
    shared = 200 * 1024  # one block a processor

    def measure(
        what: str, which: int, rounds: int, cluster: int = 16, blocks: int | None = None, size: int = 0
    ) -> None:
        kernel, _ = gpu.kernel(cubin, b"micro", shared, cluster)
        config = gpu.config(blocks or cluster, 512, shared, cluster)
        most = gpu.most_clusters(kernel, config)
        if most * cluster < (blocks or cluster):
            result[what] = f"only {most} clusters"
            return
        seconds = []
        for _ in range(2):
            gpu.clear(words, 32768)
            seconds.append(gpu.launch(kernel, config, Args(out, words, memory, size, which, rounds)))
        cycles = int(gpu.get(out, np.zeros(1, np.uint64))[0]) / rounds
        result[what] = {"cycles": round(cycles, 1), "ns": round(seconds[-1] / rounds * 1e9, 1)}
        if size:
            result[what]["TB_per_s"] = round(size * rounds / seconds[-1] / 1e12, 2)
        print(what, result[what], flush=True)

    kernel, _ = gpu.kernel(cubin, b"micro", shared, 16)
    for cluster in (16, 8, 4, 2, 1):
        result[f"clusters_of_{cluster}"] = gpu.most_clusters(kernel, gpu.config(cluster, 512, shared, cluster))
    print({k: v for k, v in result.items() if "clusters" in k}, flush=True)
    blocks = min(result["clusters_of_16"], 8) * 16
    measure("block barrier", 0, 10000)
    measure("cluster barrier, 16", 1, 10000)
    measure("cluster barrier, 4", 1, 10000, cluster=4)
    measure("exchange of 64 bytes, 16 blocks", 2, 10000)
    measure("exchange of 128 bytes, 16 blocks", 3, 10000)
    measure("exchange of 128 bytes, 4 blocks", 3, 10000, cluster=4)
    measure("exchange of 128 bytes, 16 blocks, by 8 warps", 13, 10000)
    measure("the same with words, strong loads", 15, 10000)
    measure("the same with words, weak loads", 16, 10000)
    measure("the same with words, copies", 17, 10000)
    measure("words that another cluster writes, strong loads", 18, 5000, blocks=32)
    measure("dependent load, shared memory of another block", 12, 10000)
    measure("dependent load, second-level cache, 8 warps of 16 blocks", 14, 10000)
    measure("exchange of 512 words, 64 blocks, global", 4, 5000, blocks=64)
    measure("round trip of a word, global", 11, 5000, blocks=32)
    measure("dependent load, second-level cache", 5, 5000)
    measure("dependent matrix product", 6, 10000)
    measure("256 products of a block and barrier", 7, 10000)
    measure("max, scan and sum of a warp", 10, 10000)
    unit = blocks * 512 * 8 * 16  # what all threads read at once
    for units in (7,):
        size = units * unit
        measure(
            f"streaming {size / 1e6:.0f} MB again and again, {blocks} blocks",
            8,
            max(10, big // size * 10),
            blocks=blocks,
            size=size,
        )
    return result


def run_job(job: str) -> dict[str, Any]:
    """Run one job in this process."""
    name, _, rest = job.partition(":")
    if name == "micro":
        return run_micro()
    return Job(name, dict(part.partition("=")[::2] for part in rest.split(",") if part)).run()


def run_child(job: str, seconds: float) -> dict[str, Any]:
    """Run one job in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        try:
            subprocess.run(  # noqa: S603  this script itself
                [sys.executable, __file__, "--child", file, job], timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": "took too long"}
        result: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"error": "died"}
        return result


def main() -> None:
    """Run all jobs, or one as a child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=150, help="for all jobs; later jobs are dropped")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("jobs", nargs="*", default=JOBS)
    args = parser.parse_args()
    if args.child:
        try:
            result = run_job(args.jobs[0])
        except BaseException as error:
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}: {error}"}
        args.child.write_text(json.dumps(result))
        sys.stdout.flush()
        os._exit(0)  # a context that a kernel has destroyed may hang at exit
    began, results = time.time(), {}
    for job in args.jobs:
        left = args.seconds - (time.time() - began)
        print(f"==== {job} ({time.time() - began:.0f} s)", flush=True)
        results[job] = run_child(job, min(JOB_SECONDS, left)) if left > 5 else {"error": "no time left"}
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))
    print(
        f"\n{'job':<46} {'correct':>8} {'x real':>8} {'x all':>8} {'us/sample':>10} {'alone':>8} {'frames/step':>12}"
    )
    for job, r in results.items():
        if "error" in r:
            print(f"{job:<46} {r['error'][:120]}")
        elif "x_realtime_one" in r:
            print(
                f"{job:<46} {r['correct']!s:>8} {r['x_realtime_one']:>8.2f} {r['x_realtime_all']:>8.1f}"
                f" {r['whole_us_per_sample']:>10.3f} {r.get('sample_tier_us_per_sample', 0):>8.3f}"
                f" {r['frame_tiers_us_per_step']:>12.2f}"
            )


if __name__ == "__main__":
    main()
