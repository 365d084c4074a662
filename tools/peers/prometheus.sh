# shellcheck shell=bash
# Sourced by `tools/test --all`: Prometheus and its promtool, unpacked. Installed it would be a service, which starts at once.

unpack_prometheus() {
  say "• unpacking Debian's Prometheus in $UNPACKED"
  unpack_debs "$UNPACKED" prometheus && mkdir -p -- "$UNPACKED/wrappers" &&
    ln -sf -- "$UNPACKED"/usr/bin/{prometheus,promtool} "$UNPACKED/wrappers/"
}

if ! { command -v prometheus && command -v promtool; } >/dev/null; then
  unpack_prometheus
  unpacked=$?
  clean_up # what was made in this shell goes with it
  return "$unpacked"
fi
