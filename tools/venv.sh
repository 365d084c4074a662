# shellcheck shell=bash
# Sourced by the tools, never run: puts edged and its pinned dependencies into a virtual environment.
# Wants python3 >= 3.10 and nothing else; apt is used where it may be (root, or sudo without a password).

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${EDGED_VENV:-$ROOT/.venv}
[[ $VENV == /* ]] || VENV=$PWD/$VENV
# What the newest LiteRT for aarch64 asks of glibc (2.34), and the last one before it (2.30), JetPack 5 and 4 have not.
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
glibc=${glibc#glibc 2.}
pins=constraints.txt
if [[ $(uname -m) == aarch64 && $glibc =~ ^[0-9]+$ ]]; then
  ((glibc >= 34)) || pins=constraints-jetpack5.txt
  ((glibc >= 30)) || pins=constraints-jetpack4.txt
fi
# shellcheck disable=SC2034 # used by those who source this
DEVICE_PINS=$ROOT/tools/$pins
# shellcheck disable=SC2034
TEST_PINS=$ROOT/tools/constraints-test.txt
LOG=""       # made by the first step that has something to say
SCRATCH=""   # a folder for what a step needs for a moment, made by the first one
APT_FRESH="" # set once the package lists were updated

# Whatever the caller's shell is set up for, these decide where pip installs.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX
export PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$(basename -- "$0"): $*"
  exit 1
}

# quietly COMMAND…: its output goes to the log file.
quietly() {
  [[ -n $LOG ]] || LOG=$(mktemp "${TMPDIR:-/tmp}/edged-setup.XXXXXX")
  printf '\n$ %s\n' "$*" >>"$LOG"
  "$@" >>"$LOG" 2>&1 </dev/null
}

forget_log() {
  [[ -z $LOG ]] || rm -f -- "$LOG"
  LOG=""
}

need_scratch() { [[ -n $SCRATCH ]] || SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/edged-setup.XXXXXX"); }

# However a tool ends, its temporary files go.
clean_up() {
  forget_log
  [[ -z $SCRATCH ]] || rm -rf -- "$SCRATCH"
  SCRATCH=""
}
trap clean_up EXIT

# die_with_log LINES TEXT: the end of the run, with the end of the log; the whole of it is kept.
die_with_log() {
  local log=$LOG
  tail -n "$1" "$log" >&2
  LOG=""
  die "$2 (everything it said: $log)"
}

# step TEXT COMMAND…: one line of progress; the end of the log and the end of the run where it fails.
step() {
  say "• $1"
  quietly "${@:2}" || die_with_log 25 "failed: $1"
}

may_apt() { command -v apt-get >/dev/null && { [[ $(id -u) == 0 ]] || sudo -n true 2>/dev/null; }; }

# apt_install PACKAGE…: false where it may not or cannot.
apt_install() {
  local root=(env DEBIAN_FRONTEND=noninteractive)
  may_apt || return 1
  [[ $(id -u) == 0 ]] || root=(sudo -n "${root[@]}")
  if [[ -z $APT_FRESH ]]; then
    say "• updating apt's package lists"
    quietly "${root[@]}" apt-get -o DPkg::Lock::Timeout=120 update || true # old lists may do
    APT_FRESH=1
  fi
  say "• apt-get install $*"
  quietly "${root[@]}" apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"
}

# own_apt ARGUMENT…: apt-get with package lists and a cache of its own, which needs no root and finds no lists missing.
own_apt() {
  apt-get -o Debug::NoLocking=1 -o Dir::State::lists="$SCRATCH/apt/lists" -o Dir::Cache="$SCRATCH/apt/cache" "$@"
}

update_own_apt() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  need_scratch
  [[ -d $SCRATCH/apt ]] && return
  mkdir -p -- "$SCRATCH"/apt/{lists,cache/archives}/partial
  say "• fetching apt's package lists"
  quietly own_apt update
}

# unpack_debs FOLDER PACKAGE…: the packages and whatever else apt finds missing for them, unpacked without root.
unpack_debs() {
  local folder=$1 deb
  update_own_apt || return 1
  rm -f -- "$SCRATCH"/apt/cache/archives/*.deb
  quietly own_apt install --yes --no-install-recommends --download-only "${@:2}" || return 1
  for deb in "$SCRATCH"/apt/cache/archives/*.deb; do
    quietly dpkg-deb -x "$deb" "$folder" || return 1
  done
}

# Prints the first Python that edged runs on.
find_python() {
  local name seen=""
  for name in ${EDGED_PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
    if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then
      command -v "$name"
      return
    fi
    seen+=", $("$name" -c 'import sys; print(sys.executable, sys.version.split()[0])' 2>/dev/null)" || seen=${seen%, }
  done
  seen=${seen#, }
  die "needs Python 3.10 to 3.13; found ${seen:-none}. Put one on PATH, or name it in EDGED_PYTHON."
}

# A venv without Debian's python3-venv: pip comes from its package, which anyone may download and unpack.
venv_from_deb() {
  local wheel
  update_own_apt && (cd -- "$SCRATCH" && quietly own_apt download python3-pip-whl) || return 1
  quietly dpkg-deb -x "$SCRATCH"/python3-pip-whl_*.deb "$SCRATCH/pip" || return 1
  wheel=$(echo "$SCRATCH"/pip/usr/share/python-wheels/pip-*.whl)
  quietly "$1" -m venv --without-pip "$VENV" &&
    PYTHONPATH=$wheel quietly "$VENV/bin/python" -m pip install --no-index "$wheel"
}

# make_venv PYTHON: an environment with pip in it, by the first of the ways that a Debian may leave open.
make_venv() {
  local python=$1 package
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if [[ -e $VENV/pyvenv.cfg ]]; then
    rm -rf -- "${VENV:?}"/{bin,include,lib,lib64,share,debian,optional,pyvenv.cfg}
  elif [[ -d $VENV && -n $(ls -A -- "$VENV") ]]; then
    die "$VENV is no virtual environment and not empty: move it away, or name another folder in EDGED_VENV"
  fi
  say "• making a virtual environment in $VENV ($("$python" --version))"
  "$python" -c 'import ensurepip' 2>/dev/null && quietly "$python" -m venv "$VENV" && return
  quietly "$python" -m virtualenv "$VENV" && return
  apt_install "$package" && quietly "$python" -m venv "$VENV" && return
  venv_from_deb "$python" && return
  die_with_log 8 "$python cannot make virtual environments: run \`apt-get install $package\` as root, then this again"
}

# What the environment must have been made from to be used as it is.
fingerprint() {
  { "$VENV/bin/python" -VV && echo "$ROOT" && cat -- "$ROOT/pyproject.toml" "$@"; } 2>/dev/null | sha256sum | cut -d' ' -f1
}

is_ready() {
  local stamp=$VENV/edged-$#.sha256
  [[ -x $VENV/bin/python && -e $stamp && $(<"$stamp") == "$(fingerprint "$@")" ]]
}

# ready_venv FILE…: afterwards VENV holds edged and the versions pinned in FILEs, at once where it does already.
ready_venv() {
  local requirements=() file python count
  is_ready "$@" && return
  exec 9<"$ROOT" && flock 9 # another may be installing at this moment
  if ! is_ready "$@"; then
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && ! quietly "$VENV/bin/python" -m ensurepip; then
      python=$(find_python) || exit 1
      make_venv "$python"
    fi
    for file in "$@"; do requirements+=(-r "$file"); done
    rm -f -- "$VENV"/edged-*.sha256
    step "installing the pinned dependencies (a minute or two)" \
      "$VENV/bin/python" -m pip install --require-hashes --only-binary=:all: "${requirements[@]}"
    step "installing edged" \
      "$VENV/bin/python" -m pip install --no-deps --no-build-isolation --editable "$ROOT"
    for ((count = 1; count <= $#; count++)); do
      fingerprint "${@:1:count}" >"$VENV/edged-$count.sha256"
    done
  fi
  clean_up
  exec 9<&-
}
