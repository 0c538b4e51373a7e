"""A bundle from a stranger: unless it is exactly what it claims, it is refused, naming the file, before it is run."""

import contextlib
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from fault_tally import Tally
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slash_export.scoring import BundleScorer
from slash_infer.bundle import MANIFEST, Bundle, describe_file
from slash_infer.bundle.onnx_file import check_self_contained
from slash_infer.errors import UserError
from slash_infer.runtimes.onnx_cpu import OnnxCpu
from slash_infer.sampling.engine import Engine
from slash_infer.sampling.sampler import Sampler


@pytest.fixture(name="folder")
def _folder(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of a bundle, to be tampered with."""
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def _refused(folder: Path, says: str) -> None:
    """Check that a bundle is refused, and that no graph of it reached the runtime."""
    with pytest.raises(UserError, match=says):
        Engine(Bundle(folder), OnnxCpu(open_session=_fail))


def _fail(*_: object) -> None:
    raise AssertionError("a runtime opened a graph")


def test_an_altered_graph(folder: Path) -> None:
    path = folder / "frame_tier_1.onnx"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    _refused(folder, "frame_tier_1.onnx: was altered")


def test_a_truncated_graph(folder: Path) -> None:
    path = folder / "sample_tier.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    _refused(folder, "sample_tier.onnx: has another size")


def test_an_altered_initial_state(folder: Path) -> None:
    path = folder / "frame_tier_2.initial.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    _refused(folder, "frame_tier_2.initial.npy: was altered")


def test_a_missing_graph_and_a_symlink(folder: Path) -> None:
    path = folder / "sample_tier.onnx"
    elsewhere = path.rename(folder.parent / "elsewhere.onnx")
    _refused(folder, "sample_tier.onnx: is missing")
    path.symlink_to(elsewhere)
    _refused(folder, "sample_tier.onnx: is missing from the bundle or not a plain file")


@pytest.mark.parametrize("name", ["../x.onnx", "/etc/passwd", "a/b.onnx", "..", ".hidden", "", "a\\b.onnx", "a\nb"])
def test_a_path_in_a_name(folder: Path, name: str) -> None:
    _edit(folder, lambda content: content["variants"][1]["sample_tier"].update(file=name))
    _refused(folder, "variants.1.sample_tier.file")


def test_a_newer_schema(folder: Path) -> None:
    _edit(folder, lambda content: content.update(schema_version=8, surprise=1))
    _refused(folder, "schema version 8, newer than this Slash reads; upgrade")


@pytest.mark.parametrize("text", ["", "[]", "null", '{"schema_version": 2}', "\x00", "[" * 100_000])
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    _refused(folder, MANIFEST)


def _edit_recordings(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the values of the recordings, and let the manifest describe them, as an attacker would."""
    path = folder / "recordings.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    _edit(folder, lambda manifest: manifest.update(recordings=describe_file(path).model_dump()))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"harmonicity": float("nan")}, "harmonicity"),
        ({"scale": [0.0] * 120}, "scale.0"),
        ({"mean": [0.0] * 1_000}, "mean"),
        ({"mean": [1e999] * 120}, "mean.0"),
        ({"variances": [1.0] * 3}, "as many variances as components"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_values_of_recordings_that_none_can_have(folder: Path, change: dict[str, object], says: str) -> None:
    _edit_recordings(folder, lambda content: content.update(change))
    _refused(folder, f"recordings.json: cannot be read as the values of recordings .*{says}")


def test_altered_and_missing_values_of_recordings(folder: Path) -> None:
    path = folder / "recordings.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1", b"2", 1))
    _refused(folder, "recordings.json: was altered")
    path.write_bytes(b"[" * len(content))
    _edit(folder, lambda manifest: manifest.update(recordings=describe_file(path).model_dump()))
    _refused(folder, "recordings.json: cannot be read as the values of recordings")
    path.unlink()
    _refused(folder, "recordings.json: is missing")


def test_a_bundle_without_values_of_recordings_is_one(folder: Path) -> None:
    assert Bundle(folder).recordings is not None
    (folder / "recordings.json").unlink()
    _edit(folder, lambda manifest: manifest.pop("recordings"))
    assert Bundle(folder).recordings is None


def test_an_unknown_field(folder: Path) -> None:
    _edit(folder, lambda content: content.update(loudness=1))
    _refused(folder, "loudness")


def test_clocks_that_do_not_fit_together(folder: Path) -> None:
    _edit(folder, lambda content: content["frame_tiers"][0].update(upsampling=3))
    _refused(folder, "upsampling times the one below")
    _edit(folder, lambda content: content["frame_tiers"][0].update(upsampling=4))
    Bundle(folder)
    _edit(folder, lambda content: content["frame_tiers"][1].update(frame_size=15))
    _refused(folder, "each frame_size must be at least its hop")
    _edit(folder, lambda content: content["frame_tiers"][1].update(frame_size=16))
    _edit(folder, lambda content: content["frame_tiers"][0].update(frame_size=3))
    _refused(folder, "each frame_size must be at least its hop")


def test_a_bundle_of_the_first_version(folder: Path) -> None:
    _edit(folder, lambda content: content.update(schema_version=1))
    _refused(folder, "schema_version: Input should be 7; export the bundle again")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content["sample_tier"].update(history=5), r"sample_tier\.onnx: does not fit .*history is"),
        (
            lambda content: content["sample_tier"].update(history=65536),
            r"sample_tier\.onnx: does not fit .*history is",
        ),
        (lambda content: content["sample_tier"].update(history=0), r"onnx: does not fit the manifest"),
        (lambda content: content["frame_tiers"][0].update(frame_size=65536), r"frame_tier_1\.onnx: .*frame is"),
        (lambda content: content["frame_tiers"][1].update(frame_size=17), r"frame_tier_2\.onnx: .*frame is"),
    ],
)
def test_tiers_that_see_something_else_than_their_graphs(
    folder: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    _edit(folder, change)
    with pytest.raises(UserError, match=says) as fault, resource_limit(256 << 20):
        Engine(Bundle(folder), OnnxCpu())
    assert len(str(fault.value).splitlines()) == 1


def test_a_symlink_for_a_manifest(folder: Path) -> None:
    elsewhere = (folder / MANIFEST).rename(folder.parent / "elsewhere.json")
    (folder / MANIFEST).symlink_to(elsewhere)
    _refused(folder, "manifest.json: is not a plain file")


def test_an_oversized_graph(folder: Path) -> None:
    with (folder / "sample_tier.int8.onnx").open("ab") as file:
        file.write(b"\0" * 1000)
    _refused(folder, "sample_tier.int8.onnx: has another size")
    _edit(folder, lambda content: content["variants"][1]["sample_tier"].update(bytes=2**31))
    _refused(folder, r"variants\.1\.sample_tier\.bytes")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda variants: variants.append(variants.pop(0)), "each precision once, fp32 first"),
        (lambda variants: variants.append(variants[1]), "each precision once"),
        (lambda variants: variants[1]["frame_tiers"].pop(), "one graph for each frame tier"),
        (lambda variants: variants[1].update(precision="int2"), "precision"),
        (lambda variants: variants.clear(), "variants"),
    ],
)
def test_variants_that_do_not_fit(folder: Path, change: Callable[[list[dict[str, Any]]], object], says: str) -> None:
    _edit(folder, lambda content: change(content["variants"]))
    _refused(folder, says)


def _external(model: onnx.ModelProto) -> None:
    """Make a weight point to a file outside the bundle."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _external_location(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL


def _external_constant(model: onnx.ModelProto) -> None:
    tensor = onnx.TensorProto(data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["unused"], value=tensor))


def _sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


def _subgraph(model: onnx.ModelProto) -> None:
    inner = onnx.helper.make_graph([], "inner", [], [])
    model.graph.node.add(op_type="If", input=["x"], output=["y"]).attribute.append(
        onnx.helper.make_attribute("then_branch", inner)
    )


def _function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="mine")


def _domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "somebody.else"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_external, "tensor field 13"),
        (_external_location, "points to a weight outside itself"),
        (_external_constant, "tensor field 13"),
        (_sparse, "graph field 15"),
        (_subgraph, "attribute field 6"),
        (_function, "model field 25"),
        (_domain, "neither ONNX's nor ONNX Runtime's"),
    ],
)
def test_a_graph_that_is_more_than_a_graph(
    folder: Path, change: Callable[[onnx.ModelProto], None], says: str
) -> None:
    """Even with the right sha256 in the manifest, which an attacker can write as well."""
    path = folder / "frame_tier_1.onnx"
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    _edit(
        folder, lambda content: content["variants"][0]["frame_tiers"].__setitem__(0, describe_file(path).model_dump())
    )
    _refused(folder, f"frame_tier_1.onnx: .*{says}")


NO_ONNX = [
    b"",
    b"\0",
    b"PK\x03\x04",  # another kind of file
    b"\x3a",  # a graph without a length
    b"\x3a\x05ab",  # a graph cut short
    b"\x38\x01",  # a number for a graph
    b"\x3a\x00\x3a\x00",  # two graphs
    b"\x3f",  # a wire type there is not
    b"\xff" * 11,  # a number that never ends
]


@pytest.mark.parametrize("content", NO_ONNX)
def test_a_file_that_is_no_onnx(content: bytes) -> None:
    with pytest.raises(UserError, match=r"x\.onnx: is not an ONNX file"):
        check_self_contained(content, Path("x.onnx"))


def test_a_field_number_beyond_32_bits() -> None:
    """Readers in C++ truncate it, and then see a pointer to external data in what looks like an unknown field."""
    number = (13 << 3 | 2) | 1 << 32
    tag = bytes([number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, 0x80, 0x80, number >> 28])
    tensor = tag + b"\x00"
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    with pytest.raises(UserError, match="is not an ONNX file"):
        check_self_contained(b"\x3a" + bytes([len(graph)]) + graph, Path("x.onnx"))


def test_onnx_runtimes_own_format(bundle: Bundle) -> None:
    content = bytearray(bundle.read(bundle.manifest.variants[0].sample_tier))
    content[4:8] = b"ORTM"
    with pytest.raises(UserError, match="is not an ONNX file"):
        check_self_contained(bytes(content), Path("x.onnx"))


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(tally: Tally, content: bytes) -> None:
    """Bytes are accepted or refused, and never crash the check."""
    tally.count("hostile files: ONNX files of any bytes")
    with contextlib.suppress(UserError):
        check_self_contained(content, Path("x.onnx"))


def test_onnx_runtime_would_have_followed_the_pointer(bundle: Bundle, tmp_path: Path, monkeypatch: Any) -> None:
    """Why the check is needed: given bytes, ONNX Runtime resolves external data against the working folder."""
    monkeypatch.chdir(tmp_path)
    model = onnx.load_from_string(bundle.read(bundle.manifest.variants[0].sample_tier))
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "output.bias")
    (tmp_path / "secret.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_a_manifest_that_is_a_pipe(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)
    _refused(folder, "manifest.json: is not a plain file")


@pytest.mark.parametrize("name", ["sample_tier.onnx", "frame_tier_1.initial.npy"])
def test_a_file_that_is_a_pipe(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    _refused(folder, f"{name}: is missing from the bundle or not a plain file")


def test_files_of_gigabytes_are_refused_unread(folder: Path) -> None:
    with resource_limit(1 << 30):
        os.truncate(folder / "sample_tier.onnx", 3 << 30)  # sparse: it takes no room
        _refused(folder, "sample_tier.onnx: .* bytes, and .* are the most")
        os.truncate(folder / MANIFEST, 3 << 30)
        _refused(folder, r"manifest\.json: .*\(3,221,225,472 bytes, and 1,048,576 are the most\)")


@contextlib.contextmanager
def resource_limit(extra_bytes: int) -> Iterator[None]:
    """Let this process take so much memory more than it has, and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content["frame_tiers"][1].update(frame_size=10**12), "frame_tiers.1.frame_size"),
        (lambda content: content["frame_tiers"][0].update(frame_size=65537), "frame_tiers.0.frame_size"),
        (lambda content: content["frame_tiers"][0].update(frame_size=0), "frame_tiers.0.frame_size"),
        (lambda content: content["frame_tiers"][0].update(frame_size="4.5"), "frame_tiers.0.frame_size"),
        (lambda content: content["sample_tier"].update(history=65537), "sample_tier.history"),
        (lambda content: content["sample_tier"].update(history=10**12), "sample_tier.history"),
        (lambda content: content["sample_tier"].update(history=-1), "sample_tier.history"),
        (lambda content: content["sample_tier"].update(history=float("nan")), "sample_tier.history"),
        (lambda content: content["sample_tier"].update(history=None), "sample_tier.history"),
        (lambda content: content.update(width=10**9), "width"),
        (lambda content: content["frame_tiers"][0].update(layers=10**6), "frame_tiers.0.layers"),
        (lambda content: content.update(frame_tiers=content["frame_tiers"][:1] * 65), "frame_tiers"),
        (lambda content: _tiers(content, (1, 1), (65536, 65536)), "at most 65536 calls of graphs"),
        (lambda content: _tiers(content, (1024, 1024), (65536, 64), width=65536), "numbers for a clip"),
        (lambda content: [entry.update(bytes=2**31 - 1) for entry in _graphs(content)], "at most 4294967296 bytes"),
        (lambda content: content["provenance"].update(preset="x" * 1001), "provenance.preset"),
        (lambda content: content["provenance"].update(step=10**30), "provenance.step"),
        (lambda content: content["provenance"].update(valid_bits=float("nan")), "provenance.valid_bits"),
        (lambda content: content["parity"].update(max_logit_difference=float("inf")), "parity.max_logit_difference"),
    ],
)
def test_numbers_that_no_bundle_has(folder: Path, change: Callable[[dict[str, Any]], object], says: str) -> None:
    _edit(folder, change)
    _refused(folder, f"manifest.json: .*{says}")


def _tiers(content: dict[str, Any], *sizes: tuple[int, int], width: int = 32) -> None:
    for tier, (size, upsampling) in zip(content["frame_tiers"], sizes, strict=True):
        tier.update(frame_size=size, hop=size, upsampling=upsampling)
    content.update(width=width)


def _graphs(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for variant in content["variants"] for entry in (*variant["frame_tiers"], variant["sample_tier"])]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 an archive",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (",
    ],
)
def test_initial_states_that_are_none(bundle: Bundle, tmp_path: Path, content: bytes) -> None:
    folder = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    path = folder / "frame_tier_1.initial.npy"
    path.write_bytes(content or b"\0")
    entry = describe_file(path).model_dump()
    _edit(folder, lambda manifest: manifest["frame_tiers"][0]["initial_state"].update(entry))
    with pytest.raises(UserError, match=r"frame_tier_1\.initial\.npy: is not a \.npy file of float32 \[2, 1, 32\]"):
        Engine(Bundle(folder), OnnxCpu())


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
    for value in (*model.graph.input, *model.graph.output):
        if value.name == old:
            value.name = new


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda model: _rename(model, "conditioning_out", "made"), "conditioning_out is missing"),
        (lambda model: _rename(model, "h", "g"), "g is unknown"),
        (lambda model: model.graph.output.pop(), "c_out is missing"),
        (lambda model: model.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_param"), None),
    ],
)
def test_a_graph_with_another_signature(
    bundle: Bundle, tmp_path: Path, change: Callable[[onnx.ModelProto], object], says: str | None
) -> None:
    folder = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    path = folder / "frame_tier_2.onnx"
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    entry = describe_file(path).model_dump()
    _edit(folder, lambda content: content["variants"][0]["frame_tiers"][1].update(entry))
    if says is None:  # a batch axis without a name is fine, too
        Engine(Bundle(folder), OnnxCpu())
        return
    with pytest.raises(UserError, match=rf"frame_tier_2\.onnx: does not fit the manifest \({says}\)"):
        Engine(Bundle(folder), OnnxCpu())


def test_a_codec_that_is_not_the_graphs(bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    _edit(folder, lambda content: content["codec"].update(levels=100))
    with pytest.raises(UserError, match="draw codes that its codec does not have"):
        Sampler(Bundle(folder)).codes(4000)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_fidelity_that_is_none(folder: Path, value: float) -> None:
    _edit(folder, lambda content: content["variants"][1]["fidelity"].update(mean_kl=value))
    _refused(folder, r"variants\.1\.fidelity\.mean_kl")


def _tampered(folder: Path, name: str, change: Callable[[onnx.ModelProto], object]) -> None:
    """Change a graph, and the manifest with it, as an attacker would."""
    path = folder / name
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    _described(folder, name)


def _described(folder: Path, name: str) -> None:
    """Let the manifest describe a file as it is now."""
    entry = describe_file(folder / name).model_dump()

    def change(content: dict[str, Any]) -> None:
        states = [tier["initial_state"] for tier in content["frame_tiers"]]
        for described in _graphs(content) + states:
            if described["file"] == name:
                described.update(entry)

    _edit(folder, change)


def _weight(model: onnx.ModelProto, dtype: int) -> Any:
    for tensor in model.graph.initializer:
        if tensor.data_type == dtype and tensor.raw_data:
            return tensor
    raise ValueError("there is no such weight")


def _with(value: float, dtype: str) -> Callable[[onnx.ModelProto], None]:
    """Return a change that puts a value into the middle of a weight."""

    def change(model: onnx.ModelProto) -> None:
        tensor = _weight(model, {"<f4": 1, "<f2": 10}[dtype])
        numbers = np.frombuffer(tensor.raw_data, dtype).copy()
        numbers[len(numbers) // 2] = value
        tensor.raw_data = numbers.tobytes()

    return change


def _as_floats(model: onnx.ModelProto) -> None:
    tensor = _weight(model, 1)
    numbers = np.frombuffer(tensor.raw_data, "<f4").tolist()
    tensor.ClearField("raw_data")
    tensor.float_data.extend([*numbers[:-1], float("nan")])


def _constant(model: onnx.ModelProto) -> None:
    tensor = onnx.helper.make_tensor("", 1, [2], [1.0, float("inf")])
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["unused"], value=tensor))


def _attribute(name: str, value: Any) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.node.insert(
        0, onnx.helper.make_node("Constant", [], ["unused"], **{name: value})
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("frame_tier_1.onnx", _with(float("nan"), "<f4")),
        ("sample_tier.onnx", _with(float("inf"), "<f4")),
        ("sample_tier.onnx", _with(float("-inf"), "<f4")),
        ("frame_tier_2.fp16.onnx", _with(float("nan"), "<f2")),
        ("frame_tier_2.fp16.onnx", _with(float("inf"), "<f2")),
        ("frame_tier_1.int8.onnx", _with(float("nan"), "<f4")),  # a scale or a bias
        ("frame_tier_1.onnx", _as_floats),
        ("frame_tier_1.onnx", _constant),
        ("frame_tier_1.onnx", _attribute("value_float", float("nan"))),
        ("frame_tier_1.onnx", _attribute("value_floats", [1.0, float("inf")])),
    ],
)
def test_weights_that_are_not_finite(folder: Path, name: str, change: Callable[[onnx.ModelProto], None]) -> None:
    _tampered(folder, name, change)
    _refused(folder, f"{name}: holds a weight that is NaN or infinite")


def test_16_bit_weights_whose_bits_are_stored_as_integers(folder: Path) -> None:
    def as_integers(model: onnx.ModelProto) -> None:
        weight = _weight(model, 10)
        weight.ClearField("raw_data")
        weight.int32_data.extend([0x7E00] * int(np.prod(weight.dims)))  # NaN

    _tampered(folder, "frame_tier_2.fp16.onnx", as_integers)
    _refused(folder, "frame_tier_2.fp16.onnx: holds a weight of 16-bit numbers that is stored in integers")


@pytest.mark.parametrize("dtype", [8, 11, 14, 16, 17])  # text, float64, complex, bfloat16, float8
def test_weights_of_other_types(folder: Path, dtype: int) -> None:
    _tampered(folder, "frame_tier_1.onnx", lambda model: _weight(model, 1).__setattr__("data_type", dtype))
    _refused(folder, "frame_tier_1.onnx: holds a weight of a type that is not Slash's")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_initial_state_that_is_not_finite(folder: Path, value: float) -> None:
    name = "frame_tier_1.initial.npy"
    state = np.load(folder / name)
    state[1, 0, 5] = value
    np.save(folder / name, state)
    _described(folder, name)
    _refused(folder, f"{name}: holds a state that is NaN or infinite")


def test_a_file_of_millions_of_fields() -> None:
    with pytest.raises(UserError, match="is not an ONNX file with at most"):
        check_self_contained(b"\x08\x01" * ((1 << 22) + 1), Path("x.onnx"))


def _after(output: str, *nodes: onnx.NodeProto, **constants: object) -> Callable[[onnx.ModelProto], None]:
    """Return a change that puts nodes between what a graph computed, OUTPUT_raw, and its output."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    names[i] = f"{output}_raw" if name == output else name
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
        )

    return change


def _binary(output: str, operator: str, value: object) -> Callable[[onnx.ModelProto], None]:
    return _after(output, onnx.helper.make_node(operator, [f"{output}_raw", "k"], [output]), k=value)


def _twice(output: str, axis: int) -> Callable[[onnx.ModelProto], None]:
    return _after(output, onnx.helper.make_node("Concat", [f"{output}_raw"] * 2, [output], axis=axis))


def _hidden_shape(output: str, sizes: list[int]) -> Callable[[onnx.ModelProto], None]:
    """Let an output be zeros of so many times the declared sizes, which no analysis of the graph finds out."""
    return _after(
        output,
        onnx.helper.make_node("Shape", [f"{output}_raw"], ["shape"]),
        onnx.helper.make_node("Mul", ["shape", "k"], ["sizes"]),
        onnx.helper.make_node("ConstantOfShape", ["sizes"], [output]),
        k=np.array(sizes),
    )


def _negative_logarithm(model: onnx.ModelProto) -> None:
    nodes = [("Neg", "nll_raw", "negative"), ("Log", "negative", "nll")]
    _after("nll", *(onnx.helper.make_node(kind, [read], [made]) for kind, read, made in nodes))(model)


NONSENSE = "its graphs draw codes that its codec does not have \\(sample_tier.onnx\\)"
UNLIKELY = "its graphs give likelihoods that are not from 0 to 1 \\(sample_tier.onnx\\)"
FAILS = "onnx: ONNX Runtime could not run it"


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("sample_tier.onnx", _binary("codes", "Add", np.int32(1000)), f"(sample|frame)_tier[_1]*.{FAILS}"),
        ("sample_tier.onnx", _binary("codes", "Sub", np.int32(1000)), f"(sample|frame)_tier[_1]*.{FAILS}"),
        ("sample_tier.onnx", _binary("codes", "Sub", np.int32(200)), NONSENSE),
        ("sample_tier.onnx", _binary("nll", "Sub", np.float32(20)), UNLIKELY),
        ("sample_tier.onnx", _binary("nll", "Div", np.float32(0)), UNLIKELY),
        ("sample_tier.onnx", _negative_logarithm, UNLIKELY),
        ("frame_tier_1.onnx", _binary("conditioning_out", "Div", np.float32(0)), UNLIKELY),
        ("frame_tier_2.onnx", _binary("h_out", "Div", np.float32(0)), UNLIKELY),
        ("frame_tier_1.onnx", _twice("conditioning_out", 0), f"frame_tier_1.{FAILS}"),
        ("frame_tier_2.onnx", _twice("c_out", 1), f"frame_tier_2.{FAILS}"),
        ("sample_tier.onnx", _twice("codes", 0), f"sample_tier.{FAILS}"),
        ("sample_tier.onnx", _hidden_shape("nll", [2, 1]), f"sample_tier.{FAILS}"),
        ("frame_tier_1.onnx", _hidden_shape("conditioning_out", [2**40, 1, 1]), f"frame_tier_1.{FAILS}"),
        ("frame_tier_1.onnx", _hidden_shape("h_out", [0, 1, 1]), f"frame_tier_1.{FAILS}"),
        ("frame_tier_2.onnx", _binary("h_out", "\x1b[31mEvil", np.float32(0)), "cannot load it"),
    ],
)
def test_whatever_a_graph_does_is_one_line(
    folder: Path, capfd: pytest.CaptureFixture[str], name: str, change: Callable[[onnx.ModelProto], None], says: str
) -> None:
    _tampered(folder, name, change)
    with (
        pytest.raises(UserError, match=says) as raised,
        Sampler(Bundle(folder), 3, engine="cpu", precision="fp32") as s,
    ):
        s.generate(0.3)
    assert str(raised.value).isprintable()
    assert capfd.readouterr() == ("", "")  # a runtime's own lines would come before ours


def test_a_codec_with_more_levels_than_the_graphs(folder: Path) -> None:
    _edit(folder, lambda content: content["codec"].update(levels=65536))
    with pytest.raises(UserError, match=r"onnx: ONNX Runtime could not run it \(.*out of data bounds"):
        Sampler(Bundle(folder), engine="cpu", precision="fp32").codes(100)


@pytest.mark.parametrize("levels", [100, 65536])
def test_graphs_of_another_codec_are_not_scored(folder: Path, levels: int) -> None:
    _edit(folder, lambda content: content["codec"].update(levels=levels))
    with pytest.raises(UserError, match=f"has logits of 256 codes, and the manifest's codec has {levels}"):
        BundleScorer(Bundle(folder))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_to_a_graph_is_answered(folder: Path, bundle: Bundle, tally: Tally, data: st.DataObject) -> None:
    """Even where the manifest was written for the damaged file."""
    name = data.draw(st.sampled_from(["frame_tier_1.onnx", "frame_tier_2.onnx", "sample_tier.onnx"]))
    content = bytearray((bundle.path / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(content)
    _described(folder, name)
    with contextlib.suppress(UserError), Sampler(Bundle(folder), 2, engine="cpu", precision="fp32") as sampler:
        sampler.codes(64)
    tally.count("hostile files: ONNX files")
    shutil.copyfile(bundle.path / name, folder / name)
    _described(folder, name)


def test_names_in_a_graph_that_are_not_text(folder: Path, bundle: Bundle) -> None:
    name = "sample_tier.onnx"
    (folder / name).write_bytes((bundle.path / name).read_bytes().replace(b"batch", b"batc\xfa"))
    _described(folder, name)
    with pytest.raises(UserError, match=r"sample_tier\.onnx: has names that are not UTF-8"):
        Engine(Bundle(folder), OnnxCpu())


def test_a_bundle_that_does_not_exist(bundle: Bundle) -> None:
    with pytest.raises(UserError, match=r"bundl: does not exist; did you mean .*/bundle\?"):
        Bundle(bundle.path.with_name("bundl"))
    with pytest.raises(UserError, match="elsewhere: does not exist; check the path"):
        Bundle(bundle.path.parent / "no" / "elsewhere")
    with pytest.raises(UserError, match="cannot be opened"):
        Bundle("x" * 5000)
