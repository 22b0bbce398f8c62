# How `./test` and the gates of `.ci/run` install what they need: Debian packages, and Python packages in virtual environments.
# Whoever sources this stands in the folder of the project.
# shellcheck shell=bash

tools=${CARGO_TARGET_DIR:-target}/test-tools

# debian_packages NAME...: as root, or with sudo that does not ask.
debian_packages() {
  # Another apt may be at work.
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  local install=(install -y --no-install-recommends "$@") log=$tools/apt.log
  command -v apt-get > /dev/null || return
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2> /dev/null || return
    apt=(sudo -n "${apt[@]}")
  fi
  echo "installing the Debian packages $*"
  mkdir -p "$tools"
  # One after the other: apt waits for another one that installs, and not for one that fetches lists.
  local lock
  exec {lock}> "$tools/apt.lock"
  flock "$lock"
  "${apt[@]}" "${install[@]}" < /dev/null > "$log" 2>&1 && return
  # The list of packages may be old or absent.
  "${apt[@]}" update < /dev/null >> "$log" 2>&1 || true
  "${apt[@]}" "${install[@]}" < /dev/null >> "$log" 2>&1 && return
  tail -n 5 "$log"
  return 1
}

# python_packages VENV PINS: a virtual environment with exactly the pinned packages; made anew when the pins or its Python
# change.
python_packages() {
  local to=$1 pins=$2
  cmp -s "$pins" "$to/pins" && "$to/bin/python" -c '' 2> /dev/null && return
  echo "installing the Python packages of $pins"
  mkdir -p "$tools"
  fill_by_uv "$to" "$pins" || fill_by_pip "$to" "$pins" || return
  cp "$pins" "$to/pins"
}

# uv, itself pinned, does in seconds what takes pip minutes.
fill_by_uv() {
  local to=$1 pins=$2 uv=$tools/uv
  if ! { cmp -s tests/tools/requirements-uv.txt "$uv/pins" && "$uv/bin/uv" --version > /dev/null 2>&1; }; then
    fill_by_pip "$uv" tests/tools/requirements-uv.txt --only-binary :all: || return
    cp tests/tools/requirements-uv.txt "$uv/pins"
  fi
  rm -rf "$to"
  python3 -m venv --without-pip "$to" && "$uv/bin/uv" pip install --quiet --python "$to/bin/python" --require-hashes -r "$pins" < /dev/null
}

# fill_by_pip VENV PINS [OPTION...]: for uv itself, and where it has no way to the packages: an index may be known to pip alone.
fill_by_pip() {
  local to=$1 pins=$2
  shift 2
  # Debian keeps the module that makes these in a package of its own.
  make_venv "$to" || { debian_packages python3-venv && make_venv "$to"; } || return
  "$to/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "$@" -r "$pins" < /dev/null
}

make_venv() {
  rm -rf "$1"
  python3 -m venv "$1" > "$tools/venv.log" 2>&1
}
