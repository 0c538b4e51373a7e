# ruff: noqa
# mypy: ignore-errors
"""Checks and times the cluster kernel on a GPU: needs numpy, cuda-bindings, and NVRTC through cuda-core, or nvcc.

Every job is a process of its own with a time limit: a kernel that gives up takes its context with it. Results are
printed as they come, and a table last.

    python benchmarks/gpu_cluster.py --json FILE [JOB ...]

A job is `micro`, or a preset with options: `slash:cluster=16,frames=96,threads=256,clips=1,near=1,rows=2,profile`.
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
RUNTIMES = HERE.parent / "infer" / "slash_infer" / "runtimes"
sys.path[:0] = [str(HERE), str(RUNTIMES)]

import cluster_model as models  # noqa: E402
import cluster_plan as planning  # noqa: E402

JOBS = [
    "tiny:cluster=1,frames=8",
    "slash:cluster=16,frames=96,profile",
    "slash:cluster=16,frames=96,near=0",
    "micro",
    "live:cluster=8,frames=64,profile",
    "studio:cluster=16,frames=96,profile",
    "paper-3tier:cluster=16,frames=96,profile",
    "frame-rnn:cluster=1,frames=112",
    "slash:cluster=16,frames=96,clips=8,profile",
    "slash:cluster=16,frames=96,clips=8,threads=512",
    "live:cluster=4,frames=64",
    "live:cluster=8,frames=64,threads=128",
    "live:cluster=8,frames=32",
    "slash:cluster=16,frames=80",
]
JOB_SECONDS = 40
CHECKED_SAMPLES = 192
TIMED_SECONDS = 1.0  # of audio
REPEATS = 3
PATIENCE = 1_000_000_000  # cycles, about 0.6 s


def kernel_source():
    source = (RUNTIMES / "cluster.cu").read_text()
    return source.replace('#include "cluster_device.cuh"', (RUNTIMES / "cluster_device.cuh").read_text())


def compile_cubin(source, macros, arch):
    """Return a cubin and the compiler that made it."""
    try:
        from cuda.core import Program, ProgramOptions

        options = ProgramOptions(arch=arch, define_macro=[(k, v) for k, v in macros.items()], std="c++17")
        return Program(source, "c++", options).compile("cubin").code, "NVRTC"
    except Exception as error:  # noqa: BLE001
        print(f"cuda-core cannot compile ({type(error).__name__}: {str(error)[:300]}); trying nvcc", flush=True)
    folder = Path("/tmp/cluster_kernel")
    folder.mkdir(exist_ok=True)
    (folder / "k.cu").write_text(source)
    number = arch.removeprefix("sm_")
    subprocess.run(
        ["nvcc", f"-gencode=arch=compute_{number},code=sm_{number}", "-cubin", "-std=c++17", "-o", folder / "k.cubin"]
        + [f"-D{k}={v}" for k, v in macros.items()]
        + [folder / "k.cu"],
        check=True,
        timeout=JOB_SECONDS,
    )
    return (folder / "k.cubin").read_bytes(), "nvcc"


class Device:
    """The first GPU through the driver's API. Every call is checked."""

    def __init__(self):
        from cuda.bindings import driver

        self.driver = driver
        self.ok(driver.cuInit(0))
        self.device = self.ok(driver.cuDeviceGet(0))
        self.context = self.ok(driver.cuDevicePrimaryCtxRetain(self.device))
        self.ok(driver.cuCtxSetCurrent(self.context))
        self.stream = self.ok(driver.cuStreamCreate(1))
        attribute = driver.CUdevice_attribute
        read = lambda which: self.ok(driver.cuDeviceGetAttribute(which, self.device))  # noqa: E731
        self.capability = (
            read(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            read(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )
        self.processors = read(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        self.shared_bytes = read(attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
        self.clock = read(attribute.CU_DEVICE_ATTRIBUTE_CLOCK_RATE) * 1000
        self.name = self.ok(driver.cuDeviceGetName(96, self.device)).split(b"\0")[0].decode()
        self.arch = f"sm_{self.capability[0]}{self.capability[1]}" + ("a" if self.capability == (9, 0) else "")

    def ok(self, result):
        code, *values = result
        if int(code) != 0:
            raise RuntimeError(f"CUDA: {code!r}")
        return values[0] if len(values) == 1 else values

    def array(self, values):
        """Copy to the device; return the address."""
        values = np.ascontiguousarray(values)
        address = self.ok(self.driver.cuMemAlloc(max(values.nbytes, 16)))
        self.put(address, values)
        return int(address)

    def put(self, address, values):
        values = np.ascontiguousarray(values)
        self.ok(self.driver.cuMemcpyHtoD(address, values.ctypes.data, values.nbytes))

    def get(self, address, like):
        values = np.empty_like(like)
        self.ok(self.driver.cuMemcpyDtoH(values.ctypes.data, address, values.nbytes))
        return values

    def clear(self, address, size):
        self.ok(self.driver.cuMemsetD8(address, 0, size))

    def host_words(self, count):
        """Return words on the host that the device may write, and their address there."""
        address = int(self.ok(self.driver.cuMemHostAlloc(count * 4, 2)))
        words = np.ctypeslib.as_array((ctypes.c_uint32 * count).from_address(address))
        words[:] = 0
        return words, int(self.ok(self.driver.cuMemHostGetDevicePointer(address, 0)))

    def kernel(self, cubin, name, shared_bytes, cluster):
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

    def config(self, blocks, threads, shared_bytes, cluster, cooperative=False):
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

    def most_clusters(self, function, config):
        return self.ok(self.driver.cuOccupancyMaxActiveClusters(function, config))

    def launch(self, function, config, parameter):
        """Launch with one parameter; return seconds on the device."""
        begun, ended = (self.ok(self.driver.cuEventCreate(0)) for _ in range(2))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(parameter))
        self.ok(self.driver.cuEventRecord(begun, self.stream))
        self.ok(self.driver.cuLaunchKernelEx(config, function, ctypes.addressof(pointers), 0))
        self.ok(self.driver.cuEventRecord(ended, self.stream))
        self.ok(self.driver.cuStreamSynchronize(self.stream))
        return self.ok(self.driver.cuEventElapsedTime(begun, ended)) / 1e3


# ---- A job: one preset in one layout ----


class Runner:
    """A planned model on the device."""

    def __init__(self, gpu, plan, model, kernel, config, samples, seed):
        self.gpu, self.plan, self.model, self.kernel, self.config = gpu, plan, model, kernel, config
        self.steps = max(1, samples // plan.top_hop)
        rng = np.random.default_rng(seed)
        clips, self.samples = plan.clips, self.steps * plan.top_hop
        self.history = rng.integers(0, plan.levels, (clips, plan.top_frame))
        self.uniform = ((rng.integers(0, 2**22, (clips, self.samples)) + 0.5) / 2**22).astype(np.float32)
        self.temperature = rng.uniform(0.8, 1.2, (clips, self.steps)).astype(np.float32)
        self.states = plan.initial_states([tier.initial for tier in model[0]])
        self.tape = np.zeros((clips, plan.top_frame + self.samples), np.uint64)
        self.nll = np.full((clips, self.samples), np.nan, np.float32)
        self.mail_bytes = plan.mail_words * 8
        held = {
            name: gpu.array(getattr(plan, name)) for name in ("fragments", "biases", "table", "weights", "programs")
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

    def run(self, flags=0, codes=None):
        """Run from the initial state; return seconds."""
        gpu, plan = self.gpu, self.plan
        tag = np.uint64(1 << 32)
        self.tape[:] = 0
        self.tape[:, : plan.top_frame] = self.history.astype(np.uint64) | tag
        if codes is not None:
            self.tape[:, plan.top_frame :] = codes.astype(np.uint64) | tag
        gpu.put(self.at["tape"], self.tape)
        gpu.put(self.at["states"], self.states)
        gpu.put(self.at["nll"], np.full_like(self.nll, np.nan))
        gpu.clear(self.at["mail"], self.mail_bytes)
        gpu.clear(self.at["profile"], 8192)
        call = planning.Call(
            steps=self.steps,
            flags=flags,
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

    def codes(self):
        tape = self.gpu.get(self.at["tape"], self.tape)
        return (tape & np.uint64(0xFFFFFFFF)).astype(np.int64)[:, self.plan.top_frame :]


def run_job(name, options):
    shape = models.PRESETS[name]
    cluster, frames = int(options.get("cluster", 16)), int(options.get("frames", 112))
    threads, clips = int(options.get("threads", 256)), int(options.get("clips", 1))
    gpu = Device()
    result = {"device": gpu.name, "processors": gpu.processors, "shared_bytes": gpu.shared_bytes}
    began = time.time()
    model = models.make_model(shape)
    result["model_s"] = time.time() - began
    while True:
        frames -= frames % cluster
        began = time.time()
        plan = planning.make_plan(
            *model, shape.levels, cluster=cluster, frame_blocks=frames, clips=clips, threads=threads,
            shared_bytes=gpu.shared_bytes, row_tiles=int(options.get("rows", planning.ROW_TILES)),
            near=options.get("near", "1") == "1",
        )  # fmt: skip
        result["plan_s"] = time.time() - began
        began = time.time()
        cubin, result["compiler"] = compile_cubin(kernel_source(), plan.macros(patience=PATIENCE), gpu.arch)
        result["compile_s"] = time.time() - began
        kernel, facts = gpu.kernel(cubin, b"generate", plan.shared_bytes, cluster)
        config = gpu.config(plan.blocks, threads, plan.shared_bytes, cluster)
        most = gpu.most_clusters(kernel, config)
        result |= facts | {"most_clusters": most, "frames": frames}
        if most * cluster >= plan.blocks:
            break
        print(f"only {most} clusters of {cluster} fit: fewer frame blocks", flush=True)
        frames = (most - 1) * cluster
        if frames < cluster:
            raise RuntimeError(f"{most} clusters of {cluster} are too few")
    result |= {
        "resident_MB": sum(plan.resident_bytes) / 1e6,
        "streamed_MB": sum(plan.streamed_bytes) / 1e6,
        "ops": plan.step_ops,
    }
    print(name, options, {k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}, flush=True)

    try:
        together = gpu.config(plan.blocks, threads, plan.shared_bytes, cluster, cooperative=True)
        Runner(gpu, plan, model, kernel, together, CHECKED_SAMPLES, 1).run()
        result["cooperative"] = True
    except RuntimeError as error:
        result["cooperative"] = str(error)[:200]
    short = Runner(gpu, plan, model, kernel, config, CHECKED_SAMPLES, 1)
    result["short_s"] = short.run()
    codes, nll = short.codes(), gpu.get(short.at["nll"], short.nll)
    states = gpu.get(short.at["states"], short.states)
    short.run()
    result["repeatable"] = bool((short.codes() == codes).all())
    verdicts = []
    for clip in range(clips):
        v = models.judge(
            model,
            plan,
            shape.levels,
            short.history[clip],
            codes[clip],
            nll[clip],
            short.uniform[clip],
            short.temperature[clip],
            states,
        )
        verdicts.append(v)
        if clip == 2:
            break
    result |= {
        "nll_error": max(v.nll for v in verdicts),
        "draw_error": max(v.draw for v in verdicts),
        "state_error": verdicts[0].state,
        "bits": verdicts[0].bits,
    }
    result["correct"] = bool(
        result["nll_error"] < 0.1 and result["draw_error"] < 0.01 and result["state_error"] < 0.02
    )
    print(
        {
            k: result[k]
            for k in ("correct", "repeatable", "cooperative", "nll_error", "draw_error", "state_error", "bits")
        },
        flush=True,
    )

    long = Runner(gpu, plan, model, kernel, config, int(TIMED_SECONDS * shape.rate), 2)

    def timed(what, flags=0, codes=None):
        long.run(flags, codes)
        times = [long.run(flags, codes) for _ in range(REPEATS)]
        seconds = statistics.median(times)
        result[f"{what}_us_per_sample"] = seconds / long.samples * 1e6
        result[f"{what}_us_per_step"] = seconds / long.steps * 1e6
        result[f"{what}_spread"] = (max(times) - min(times)) / seconds
        return seconds

    seconds = timed("whole")
    result["x_realtime_one"] = long.samples / shape.rate / seconds
    result["x_realtime_all"] = result["x_realtime_one"] * clips
    drawn = long.codes()
    if shape.mlp_layers:
        timed("sample_tier", planning.ALONE | planning.NO_FRAMES)
    timed("frame_tiers", planning.GIVEN, drawn)
    print({k: round(v, 3) for k, v in result.items() if "us_per" in k or "x_real" in k}, flush=True)
    if "profile" in options:
        cubin, _ = compile_cubin(kernel_source(), plan.macros(patience=PATIENCE, profile=True), gpu.arch)
        long.kernel, _ = gpu.kernel(cubin, b"generate", plan.shared_bytes, cluster)
        seconds = long.run()
        seconds = long.run()
        result["profiled_us_per_sample"] = seconds / long.samples * 1e6
        profile = gpu.get(long.at["profile"], np.zeros(1024, np.uint64)).astype(np.int64)
        names = (
            "inputs hidden_mma block_sync hidden_share older_begin hidden_wait output_mma output_share older_end logits_wait draw code_sync"
        ).split()
        stages = {n: round(float(c) / long.samples, 1) for n, c in zip(names, profile, strict=False)}
        result["sample_cycles"] = stages
        print("cycles of a sample, block 0:", stages, "sum", round(sum(stages.values())), flush=True)
        kinds = ["copy", "in", "out", "recur", "layer", "rows", "mix"]
        ops = []
        first = plan.call["step_op"]
        for i in range(plan.step_ops - 1):
            op = planning.Op.from_buffer_copy(plan.programs[0, first + i].tobytes())
            if op.kind == 0:
                break
            label = f"{kinds[op.kind]} t{op.tier}s{op.step}l{op.layer} x{op.tiles}" + ("*" if op.resident_a else "")
            ops.append(
                (
                    label,
                    round(float(profile[32 + 2 * i]) / long.steps),
                    round(float(profile[33 + 2 * i]) / long.steps),
                )
            )
        result["frame_ops"] = ops
        print("frame block 0, cycles a step (op, * = weights resident; wait; work):", flush=True)
        for label, wait, work in ops[:40]:
            print(f"   {label:<22} {wait:>8} {work:>8}")
    return result


# ---- What the design rests on: latencies and rates, each in a kernel of its own ----

MICRO = r"""
struct Args { u64 *out; u64 *words; uint4 *big; long long bytes; int which; int rounds; };
struct S { u64 bar[2]; alignas(16) uint4 data[256]; u16 x[2048]; float f[1024]; };
extern "C" __global__ __launch_bounds__(512, 1) void micro(const __grid_constant__ Args a) {
    S &s = *(S *)dynamic_shared;
    const int rank = cluster_rank(), tid = threadIdx.x, lane = tid % 32;
    long long begun = 0, ended = 0;
    float sink = 0;
    for (int i = tid; i < 2048; i += 512) s.x[i] = 0;
    if (tid == 0) { begin_barrier(&s.bar[0]); begin_barrier(&s.bar[1]); fence_barriers(); }
    cluster_sync();
    if (a.which == 0) {  // barrier of a block
        begun = clock64(); for (int i = 0; i < a.rounds; i++) __syncthreads(); ended = clock64();
    } else if (a.which == 1) {  // barrier of the cluster
        begun = clock64(); for (int i = 0; i < a.rounds; i++) cluster_sync(); ended = clock64();
    } else if (a.which == 2 || a.which == 3) {  // exchange of 64 or 128 bytes a block: sends by one or two warps, all wait
        const int packs = a.which == 2 ? 4 : 8; u32 size; asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
        if (tid == 0) expect(&s.bar[0], packs * 16 * size);
        cluster_sync();
        begun = clock64();
        for (int i = 0; i < a.rounds; i++) {
            if (tid < packs * 8) for (int j = lane; j < 4 * size; j += 32) send(&s.data[rank * 8 + j % 4 + tid / 32 * 4], j / 4, s.data[255], &s.bar[0]);
            const long long now = clock64();
            while (!try_barrier(&s.bar[0], i & 1)) if (clock64() - now > 1000000000ll) __trap();
            if (tid == 0) expect(&s.bar[0], packs * 16 * size);
            __syncthreads();
        }
        ended = clock64();
        cluster_sync();
    } else if (a.which == 4) {  // exchange of 512 words between all blocks through global memory
        const int count = gridDim.x, mine = blockIdx.x;
        begun = clock64();
        for (int i = 1; i <= a.rounds; i++) {
            for (int j = mine + tid * count; j < 512; j += 512 * count) write_word(a.words + (i & 1) * 512 + j, (u64)i << 32 | j);
            const long long now = clock64();
            while ((u32)(read_word(a.words + (i & 1) * 512 + tid) >> 32) != i) if (clock64() - now > 1000000000ll) __trap();
            __syncthreads();
        }
        ended = clock64();
    } else if (a.which == 5) {  // dependent loads from the second-level cache, of 2 MB
        if (tid == 0) { u64 at = 0; begun = clock64();
            for (int i = 0; i < a.rounds; i++) { u64 v; asm volatile("ld.global.cg.u64 %0, [%1];" : "=l"(v) : "l"((const u64 *)a.big + (at * 97 + 64 * i) % 262144)); at = v & 1; }
            ended = clock64(); sink += at; }
    } else if (a.which == 6) {  // a chain of dependent matrix products
        float c[4] = {}; uint4 w = {0, 0, 0, 0}; begun = clock64();
        for (int i = 0; i < a.rounds; i++) multiply(c, w, 0, 0);
        ended = clock64(); sink += c[0];
    } else if (a.which == 7) {  // 16 products, in 4 chains, by each of 16 warps, with their vector from shared memory
        float c[4][4] = {}; uint4 w = {(u32)tid, 0, 0, 0}; begun = clock64();
        for (int i = 0; i < a.rounds; i++) {
            #pragma unroll
            for (int k = 0; k < 4; k++) { uint2 b = {0, 0}; if (lane < 4) b = *(uint2 *)&s.x[((tid / 32) * 4 + k) * 16 + lane * 4];
                #pragma unroll
                for (int j = 0; j < 4; j++) multiply(c[j], w, b.x, b.y); }
            __syncthreads();
        }
        ended = clock64(); for (int j = 0; j < 4; j++) sink += c[j][0];
    } else if (a.which == 8) {  // all blocks stream weights
        const long long per = a.bytes / 16 / gridDim.x; const uint4 *from = a.big + per * blockIdx.x; u32 x = 0;
        begun = clock64();
        for (int r = 0; r < a.rounds; r++)
            for (long long i = tid; i + 512 * 7 < per; i += 512 * 8) {
                uint4 v[8];
                #pragma unroll
                for (int j = 0; j < 8; j++) v[j] = stream(from + i + 512 * j);
                #pragma unroll
                for (int j = 0; j < 8; j++) x ^= v[j].x ^ v[j].w;
            }
        ended = clock64(); sink += x == 12345;
    } else if (a.which == 10) {  // a warp's scan and reductions as in a draw
        float v = lane; begun = clock64();
        for (int i = 0; i < a.rounds; i++) { v = warp_max(v); for (int m = 1; m < 32; m *= 2) { float o = lane_of(v, lane - m); if (lane >= m) v += o; } v = warp_sum((int)v) & 3; }
        ended = clock64(); sink += v;
    } else if (a.which == 11) {  // one round trip of a word between two blocks of different clusters
        const int other = gridDim.x / 2; begun = clock64();
        if (tid == 0 && (blockIdx.x == 0 || blockIdx.x == other))
            for (int i = 1; i <= a.rounds; i++) {
                const long long now = clock64();
                if (blockIdx.x == 0) { write_word(a.words, i); while (read_word(a.words + 64) != i) if (clock64() - now > 1000000000ll) __trap(); }
                else { while (read_word(a.words) != i) if (clock64() - now > 1000000000ll) __trap(); write_word(a.words + 64, i); }
            }
        ended = clock64();
    } else if (a.which == 12) {  // dependent loads of 8 bytes a lane from another block's shared memory, by 8 warps of every block
        if (tid < 256) {
            u32 at = 0; begun = clock64();
            for (int i = 0; i < a.rounds; i++) { const uint2 v = read_near(&s.x[lane % 16 * 4 + at], (tid / 32 * 2 + lane / 16 + i) % 16); at = v.x & v.y & 4; }
            ended = clock64(); sink += at;
        }
    } else if (a.which == 13) {  // the same exchange by 8 warps, 128 bytes to each of two blocks
        if (tid == 0) expect(&s.bar[0], 128 * 16);
        cluster_sync();
        begun = clock64();
        for (int i = 0; i < a.rounds; i++) {
            if (tid < 256 && lane < 16) send(&s.data[rank * 8 + lane % 8], tid / 32 * 2 + lane / 8, s.data[255], &s.bar[0]);
            const long long now = clock64();
            while (!try_barrier(&s.bar[0], i & 1)) if (clock64() - now > 1000000000ll) __trap();
            if (tid == 0) expect(&s.bar[0], 128 * 16);
            __syncthreads();
        }
        ended = clock64();
        cluster_sync();
    } else if (a.which == 14) {  // dependent loads of a warp of 8 bytes a lane from the second-level cache, by 8 warps of every block
        if (tid < 256) {
            u32 at = 0; begun = clock64();
            for (int i = 0; i < a.rounds; i++) { const uint2 v = read_table((const u32 *)a.big + (i * 37 % 256) * 512 + tid * 2 + at); at = v.x & v.y & 4; }
            ended = clock64(); sink += at;
        }
    }
    s.f[tid] = sink;
    if (tid == 0 && blockIdx.x == 0) { a.out[0] = ended - begun; a.out[1] = s.f[0] > 1e30f; }
    cluster_sync();
}
"""


class Args(ctypes.Structure):
    _fields_ = [
        ("out", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("big", ctypes.c_void_p),
        ("bytes", ctypes.c_longlong),
        ("which", ctypes.c_int),
        ("rounds", ctypes.c_int),
    ]


def run_micro():
    gpu = Device()
    source = (
        "typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;\n"
        "#define DEVICE __device__ __forceinline__\n" + (RUNTIMES / "cluster_device.cuh").read_text() + MICRO
    )
    cubin, compiler = compile_cubin(source, {"THREADS": "512"}, gpu.arch)
    result = {"device": gpu.name, "compiler": compiler, "clock": gpu.clock, "shared_bytes": gpu.shared_bytes}
    big = 256 << 20
    out, words = gpu.array(np.zeros(16, np.uint64)), gpu.array(np.zeros(4096, np.uint64))
    memory = gpu.array(np.zeros(big, np.uint8))
    shared = 200 * 1024  # one block a processor

    def measure(what, which, rounds, cluster=16, blocks=None, size=0):
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


def parse(job):
    name, _, rest = job.partition(":")
    options = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    return name, options


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=150, help="for all jobs; later jobs are dropped")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("jobs", nargs="*", default=JOBS)
    args = parser.parse_args()
    if args.child:
        name, options = parse(args.jobs[0])
        try:
            result = run_micro() if name == "micro" else run_job(name, options)
        except BaseException as error:  # noqa: BLE001
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}: {error}"}
        args.child.write_text(json.dumps(result))
        sys.stdout.flush()
        import os

        os._exit(0)  # a context that a kernel has destroyed may hang at exit
    began, results = time.time(), {}
    for job in args.jobs:
        left = args.seconds - (time.time() - began)
        if left < 5:
            results[job] = {"error": "no time left"}
            continue
        print(f"==== {job} ({time.time() - began:.0f} s)", flush=True)
        file = Path(f"/tmp/cluster_job_{abs(hash(job))}.json")
        file.unlink(missing_ok=True)
        try:
            subprocess.run(
                [sys.executable, __file__, "--child", file, job], timeout=min(JOB_SECONDS, left), check=False
            )
            results[job] = json.loads(file.read_text()) if file.exists() else {"error": "died"}
        except subprocess.TimeoutExpired:
            results[job] = {"error": "took too long"}
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))
    print(
        f"\n{'job':<46} {'correct':>8} {'x real':>8} {'x all':>8} {'us/sample':>10} {'sample tier':>12} {'frames/step':>12}"
    )
    for job, r in results.items():
        if "error" in r:
            print(f"{job:<46} {r['error'][:120]}")
        elif "x_realtime_one" in r:
            print(
                f"{job:<46} {r['correct']!s:>8} {r['x_realtime_one']:>8.2f} {r['x_realtime_all']:>8.1f} {r['whole_us_per_sample']:>10.3f} "
                f"{r.get('sample_tier_us_per_sample', 0):>12.3f} {r['frame_tiers_us_per_step']:>12.2f}"
            )


if __name__ == "__main__":
    main()
