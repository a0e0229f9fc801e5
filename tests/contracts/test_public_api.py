"""The public API, which other programs rely on."""

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


def test_public_names() -> None:
    assert set(glpn_cli.__all__) == {
        "ApproximateDepthWarning",
        "DepthMap",
        "GLPNConfig",
        "GLPNError",
        "GLPNFeatureExtractor",
        "GLPNForDepthEstimation",
        "GLPNImageProcessor",
        "GLPNModel",
        "Predictor",
        "__version__",
        "load",
        "predict_video",
        "read",
        "read_video",
        "run_batch",
        "run_video",
    }
    for name in glpn_cli.__all__:
        assert getattr(glpn_cli, name) is not None
        assert name in dir(glpn_cli)
    with pytest.raises(AttributeError, match="unknown_name"):
        _ = glpn_cli.unknown_name


def test_documented_signatures() -> None:
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
def test_public_functions_and_classes_have_docstrings(module: str) -> None:
    tree = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}.{node.name}"


def test_error_tree_in_docstring_is_complete() -> None:
    documented = {}
    for line in str(errors.__doc__).splitlines():
        words = line.replace("│", " ").replace("├──", " ").replace("└──", " ").split()
        if len(words) >= 2 and hasattr(errors, words[0]) and words[1].isdigit():
            documented[words[0]] = int(words[1])
    actual = {
        name: cls.exit_code
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.GLPNError) and name == cls.__name__
    }
    assert documented == actual


def test_old_error_name_is_an_alias() -> None:
    assert errors.PictureError is errors.ImageError


def test_errors_have_message_hint_setting_and_exit_code() -> None:
    error = errors.WeightsError("what is wrong", hint="what to do")
    assert (str(error), error.hint, error.setting, error.exit_code) == ("what is wrong", "what to do", None, 3)
    error = errors.UsageError("must be positive", setting="max_pixels")
    assert (str(error), error.setting) == ("`max_pixels`: must be positive", "max_pixels")
    assert error.message == str(error)
    assert error.hint is None
