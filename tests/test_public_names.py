"""The public names of `slash_infer` and its bundles: exactly those listed, importable, sorted, documented."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import slash_infer
import slash_infer.bundle
from slash_infer import Sampler

API_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "python-api.md"
FACES = pytest.mark.parametrize("package", [slash_infer, slash_infer.bundle], ids=lambda package: package.__name__)


def as_ruff_sorts(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then the rest."""
    return not name.isupper(), not name[0].isupper(), name


def public_members(exported: type) -> Iterator[str]:
    """Yield the names of a class's own methods and properties."""
    for name, member in vars(exported).items():
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
            yield name


@FACES
def test_a_package_exports_what_it_lists_and_nothing_else(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    for name, value in vars(package).items():
        if not name.startswith("_") and name != "TYPE_CHECKING" and not isinstance(value, ModuleType):
            assert name in package.__all__


def test_the_library_exports_seven_names() -> None:
    classes = {"Bundle", "Engine", "Sampler", "TemperatureSchedule", "UserError"}
    assert set(slash_infer.__all__) == classes | {"open_engine", "__version__"}


def test_a_name_that_is_not_listed_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = slash_infer.nothing


@FACES
def test_names_are_listed_once_and_sorted(package: ModuleType) -> None:
    assert package.__all__ == sorted(set(package.__all__), key=as_ruff_sorts)


@FACES
def test_every_public_class_function_and_member_has_a_docstring(package: ModuleType) -> None:
    assert package.__doc__
    for name in package.__all__:
        exported = getattr(package, name)
        if inspect.isfunction(exported):
            assert exported.__doc__, name
        elif inspect.isclass(exported):
            assert vars(exported)["__doc__"], name
            undocumented = [member for member in public_members(exported) if not getattr(exported, member).__doc__]
            assert undocumented == [], name


def test_the_python_api_document_names_everything() -> None:
    text = API_DOCUMENT.read_text(encoding="utf-8")
    assert [name for name in slash_infer.__all__ if f"`{name}" not in text] == []
    assert [name for name in public_members(Sampler) if f"`{name}" not in text.replace("`Sampler.", "`")] == []
    assert [name for name in inspect.signature(Sampler).parameters if name not in text] == []
