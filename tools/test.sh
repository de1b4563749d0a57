#!/usr/bin/env bash
# Sets everything up (once) and runs the tests; arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
.venv/bin/plena-emu doctor >&2 # compiled before the parallel workers start
.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal "$@"
