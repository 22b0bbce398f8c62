# What the gates that run containers share: packages, a store of their own, a network of their own, and the end of all three.
# shellcheck shell=bash
# shellcheck disable=SC2034 # they are read by whoever sources this file

# shellcheck source=tests/tools/install.sh
. tests/tools/install.sh

begun=$SECONDS

say() { printf '%5d s  %s\n' "$((SECONDS - begun))" "$*"; }

fail() { echo "$0: $1" >&2; exit 1; }

# Where containers can lie: as overlays they need a file system that is none itself, and a compiler and what it makes take
# gigabytes. /tmp may be small, or memory.
a_place() {
  local place free
  for place in ${CI_STORE:+"$CI_STORE"} /var/tmp /tmp target; do
    mkdir -p "$place"
    free=$(df --output=avail -B 1G "$place" | tail -n 1)
    if [ "$(stat -f -c %T "$place")" != overlayfs ] && [ "$free" -ge 6 ]; then
      realpath "$place"
      return
    fi
  done
  fail 'containers need 6 GiB on a file system that is no overlayfs; name a folder there as CI_STORE'
}

place=$(a_place) || exit 1
store=$(mktemp -d -p "$place")
namespace=aquila-ci-$$
storage=(--root "$store/root" --runroot "$store/run" --storage-driver overlay)

# open_store PROGRAM[:PACKAGE]...: installs the Debian packages of programs that are missing, and makes a network that is
# a loopback and nothing else. All is gone when the script ends.
open_store() {
  [ "$(id -u)" -eq 0 ] || fail 'wants to be run by root: it makes network namespaces and mounts'
  trap close_store EXIT
  local missing=() pair
  for pair in buildah podman runc mmdebstrap ip:iproute2 newuidmap:uidmap "$@"; do
    command -v "${pair%%:*}" > /dev/null || missing+=("${pair##*:}")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    debian_packages "${missing[@]}" || fail "the Debian packages ${missing[*]} could not be installed"
  fi
  ip netns add "$namespace"
  ip -n "$namespace" link set lo up
}

close_store() {
  podman "${storage[@]}" --runtime runc --cgroup-manager cgroupfs rm --all --force --time 1 > /dev/null 2>&1 || true
  podman "${storage[@]}" image umount --all --force > /dev/null 2>&1 || true
  ip netns del "$namespace" 2> /dev/null || true
  # What the store has mounted is below it; the deepest goes first.
  awk -v below="$store/" 'index($2, below) == 1 {print $2}' /proc/mounts | sort -r | while read -r mounted; do
    umount "$mounted" || true
  done
  rm -rf --one-file-system "$store"
}

# import_debian NAME [OPTION...]: an image of Debian's packages under this name. One tree does for all gates and for a day: a
# compiler of C and make, and a machine with systemd; procps has the kill of the unit's ExecReload, and authorities are what
# any machine has.
import_debian() {
  local packages=ca-certificates,dbus,g++,gcc,libc6-dev,make,pkg-config,procps,systemd,systemd-sysv kept=target/ci-tools tree
  tree=$kept/debian-$(cksum <<< "$(date +%F) $packages" | cut -d ' ' -f 1).tar
  if [ ! -e "$tree" ]; then
    mkdir -p "$kept"
    rm -f "$kept"/debian-*.tar
    mmdebstrap --quiet --variant=minbase --include="$packages" bookworm "$store/debian.tar"
    mv "$store/debian.tar" "$tree"
  fi
  podman "${storage[@]}" import --quiet "$tree" "$@" > /dev/null
}

# in_namespace SCRIPT PYTHON [ARGUMENT...]: tests/tools/SCRIPT.py where there is a loopback and nothing else.
in_namespace() {
  local script=$1 python=$2
  shift 2
  nsenter --net="/run/netns/$namespace" "$python" "tests/tools/$script.py" \
    --store "$store" --namespace "$namespace" --outside "/proc/$$/ns/net" "$@"
}
