# shellcheck shell=bash
# Node-RED, in which a test runs configs/node-red-flow.json: npm puts it, with 120 MB of what it depends on, into a folder of
# its own. Its Node has to be 18.5 or newer. Sourced by tools/test.
NODE_RED=4.1.15
folder=$VENV/node-red

command -v npm >/dev/null || apt_install nodejs npm || exit 1
if [[ ! -x $folder/node_modules/.bin/node-red || ! -e $folder/$NODE_RED ]]; then
  say "• installing Node-RED (a minute)"
  rm -rf -- "${folder:?}"
  mkdir -p -- "$folder"
  # Without scripts nothing is compiled: what one package would build it has in JavaScript, too.
  quietly npm install --prefix "$folder" --no-audit --no-fund --ignore-scripts "node-red@$NODE_RED" || exit 1
  touch -- "$folder/$NODE_RED"
fi
mkdir -p -- "$UNPACKED/wrappers"
ln -sf -- "$folder/node_modules/.bin/node-red" "$UNPACKED/wrappers/node-red"
