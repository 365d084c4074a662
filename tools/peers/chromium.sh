# Debian's Chromium, in which the console's pages are tested. Unpacked it does not run: it looks for its parts in /usr.
command -v chromium >/dev/null || { may_apt && apt_install chromium; }
