# shellcheck shell=bash
# What Vector compiles and runs remap programs with, as a Python module, by which a test runs those of configs/vector.toml:
# 6 MB. It has wheels for Python 3.10 to 3.12. Sourced by tools/test.
"$VENV/bin/python" -c 'import pyvrl' 2>/dev/null ||
  quietly "$VENV/bin/python" -m pip install --only-binary=:all: 'pyvrl==0.0.2'
