"""Draws and checks the graph of imports between the modules of the package, imports inside functions included.

    python tools/import_graph.py            # what each group of modules imports
    python tools/import_graph.py --dot      # the same for Graphviz
    python tools/import_graph.py --modules  # every module

Exit status 1 where there is a circle or an import that `LAYERS` does not allow.
"""

import argparse
import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"emu": "plena_emu", "kernels": "plena_emu.kernels", "boards": "plena_emu.boards",
           "manifests": "plena_emu.manifests", "models": "plena_emu.models"}

# Which groups a group may import, besides itself. A group is a folder, or a module that lies beside the folders.
# Read it from below: data flows from the files to the kernels and on to what people look at.
_LEAVES = {"errors", "isa", "plena_emu"}  # `plena_emu`: the face of the package, for its version
_HOST = _LEAVES | {"atomic_files", "interrupts", "inputs", "logs", "request", "result"}
_KERNELS = {"isa", "kernels", "kernels.compiler"}
_ALL_KERNELS = _KERNELS | {f"kernels.{name}" for name in ("control", "data", "dram", "hardware", "memory", "simple")}
LAYERS = {
    "plena_emu": set(),
    "errors": set(),
    "isa": set(),
    "kernels": {"isa", "kernels.compiler"},
    "kernels.compiler": set(),
    "kernels.control": _KERNELS | {"kernels.memory"},
    "kernels.data": _KERNELS | {"kernels.memory"},
    "kernels.memory": _KERNELS,
    "kernels.simple": _KERNELS | {"kernels.memory"},
    "kernels.dram": _KERNELS | {"kernels.memory"},
    "kernels.hardware": _KERNELS | {"kernels.memory", "kernels.simple", "kernels.dram"},
    "inputs": {"errors"},
    "boards": {"errors", "inputs"},
    "manifests": {"errors", "inputs", "boards"},
    "interrupts": {"errors"},
    "atomic_files": {"errors", "interrupts"},
    "logs": {"errors"},
    "request": {"boards", "errors", "inputs", "isa"},
    "result": {"errors", "inputs"},
    "config": _LEAVES | {"inputs", "boards", "request"},
    "program": _LEAVES | {"inputs", "config", "kernels"},
    "machine": _HOST | _ALL_KERNELS | {"config"},
    "memory": _HOST | _ALL_KERNELS | {"boards", "manifests"},
    "running": _HOST | _ALL_KERNELS | {"boards", "config", "machine", "manifests", "memory", "program"},
    "precompile": {"boards", "config", "errors", "interrupts", "kernels.compiler", "machine", "manifests", "memory",
                   "program", "request", "running"},
    "profiler": _HOST | _ALL_KERNELS | {"boards", "config", "machine", "precompile", "program", "running"},
    "api": _HOST | {"boards", "config", "manifests", "precompile", "profiler", "running"},
    "bench": _HOST | {"config", "kernels", "precompile", "running"},
    "models": _HOST | {"api", "assembler", "boards", "config", "inputs", "manifests", "program", "running"},
    "sweeping": _HOST | {"boards", "config", "manifests", "models", "precompile", "running"},
    "report": _HOST
    | {"bench", "boards", "machine", "manifests", "memory", "models", "profiler", "running", "sweeping"},
    "cli": _HOST
    | {"bench", "boards", "config", "kernels.compiler", "manifests", "memory", "models", "precompile",
       "profiler", "program", "report", "running", "sweeping"},
    # Public paths that only hand on (docs/api.md).
    "assembler": {"program"},
    "ddr": {"memory"},
    "dram": {"boards", "memory"},
    "dram_trace": {"memory"},
}


def sources() -> dict[str, Path]:
    """Find every module of the package.

    Returns
    -------
    dict
        Dotted name to source file; a package goes by its own name.
    """
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            found[".".join((package, *parts))] = path
    return found


def imports_of(name: str, path: Path, modules: dict[str, Path]) -> set[str]:
    """Find the modules of the package that one source imports, wherever the statement stands."""
    found = set()
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in modules}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in modules else base)
    return {target for target in found if target in modules and target != name}


def graph() -> dict[str, set[str]]:
    """Build the graph of imports: each module and the modules it imports."""
    modules = sources()
    return {name: imports_of(name, path, modules) for name, path in modules.items()}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Find the sets of modules that import each other, directly or not (Tarjan's strong components)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node):
        number[node] = low[node] = len(number)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in number:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], number[target])
        if low[node] == number[node]:
            members = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(members) > 1:
                found.append(sorted(members))

    for node in sorted(edges):
        if node not in number:
            visit(node)
    return found


def group_of(module: str) -> str:
    """Name the group of a module: `kernels.dram`, `running`, `isa`, …; the face of the package is `plena_emu`."""
    parts = module.split(".")[1:]
    if not parts:
        return "plena_emu"
    if parts[0] == "kernels" and len(parts) > 2:
        return ".".join(parts[:2])
    if parts[0] == "kernels" and len(parts) == 2 and (ROOT / "kernels" / parts[1]).is_dir():
        return ".".join(parts)
    return parts[0]


def groups(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Sum the graph up by groups."""
    found: dict[str, set[str]] = {}
    for module, targets in edges.items():
        mine = found.setdefault(group_of(module), set())
        mine |= {group_of(target) for target in targets} - {group_of(module)}
    return found


def broken(edges: dict[str, set[str]]) -> list[str]:
    """List the imports that `LAYERS` does not allow, one line each."""
    lines = []
    for module, targets in sorted(edges.items()):
        mine = group_of(module)
        for target in sorted(targets):
            theirs = group_of(target)
            if mine not in LAYERS:
                lines.append(f"{module}: its group {mine} is not in LAYERS")
            elif theirs != mine and theirs not in LAYERS[mine]:
                lines.append(f"{module} imports {target}: {mine} may not import {theirs}")
    return lines


def main() -> int:
    """Print the graph and what is wrong with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dot", action="store_true", help="text for Graphviz")
    parser.add_argument("--modules", action="store_true", help="modules instead of groups")
    args = parser.parse_args()
    edges = graph()
    shown = edges if args.modules else groups(edges)
    if args.dot:
        print("digraph imports {")
        for source, targets in sorted(shown.items()):
            print("".join(f'  "{source}" -> "{target}";\n' for target in sorted(targets)), end="")
        print("}")
    else:
        for source, targets in sorted(shown.items()):
            print(f"{source:<20} {' '.join(sorted(targets))}")
    wrong = [" -> ".join(circle) for circle in circles(edges)] + broken(edges)
    print("\n".join(wrong), file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
