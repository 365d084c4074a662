# shellcheck shell=bash
# mandoc, which tells what is wrong with a manual page. Sourced by tools/test.
if ! command -v mandoc >/dev/null && ! apt_install mandoc; then
  say "• unpacking Debian's mandoc in $UNPACKED"
  unpack_debs "$UNPACKED" mandoc && mkdir -p -- "$UNPACKED/wrappers" &&
    ln -sf -- "$UNPACKED/usr/bin/mandoc" "$UNPACKED/wrappers/mandoc"
fi
