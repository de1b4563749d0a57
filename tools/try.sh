#!/usr/bin/env bash
# Sets everything up (once) and runs the bundled example.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
.venv/bin/plena-emu run examples/linear/build --memory-model resident --dump-dir "$(mktemp -d)" "$@"
