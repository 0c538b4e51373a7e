"""A sampler written from docs/bundle-format.md alone, without any code of Slash."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort


class PlainSampler:
    """Draws clips with a bundle's fp32 graphs; `log` holds the inputs and outputs of every call."""

    def __init__(self, folder: Path, seed: int, clips: list[int], floor: float) -> None:
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.tiers = self.manifest["frame_tiers"]
        fp32 = self.manifest["variants"][0]
        self.frame_graphs = [_open(folder, entry) for entry in fp32["frame_tiers"]]
        self.sample_graph = _open(folder, fp32["sample_tier"])
        self.states = [
            np.repeat(np.load(folder / tier["initial_state"]["file"])[:, :, None], len(clips), axis=2)
            for tier in self.tiers
        ]
        levels, kind = self.manifest["codec"]["levels"], self.manifest["codec"]["kind"]
        assert kind in ("mu-law", "linear")
        silence = int(np.floor((levels - 1) / 2 + 0.5))
        context = max(self.manifest["sample_tier"]["history"], *(tier["frame_size"] for tier in self.tiers))
        self.codes = np.full((len(clips), context), silence, np.int32)
        self.philox = [np.random.Philox(key=np.array([seed, clip], np.uint64)) for clip in clips]
        self.temperature = np.ones(len(clips), np.float32)
        self.floor = np.full(len(clips), floor, np.float32)
        self.log: list[tuple[str, dict[str, np.ndarray]]] = []

    def candidates(self, recorded: dict[str, float], blocks: int) -> np.ndarray:
        """Draw so many blocks of one clip, whose candidates the rows are; return its codes."""
        for j, stream in enumerate(self.philox):
            stream.advance(j * 2**64 // 4)  # counters of four words
        rate, hop, levels = self.manifest["sample_rate"], self.tiers[-1]["hop"], self.manifest["codec"]["levels"]
        frames = round(0.064 * rate / hop)
        n, rows = frames * hop, len(self.codes)
        initial = [self.codes.copy(), *(state.copy() for state in self.states)]
        m, h, silent, recent, clip = recorded["surprise"], recorded["harmonicity"], 0, [], []
        lags = range(max(1, round(24 * rate / 16000)), max(2, round(256 * rate / 16000)))
        for _ in range(blocks):
            self.log.clear()
            for _ in range(frames):
                self.frame()
            nll = np.concatenate([call["nll"] for name, call in self.log if name == "sample_tier"], axis=1)
            surprises = nll.mean(axis=1, dtype=float) / np.log(2)
            y = 2 * self.codes[:, -n:] / (levels - 1) - 1
            x = np.sign(y) * (levels ** np.abs(y) - 1) / (levels - 1)
            is_silent = (x**2).mean(axis=1) < 10 ** (recorded["silence"] / 10)
            weight = min(1, n / (rate / 4))
            ms = m + (surprises - m) * weight
            hs = np.where(is_silent, h, h + (np.array([_repeats(row, lags) for row in x]) - h) * weight)
            excess = np.maximum(ms - recorded["surprise"], 0) + 10 * np.maximum(recorded["harmonicity"] - hs, 0)
            chosen = excess.argmin()
            m, h, block = ms[chosen], hs[chosen], self.codes[chosen, -n:]
            recent.append(surprises[chosen])
            silent = silent + 1 if is_silent[chosen] else 0
            self.codes = np.repeat(self.codes[chosen : chosen + 1], rows, axis=0)
            self.states = [np.repeat(state[:, :, chosen : chosen + 1], rows, axis=2) for state in self.states]
            second = max(2, round(rate / n))
            stuck = len(recent) >= second and np.std(recent[-second:]) < recorded["variation"]
            if stuck or silent >= max(1, round(recorded["pause"] * rate / n)):
                self.codes, *self.states = (array.copy() for array in initial)
                m, h, silent, recent = recorded["surprise"], recorded["harmonicity"], 0, []
            clip.append(block)
        return np.concatenate(clip)

    def frame(self) -> None:
        """Append hop(K) codes to `codes`."""
        self._run(len(self.tiers), None)

    def _run(self, k: int, conditioning: np.ndarray | None) -> None:
        tier = self.tiers[k - 1]
        feed: dict[str, Any] = {"frame": self.codes[:, -tier["frame_size"] :]}
        feed |= dict(zip(("h", "c") if tier["cell"] == "lstm" else ("h",), self.states[k - 1], strict=True))
        if conditioning is not None:
            feed["conditioning"] = conditioning
        below, *state = self._call(f"frame_tier_{k}", self.frame_graphs[k - 1], feed)
        self.states[k - 1] = np.stack(state)
        if k > 1:
            for i in range(tier["upsampling"]):
                self._run(k - 1, below[:, i])
            return
        words = np.stack([stream.random_raw(tier["hop"]) for stream in self.philox])
        uniform = (((words >> np.uint64(42)) + 0.5) / 2**22).astype(np.float32)
        feed = {"conditioning": below, "uniform": uniform, "temperature": self.temperature, "floor": self.floor}
        if self.manifest["sample_tier"]["history"]:
            feed["history"] = self.codes[:, -self.manifest["sample_tier"]["history"] :]
        codes, _ = self._call("sample_tier", self.sample_graph, feed)
        self.codes = np.concatenate([self.codes, codes], axis=1)

    def _call(self, name: str, graph: ort.InferenceSession, feed: dict[str, Any]) -> list[np.ndarray]:
        names = [output.name for output in graph.get_outputs()]
        outputs = graph.run(names, {key: np.ascontiguousarray(value) for key, value in feed.items()})
        self.log.append((name, {**feed, **dict(zip(names, outputs, strict=True))}))
        return list(outputs)


def _repeats(x: np.ndarray, lags: range) -> float:
    x = x - x.mean()
    found = []
    for lag in lags:
        early, late = x[:-lag], x[lag:]
        found.append(float(early @ late / np.sqrt(max((early @ early) * (late @ late), 1e-20))))
    return max(found)


def _open(folder: Path, entry: dict[str, Any]) -> ort.InferenceSession:
    content = (folder / entry["file"]).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
    return ort.InferenceSession(content, providers=["CPUExecutionProvider"])
