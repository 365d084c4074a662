# shellcheck shell=bash
# zsh and tcsh, which read what `edgectl completion` prints for them. Sourced by tools/test.
for shell in zsh tcsh; do
  if ! command -v "$shell" >/dev/null && ! apt_install "$shell"; then
    say "• unpacking Debian's $shell in $UNPACKED"
    unpack_debs "$UNPACKED" "$shell" && mkdir -p -- "$UNPACKED/wrappers" &&
      ln -sf -- "$(find "$UNPACKED/bin" "$UNPACKED/usr/bin" -name "$shell" 2>/dev/null | head -n 1)" "$UNPACKED/wrappers/$shell"
  fi || exit 1
done
