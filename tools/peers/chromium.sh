# shellcheck shell=bash
# Debian's Chromium, in which the console's pages are tested, and what drives it. Unpacked, Chromium does not run: it looks
# for its parts in /usr. Sourced by tools/test.
"$VENV/bin/python" -c 'import playwright, axe_playwright_python' 2>/dev/null ||
  quietly "$VENV/bin/python" -m pip install --only-binary=:all: 'playwright>=1.45' 'axe-playwright-python>=0.1.4'
command -v chromium >/dev/null || { may_apt && apt_install chromium; }
