# shellcheck shell=bash
# argparse-manpage, by which a test makes the manual pages anew and compares. Sourced by tools/test.
"$VENV/bin/python" -c 'import argparse_manpage' 2>/dev/null ||
  quietly "$VENV/bin/python" -m pip install 'argparse-manpage>=4.8,<5'
