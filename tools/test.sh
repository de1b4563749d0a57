#!/usr/bin/env bash
# Sets everything up (once), checks sources and types, and runs the tests; arguments go to pytest.
# Without arguments the legs follow: oldest versions, other Pythons, numba alone, plain Python (tools/legs.py).
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
.venv/bin/python -m ruff check --quiet .
.venv/bin/python tools/check_types.py --no-error-summary
.venv/bin/plena-emu doctor >&2 # compiled before the parallel workers start
.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal "$@"
[ $# -gt 0 ] || .venv/bin/python tools/legs.py >&2
