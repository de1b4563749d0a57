# Sourced by try.sh and test.sh: makes .venv with this project and its test tools in it, once.
# Needs Python 3.11 or newer and the package registry. PYTHON names another interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ ! -e .venv/installed ] || [ pyproject.toml -nt .venv/installed ]; then
    python=${PYTHON:-}
    for name in python3.11 python3.12 python3.13 python3 python; do
        [ -z "$python" ] || break
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$name; fi
    done
    [ -n "$python" ] || { echo "no Python 3.11 or newer found: set PYTHON to one" >&2; exit 1; }
    echo "setting up .venv with $("$python" --version)" >&2
    "$python" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
    touch .venv/installed
fi
