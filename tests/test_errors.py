from __future__ import annotations

import inspect
import re

import pytest

from glpn_cli import errors
from glpn_cli.errors import GLPNError, ImageError, UsageError

ALL = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, GLPNError)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_the_tree_in_the_docstring_is_true(kind: type[GLPNError]) -> None:
    assert errors.__doc__ is not None
    match = re.search(rf"^.*\b{kind.__name__} +(\d+) ", errors.__doc__, re.MULTILINE)
    assert match is not None
    assert kind.exit_code == int(match[1])
    assert kind.__name__ in errors.__all__


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_has_its_parts(kind: type[GLPNError]) -> None:
    error = kind("a.jpg: broken", hint="copy it again")
    assert (str(error), error.message, error.hint, error.setting) == ("a.jpg: broken",) * 2 + ("copy it again", None)
    error = kind("must not be empty", setting="output")
    assert (str(error), error.message, error.setting) == ("`output`: must not be empty",) * 2 + ("output",)


def test_errors_of_values_are_value_errors() -> None:
    assert {kind.__name__ for kind in ALL if issubclass(kind, ValueError)} == {
        "ConfigError",
        "ImageError",
        "DepthFileError",
    }
    assert not issubclass(UsageError, ValueError)


def test_the_name_of_version_0_1_still_works() -> None:
    assert errors.PictureError is ImageError
