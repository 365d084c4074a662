# shellcheck shell=bash
# Sourced by `tools/test --all`: Home Assistant in a virtual environment of its own beside that of the tests. It wants
# Python 3.13, and gcc for what of its dependencies has no wheels for it.

HOME_ASSISTANT=$VENV/homeassistant
VERSION=2025.4.4

# What it installs by itself at its first start, at the versions that it wants: MQTT, and what is on in any case.
requirements() {
  "$HOME_ASSISTANT/bin/python" - <<'END'
import json
from pathlib import Path

import homeassistant
from homeassistant.bootstrap import CORE_INTEGRATIONS, DEFAULT_INTEGRATIONS

waiting = ["mqtt", "sensor", "binary_sensor", "button", "number", "image", *CORE_INTEGRATIONS, *DEFAULT_INTEGRATIONS]
seen = set()
found = set()
while waiting:
    name = waiting.pop()
    if name not in seen:
        seen.add(name)
        manifest = json.loads(Path(homeassistant.__path__[0], "components", name, "manifest.json").read_text())
        waiting += manifest.get("dependencies", [])
        found.update(manifest.get("requirements", []))
print(*sorted(found))
END
}

if [[ ! -e $HOME_ASSISTANT/installed || $(<"$HOME_ASSISTANT/installed") != "$VERSION" ]]; then
  python=""
  # pyenv's stand in folders of their own.
  for candidate in python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13.*/bin/python; do
    "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && python=$candidate && break
  done
  if [[ -z $python ]]; then
    say "• Home Assistant needs a Python 3.13"
    exit 1
  fi
  command -v gcc >/dev/null || apt_install gcc libc6-dev || exit 1
  say "• installing Home Assistant $VERSION for tests (a minute or two, 700 MB)"
  rm -rf -- "${HOME_ASSISTANT:?}"
  quietly "$python" -m venv "$HOME_ASSISTANT" || exit 1
  quietly "$HOME_ASSISTANT/bin/python" -m pip install "homeassistant==$VERSION" || exit 1
  read -r -a more < <(requirements)
  quietly "$HOME_ASSISTANT/bin/python" -m pip install "${more[@]}" || exit 1
  printf '%s\n' "$VERSION" >"$HOME_ASSISTANT/installed"
fi
