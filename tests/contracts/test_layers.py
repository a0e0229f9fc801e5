"""Imports point down, as docs/architecture.md draws it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import glpn_cli

PACKAGE = Path(glpn_cli.__file__).parent
GROUND = {"errors", "settings", "depth", "runtime", ""}
ROOMS = {"image", "model", "weights", "output", "geometry", "metrics"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "depth": {"settings", "errors"},
    "runtime": {"settings", "errors"},
    "image": GROUND,
    "model": GROUND,
    "weights": GROUND | {"model"},
    "output": GROUND | {"geometry"},
    "geometry": GROUND,
    "metrics": set(),
    "data": GROUND | {"image"},
    "scenes": GROUND | {"image", "data"},
    "inference": GROUND | ROOMS,
    "training": GROUND | ROOMS | {"data", "scenes"},
    "benchmark": GROUND | ROOMS | {"inference"},
    "report": GROUND | ROOMS | {"inference"},
    "export": GROUND | ROOMS | {"inference"},
    "evaluation": GROUND | ROOMS | {"inference", "data"},
    "cli": GROUND
    | ROOMS
    | {"diagnosis", "inference", "data", "benchmark", "evaluation", "export", "training", "scenes", "report"},
    "diagnosis": GROUND | {"weights"},
    "__main__": {"cli"},
    # The Python API, each name on first use.
    "": GROUND | ROOMS | {"inference"},
}

DOORS = {
    ("depth", "output"),  # DepthMap.save
    ("model", "weights"),  # from_pretrained and save_pretrained
}
"""Imports inside a function that point upward on purpose."""


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
        if target == room or ((inside or typing_only) and (room, target) in DOORS):
            continue
        assert target in MAY_IMPORT[room], f"{module_name(path)} imports {imported}"


def test_every_door_is_used() -> None:
    used = {
        (room_of("glpn_cli." + module_name(path)), room_of(imported))
        for path in FILES
        for imported, inside, _ in imports(path)
        if inside and imported.startswith("glpn_cli.")
    }
    assert used >= DOORS


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


def test_other_runtimes_are_imported_by_those_who_deal_in_them_and_click_by_nobody() -> None:
    importers = {
        module_name(path)
        for path in FILES
        for name, _, _ in imports(path)
        if name.split(".")[0] in {"transformers", "openvino", "onnx", "onnxruntime", "onnxscript", "click"}
    }
    assert importers == {"benchmark.rivals", "export.onnx_file", "export.verification"}
    assert not [name for path in FILES for name, _, _ in imports(path) if name.split(".")[0] == "click"]
