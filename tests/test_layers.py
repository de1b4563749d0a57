"""Is the house the one the picture shows: no circles, no layer broken, few rooms on a floor?"""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import import_graph  # noqa: E402

EDGES = import_graph.graph()
HANDING_ON = {"assembler", "ddr", "dram", "dram_trace"}  # public paths whose home is a folder (docs/api.md)


def rooms(folder):
    """What lies on the floor of a folder: modules and packages."""
    return {path.stem for path in (ROOT / folder).iterdir()
            if path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists())}


def test_no_module_imports_itself_over_others():
    assert import_graph.circles(EDGES) == []


def test_a_circle_is_found():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}
    assert import_graph.circles(edges) == [["a", "b", "c"]]


def test_every_import_is_one_that_its_layer_may_use():
    assert import_graph.broken(EDGES) == []


def test_a_broken_layer_is_named():
    edges = {"plena_emu.kernels.data.dma": {"plena_emu.errors"}, "plena_emu.new": set(), "plena_emu.errors": set()}
    assert import_graph.broken(edges) == [
        "plena_emu.kernels.data.dma imports plena_emu.errors: kernels.data may not import errors"]
    assert import_graph.broken({"plena_emu.new": {"plena_emu.errors"}}) == [
        "plena_emu.new: its group new is not in LAYERS"]


def test_the_graph_sees_what_python_imports():
    """Against a real import: what a module imports at its top is loaded after it."""
    code = "import sys, plena_emu.running.simulation; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert EDGES["plena_emu.running.simulation"] <= set(run.stdout.split())
    assert len(EDGES["plena_emu.running.simulation"]) > 5


def test_the_command_line_is_imported_by_nothing():
    users = {name for name, targets in EDGES.items()
             for target in targets if import_graph.group_of(target) == "cli" and import_graph.group_of(name) != "cli"}
    assert users == set()


def test_the_floors_have_few_rooms():
    assert len(rooms("kernels")) <= 12 and rooms("emu") >= HANDING_ON and len(rooms("emu") - HANDING_ON) <= 21


def test_what_hands_on_does_nothing_else():
    for name in HANDING_ON:
        body = ast.parse((ROOT / "emu" / f"{name}.py").read_text()).body
        assert all(isinstance(node, ast.Expr | ast.ImportFrom | ast.Assign) for node in body), name


def test_no_room_bears_the_name_of_a_public_call():
    """`import plena_emu.run.x` would put a package where the documented call `plena_emu.run(...)` is."""
    import plena_emu
    import plena_emu.models

    names = set(plena_emu.__all__)
    assert not names & rooms("emu") and not names & {"kernels", "boards", "manifests", "models"}
    assert plena_emu.models.__all__ and not set(plena_emu.models.__all__) & rooms("models")


def test_every_call_works_after_every_module_was_imported():
    code = (
        "import importlib, sys, plena_emu\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "calls = [getattr(plena_emu, name) for name in plena_emu.__all__ if name != '__version__']\n"
        "print(all(map(callable, calls)), len(calls))"
    )
    names = sorted(name for name in EDGES if not name.endswith("llvm_ir"))
    run = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[0] == "True"
