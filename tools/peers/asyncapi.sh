# shellcheck shell=bash
# AsyncAPI's command line, which validates configs/schema/asyncapi.json: npm puts it, with 1.5 GB of what it depends on,
# into a folder of its own. Its Node has to be 20 or newer.
ASYNCAPI=4.1.1
folder=$VENV/asyncapi

command -v npm >/dev/null || exit 1
[[ $(node --version) =~ ^v([0-9]+) ]] && ((BASH_REMATCH[1] >= 20)) || exit 1
if [[ ! -x $folder/node_modules/.bin/asyncapi || ! -e $folder/$ASYNCAPI ]]; then
  say "• installing AsyncAPI's command line (some minutes, 1.5 GB)"
  rm -rf -- "${folder:?}"
  mkdir -p -- "$folder"
  quietly npm install --prefix "$folder" --no-audit --no-fund --ignore-scripts "@asyncapi/cli@$ASYNCAPI" || exit 1
  touch -- "$folder/$ASYNCAPI"
fi
mkdir -p -- "$UNPACKED/wrappers"
# It counts its users unless it is told that it runs in a test, and keeps that in their home folder.
{
  printf '#!/bin/bash\nexport CI=true ASYNCAPI_METRICS_CONFIG_PATH=%q\n' "$folder/analytics"
  printf 'exec %q "$@"\n' "$folder/node_modules/.bin/asyncapi"
} >"$UNPACKED/wrappers/asyncapi"
chmod +x -- "$UNPACKED/wrappers/asyncapi"
