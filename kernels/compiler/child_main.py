"""First code of a child process: finds the package where its parent found it, calls one function of it, and ends.

Started by `children` as a script of an isolated interpreter (`python -I`), whose search path holds neither the
working directory nor what PYTHONPATH names: a file there that bears the name of a library is never run.
"""

import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys
import threading


def _end_with_parent():
    """End when the parent is no more, however it ended: its end of our standard input is closed then."""
    while os.read(0, 1):
        pass
    os._exit(1)


class _FromSource(importlib.machinery.SourceFileLoader):
    """Runs a source as it is: Python takes bytecode for that of a source of the same size and second of change."""

    def get_code(self, fullname):
        """Compile the source."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _Packages:
    """Finds packages where the parent has them, and what is in them; `places` is (file, search locations) by name."""

    def __init__(self, places):
        self._places = places

    def find_spec(self, name, path=None, target=None):
        """Spec of one of the packages, or of a module in one; None for any other name."""
        if name in self._places:
            file, inside = self._places[name]
            return importlib.util.spec_from_file_location(
                name, file, loader=_FromSource(name, file), submodule_search_locations=inside
            )
        if not any(name.startswith(f"{package}.") for package in self._places):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _FromSource(name, spec.loader.path)
        return spec


def main(task):
    """Call `task["function"]` (module:name) with `task["arguments"]`; what goes wrong is one line on stdout.

    Returns
    -------
    int
        Exit status.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        sys.path += task["libraries"]
        sys.meta_path.insert(0, _Packages(task["packages"]))
        module, _, name = task["function"].partition(":")
        getattr(importlib.import_module(module), name)(*task["arguments"])
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(text if type(error).__name__ == "KernelError" else f"{type(error).__name__}: {text}"[:400])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
