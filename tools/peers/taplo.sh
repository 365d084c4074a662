# shellcheck shell=bash
# Taplo, by which editors check edged.toml against its schema: one binary of 12 MB in a wheel. Sourced by tools/test.
[[ -x $VENV/bin/taplo ]] || quietly "$VENV/bin/python" -m pip install --only-binary=:all: 'taplo==0.9.3' || exit 1
mkdir -p -- "$UNPACKED/wrappers"
ln -sf -- "$VENV/bin/taplo" "$UNPACKED/wrappers/taplo"
