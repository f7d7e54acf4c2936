#!/usr/bin/env bash
# Sets a fresh Debian 12 or Ubuntu 24.04 machine up for Glasshive. Every step is skipped when its inputs have not changed.
# Usage: .setup/setup.sh [test]   (from the project root; called by make; `test` adds what only the tests need)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export UV_SYSTEM_CERTS=1 # trust what this machine trusts: schools and companies have certificate authorities of their own
stamps=.setup/stamps
mkdir -p "$stamps"
sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo"
for_tests=""; [ "${1:-}" != test ] || for_tests=yes
step=0; total=$((4 + ${#for_tests} / 3))

say() { step=$((step + 1)); printf '[%d/%d] %-28s' "$step" "$total" "$1"; began=$(date +%s%N); }
ok() { printf ' %s (%d.%d s)\n' "${1:-done}" $((($(date +%s%N) - began) / 1000000000)) $((($(date +%s%N) - began) / 100000000 % 10)); }
fail() { printf '\nglasshive: error: %s\n' "$1" >&2; exit 1; }

logged() { # run a step quietly; show its log only when it fails
  local log="$stamps/$1.log"; shift
  if ! "$@" >"$log" 2>&1; then tail -n 30 "$log" >&2; fail "'$*' failed; the whole log is in $log"; fi
}

missing_packages() {
  local line name found
  local -A installed # one question for all: dpkg reads its whole database each time
  while read -r name; do installed[$name]=yes; done < <(
    dpkg-query -W -f='${Package} ${Status}\n' 2>/dev/null | sed -n 's/ install ok installed$//p')
  while read -r line; do
    line=${line%%#*}; line=${line//[[:space:]]/}
    [ -n "$line" ] || continue
    if [ "$line" = "[test]" ]; then [ -n "$for_tests" ] && continue || break; fi
    found=""
    for name in ${line//|/ }; do [ -z "${installed[$name]:-}" ] || { found=yes; break; }; done
    [ -n "$found" ] || echo "$line"
  done <.setup/packages.txt
}

system_packages() {
  say "system packages"
  command -v apt-get >/dev/null || fail "apt-get is missing: Debian 12 or Ubuntu 24.04 is needed (or install the packages of .setup/packages.txt by hand)"
  local wanted name choice missing policy
  missing=$(missing_packages)
  if [ -z "$missing" ]; then ok "there already"; return; fi
  [ -z "$sudo" ] || command -v sudo >/dev/null || fail "not root and no sudo: run as root, or install these first: $missing"
  printf ' installing: %s\n' "$(echo "$missing" | tr '\n' ' ')"
  logged apt-update $sudo apt-get update
  wanted=()
  for name in $missing; do
    choice=""
    for candidate in ${name//|/ }; do
      # Read whole, then searched: a pipe into grep -q kills apt-cache in mid-sentence, and pipefail calls that a failure.
      policy=$(apt-cache policy "$candidate" 2>/dev/null) || policy=""
      if [[ $policy == *"Candidate: "[0-9]* ]]; then choice=$candidate; break; fi
    done
    [ -n "$choice" ] || fail "no package '$name' in this distribution's lists"
    wanted+=("$choice")
  done
  logged apt-install $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${wanted[@]}"
  printf '      %-28s' ""; ok
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v "$candidate"; return; fi
  done
  fail "Python 3.11 or later was not found (set PYTHON=/path/to/python3)"
}

compile_own() { # a cluster starts a second sooner from byte code; some environments forbid Python to write it by itself
  .venv/bin/python -m compileall -q lib >"$stamps/compile.log" 2>&1 || fail "a module of lib/ does not compile: $stamps/compile.log"
}

python_environment() {
  say "python environment"
  local want
  want=$(cat .setup/requirements.lock pyproject.toml .setup/setup.sh | sha256sum)
  if [ -x .venv/bin/glasshive ] && [ "$(cat "$stamps/venv" 2>/dev/null)" = "$want" ]; then compile_own; ok "there already"; return; fi
  [ -x .venv/bin/python ] || logged venv "$(find_python)" -m venv .venv
  [ -x .venv/bin/uv ] || logged uv .venv/bin/python -m pip install --disable-pip-version-check "$(grep -oE '^uv==[^ ]+' .setup/requirements.lock)"
  logged sync .venv/bin/uv pip sync --compile-bytecode --python .venv/bin/python --require-hashes .setup/requirements.lock
  logged project .venv/bin/uv pip install --python .venv/bin/python --no-deps --no-build-isolation -e .
  # The distribution's bcc is pure Python over libbcc.so: it is the one system module that the environment borrows.
  local site
  site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  ln -sfn /usr/lib/python3/dist-packages/bcc "$site/bcc"
  compile_own
  echo "$want" >"$stamps/venv"
  ok
}

working_bpftool() { # Ubuntu's is a script that knows only the very kernel that runs; its packages hold the real one
  local candidate
  for candidate in bpftool /usr/sbin/bpftool $(ls -d /usr/lib/linux-tools-*/bpftool 2>/dev/null | sort -rV); do
    if "$candidate" version >/dev/null 2>&1; then command -v "$candidate"; return; fi
  done
}

bpf_objects() {
  say "BPF objects"
  local tool
  tool=$(working_bpftool)
  [ -n "$tool" ] || fail "no bpftool of this machine runs: install the package bpftool (Ubuntu: linux-tools-generic)"
  case $tool in /usr/lib/*) ln -sfn "$tool" .venv/bin/bpftool ;; esac # where our programs look first
  export BPFTOOL=$tool
  logged bpf make --no-print-directory -C bpf
  ok "$(find bpf/build -name '*.bpf.o' 2>/dev/null | wc -l) objects"
}

kernel_state() { # bpffs is mounted by systemd on most machines
  say "kernel file systems"
  if ! grep -q ' /sys/fs/bpf bpf ' /proc/mounts; then
    $sudo mount -t bpf bpf /sys/fs/bpf 2>/dev/null || { ok "bpffs cannot be mounted here: clusters need it"; return; }
  fi
  ok
}

depends() { # depends PACKAGE PREFIX: the first dependency that begins so; nothing if it or the package is not known
  local known line
  known=$(apt-cache depends "$1" 2>/dev/null) || known=""
  while read -r line; do
    if [[ $line == "Depends: $2"* ]]; then echo "${line#Depends: }"; return; fi
  done <<<"$known"
}

stock_kernel() { # packages of the distribution's kernel; Ubuntu has the modules in one of their own
  local image modules meta
  for meta in linux-image-amd64 linux-image-generic; do
    image=$(depends "$meta" linux-image-)
    [ -n "$image" ] || continue
    modules=$(depends "$image" linux-modules-)
    echo "$image${modules:+ $modules}"; return
  done
}

vm_kernel() { # a stock kernel for the virtual machine lane, unpacked beside us: nothing of it is installed on this machine
  say "virtual machine lane"
  local folder=.setup/vm packages
  if ls "$folder"/boot/vmlinuz-* >/dev/null 2>&1; then ok "there already"; return; fi
  packages=$(stock_kernel)
  if [ -z "$packages" ] && $sudo apt-get update >"$stamps/vm.log" 2>&1; then packages=$(stock_kernel); fi
  if [ -z "$packages" ]; then ok "no stock kernel package for this machine: its tests will be skipped"; return; fi
  rm -rf "$folder.new"; mkdir -p "$folder.new"
  if ! fetch_unpacked "$folder.new" $packages >"$stamps/vm.log" 2>&1; then
    rm -rf "$folder.new"; ok "$packages could not be fetched ($stamps/vm.log): its tests will be skipped"; return
  fi
  mv "$folder.new" "$folder"
  ok "$packages"
}

fetch_unpacked() { # FOLDER PACKAGE...; called in a condition, where set -e does nothing
  local folder=$1 file; shift
  (
    cd "$folder" || exit 1
    # Lists older than the mirror name files that are gone.
    apt-get download "$@" || { $sudo apt-get update && apt-get download "$@"; } || exit 1
    for file in ./*.deb; do { dpkg -x "$file" . && rm "$file"; } || exit 1; done
  )
}

main() {
  system_packages
  python_environment
  bpf_objects
  kernel_state
  if [ -n "$for_tests" ]; then vm_kernel; fi
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then main; fi # tests read the functions only
