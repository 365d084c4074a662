# shellcheck shell=bash
# lintian, which tells what is wrong with a Debian package. Sourced by tools/test. Unpacked it would be a hundred packages.
command -v lintian >/dev/null || apt_install lintian
