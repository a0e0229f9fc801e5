"""Imports point down, as docs/architecture.md draws it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import glpn_cli

PACKAGE = Path(glpn_cli.__file__).parent
GROUND = {"errors", "convert", "values", "settings", "depth", "device", "files", "certificates", "tuning", "_version"}
LIBRARY = {"image", "model", "weights", "output", "geometry", "metrics", "data"}
FEATURES = {"training", "evaluation", "report", "export", "benchmark", "diagnosis", "video"}
API = {"api"}

MAY_IMPORT: dict[str, set[str]] = {
    "_version": set(),
    "errors": set(),
    "convert": {"errors"},
    "values": {"errors", "convert"},
    "settings": {"errors", "convert", "values"},
    "files": {"errors"},
    "certificates": {"errors", "files"},
    "device": {"errors", "convert", "settings", "values"},
    "depth": {"errors", "convert", "settings", "values"},
    "tuning": set(),
    "metrics": set(),
    "image": GROUND,
    "model": GROUND,
    "geometry": GROUND,
    "weights": GROUND | {"model"},
    "output": GROUND | {"geometry"},
    "data": GROUND | {"image"},
    "inference": GROUND | LIBRARY,
    **dict.fromkeys(FEATURES, GROUND | LIBRARY | {"inference"}),
    "diagnosis": GROUND | LIBRARY | {"inference", "video"},
    "api": GROUND | LIBRARY | FEATURES | {"inference"},
    "cli": API | GROUND | LIBRARY | FEATURES | {"inference"},
    "__main__": {"cli", "tuning"},
    "": API | GROUND | LIBRARY | {"inference", "video"},  # the Python API imports each name on first use
}
"""What each module or package of `glpn_cli` may import besides itself."""

UPWARD = {
    ("depth", "output"),  # methods of DepthMap, such as save
    ("depth", "geometry"),  # methods of DepthMap, such as measure
    ("model", "weights"),  # from_pretrained and save_pretrained
    ("image", "weights"),  # GLPNImageProcessor.from_pretrained
}
"""Deliberate imports against this direction, inside functions only."""


def room_of(module: str) -> str:
    return module.removeprefix("glpn_cli").removeprefix(".").split(".")[0]


def imports(path: Path) -> list[tuple[str, bool, bool]]:
    """List (imported module, inside a function, only for types) of a file."""
    found: list[tuple[str, bool, bool]] = []

    def visit(node: ast.AST, *, inside: bool, typing_only: bool) -> None:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            if node.module == "glpn_cli":
                found.extend(
                    (
                        f"glpn_cli.{alias.name}" if (PACKAGE / f"{alias.name}.py").exists() else "glpn_cli",
                        inside,
                        typing_only,
                    )
                    for alias in node.names
                )
            else:
                found.append((str(node.module), inside, typing_only))
        elif isinstance(node, ast.Import):
            found.extend((alias.name, inside, typing_only) for alias in node.names)
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            typing_only = True
        for child in ast.iter_child_nodes(node):
            visit(child, inside=inside, typing_only=typing_only)

    visit(ast.parse(path.read_text(encoding="utf-8")), inside=False, typing_only=False)
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    room = room_of("glpn_cli." + module_name(path))
    for imported, inside, typing_only in imports(path):
        if not (imported == "glpn_cli" or imported.startswith("glpn_cli.")):
            continue
        target = room_of(imported)
        if target == room or ((inside or typing_only) and (room, target) in UPWARD):
            continue
        assert target in MAY_IMPORT[room], f"{module_name(path)} imports {imported}"


def test_every_upward_import_is_used() -> None:
    used = {
        (room_of("glpn_cli." + module_name(path)), room_of(imported))
        for path in FILES
        for imported, inside, _ in imports(path)
        if inside and imported.startswith("glpn_cli.")
    }
    assert used >= UPWARD


def test_nothing_imports_in_a_circle() -> None:
    graph = {
        module_name(path): {
            room.removeprefix("glpn_cli").removeprefix(".")
            for room, inside, typing_only in imports(path)
            if room.startswith("glpn_cli") and not inside and not typing_only
        }
        for path in FILES
    }
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module and module not in done:
            for imported in graph.get(module, set()):
                walk(imported, (*trail, module))
            done.add(module)

    for module in graph:
        walk(module, ())


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_the_command_line_prints(path: Path) -> None:
    if room_of("glpn_cli." + module_name(path)) == "cli":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.Call) and ast.unparse(node.func) == "print"), f"{path.name} prints"
    assert not {imported.split(".")[0] for imported, _, _ in imports(path)} & {"rich", "typer"}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":"))


def test_only_export_and_benchmark_import_other_runtimes() -> None:
    runtimes = {"transformers", "openvino", "onnx", "onnxruntime", "onnxscript"}
    for path in FILES:
        imported = {name.split(".")[0] for name, _, _ in imports(path)}
        assert "click" not in imported, path.name
        if path == PACKAGE / "inference" / "openvino" / "runtime.py":  # the engine
            imported.discard("openvino")
        if room_of("glpn_cli." + module_name(path)) not in {"export", "benchmark"}:
            assert not imported & runtimes, path.name


def test_openvino_is_imported_without_telemetry_everywhere() -> None:
    for path in FILES:
        if path != PACKAGE / "inference" / "openvino" / "runtime.py":
            assert "openvino" not in {name.split(".")[0] for name, _, _ in imports(path)}, path


FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def strings(tree: ast.Module) -> list[str]:
    """Return all string constants that are not docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
    return [node.value for node in constants if isinstance(node.value, str)]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_message_below_the_command_line_names_a_flag(path: Path) -> None:
    if room_of("glpn_cli." + module_name(path)) == "cli":
        return
    named = [text for text in strings(ast.parse(path.read_text(encoding="utf-8"))) if FLAG.search(text)]
    assert not named
