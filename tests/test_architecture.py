"""A room imports only from rooms below it, no modules import each other in a circle, and fairjax imports no torch.

Imports are read from the source, those within functions and under `TYPE_CHECKING` too.
"""

import ast
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"utils"},
    {"metrics"},
    {"statistics", "datasets", "models"},
    {"embeddings", "converters"},
    {"training"},
    {"segmentation", "pretraining"},
    {"report"},
    {"auditing"},
    {"tasks"},
    {"configs", "register"},
    {"launch", "launchers", "audit"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Dotted name → file, those of the folders that are linked into the package too."""
    found = {}
    for folder, _, files in os.walk(ROOT / "fairjax", followlinks=True):
        for path in (Path(folder) / file for file in sorted(files) if file.endswith(".py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def room(name: str) -> str:
    """The first part below `fairjax`."""
    return name.split(".")[1] if "." in name else ""


def imports(name: str) -> set[str]:
    """The modules that a module imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            found |= {
                inner if (inner := f"{node.module}.{alias.name}") in MODULES else str(node.module)
                for alias in node.names
            }
    return found


IMPORTS = {name: imports(name) for name in MODULES}


@pytest.mark.parametrize("name", [name for name in MODULES if room(name)])
def test_a_room_imports_only_from_rooms_below_it(name):
    here = room(name)
    assert here in FLOOR, f"the room {here} has no floor: say where it stands"
    for other in IMPORTS[name]:
        there = room(other) if other.split(".")[0] == "fairjax" else ""
        if there and there != here:
            assert FLOOR[there] < FLOOR[here], f"{name} imports {other}, which is not below it"


def test_no_modules_import_each_other_in_a_circle():
    edges = {
        name: {other for other in IMPORTS[name] if other in MODULES and room(other)}
        for name in MODULES
        if room(name)
    }
    while True:
        leaves = {name for name, others in edges.items() if not others - {name}}
        if not leaves:
            break
        edges = {name: others - leaves for name, others in edges.items() if name not in leaves}
    assert not edges, f"in circles, or above one: {sorted(edges)}"


@pytest.mark.parametrize("name", MODULES)
def test_only_converters_import_torch(name):
    torch = {other for other in IMPORTS[name] if other.split(".")[0] == "torch"}
    assert not torch or room(name) == "converters"


TESTS = {path.stem for path in (ROOT / "tests").rglob("*.py")} | {"tests", "helpers"}
READS_CODE = {"cloudpickle", "dill", "eval", "exec", "joblib", "pickle"}


@pytest.mark.parametrize("name", MODULES)
def test_nothing_imports_tests_and_nothing_runs_what_a_file_says(name):
    assert not {other.split(".")[0] for other in IMPORTS[name]} & TESTS
    called = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(MODULES[name].read_text()))
        if isinstance(node, ast.Call)
    }
    assert not {function.split(".")[0] for function in called} & READS_CODE
    # The converters read TorchScript archives of old publications.
    assert "torch.jit.load" not in called or room(name) == "converters"
