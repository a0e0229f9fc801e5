"""What other people's programs may rely on."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import glpn_cli
from glpn_cli import errors

PACKAGE = Path(glpn_cli.__file__).parent
MODULES = sorted(
    "glpn_cli." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if not path.name.startswith("__")
)


def test_the_public_names_are_these_and_all_of_them_are_there() -> None:
    assert set(glpn_cli.__all__) == {
        "DepthMap",
        "GLPNConfig",
        "GLPNError",
        "GLPNFeatureExtractor",
        "GLPNForDepthEstimation",
        "GLPNImageProcessor",
        "GLPNModel",
        "__version__",
        "load",
        "read",
        "run_batch",
    }
    for name in glpn_cli.__all__:
        assert getattr(glpn_cli, name) is not None
        assert name in dir(glpn_cli)
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = glpn_cli.nothing_of_ours


def test_the_documented_signatures_are_kept() -> None:
    def parameters(function: object) -> list[str]:
        return [name for name in inspect.signature(function).parameters if name != "self"]  # type: ignore[arg-type]

    assert parameters(glpn_cli.GLPNModel.forward) == [
        "pixel_values",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
    ]
    assert parameters(glpn_cli.GLPNForDepthEstimation.forward) == [
        "pixel_values",
        "labels",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
    ]
    assert parameters(glpn_cli.GLPNImageProcessor.preprocess)[:8] == [
        "images",
        "do_resize",
        "size_divisor",
        "resample",
        "do_rescale",
        "return_tensors",
        "data_format",
        "input_data_format",
    ]
    assert parameters(glpn_cli.load)[:3] == ["weights", "device", "precision"]


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_and_classes_are_described(module: str) -> None:
    tree = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}.{node.name}"


def test_the_error_tree_in_the_docstring_is_the_tree() -> None:
    drawn = {}
    for line in str(errors.__doc__).splitlines():
        words = line.replace("│", " ").replace("├──", " ").replace("└──", " ").split()
        if len(words) >= 2 and hasattr(errors, words[0]) and words[1].isdigit():
            drawn[words[0]] = int(words[1])
    real = {
        name: cls.exit_code
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.GLPNError)
    }
    assert drawn == real


def test_every_error_has_one_line_and_perhaps_a_hint() -> None:
    error = errors.WeightsError("what is wrong", hint="what to do")
    assert (str(error), error.hint, error.exit_code) == ("what is wrong", "what to do", 3)
    assert errors.UsageError("x").hint is None
