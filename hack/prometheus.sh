#!/usr/bin/env bash
# Puts prometheus, promtool and prometheus-pushgateway into a cache folder and prints that folder.
# What is installed already is linked; the rest is unpacked from Debian's packages, so nothing is installed or started.
set -euo pipefail

bin="${XDG_CACHE_HOME:-$HOME/.cache}/bikeshare/bin"
tools=(prometheus promtool prometheus-pushgateway)

missing() {
  for tool in "${tools[@]}"; do
    [ -x "$bin/$tool" ] || { found=$(command -v "$tool") && ln -sf "$found" "$bin/$tool"; } || echo "$tool"
  done
}

download() {
  apt-get -qq -o APT::Sandbox::User=root download prometheus prometheus-pushgateway
}

mkdir -p "$bin"
if [ -n "$(missing)" ]; then
  if ! command -v apt-get >/dev/null; then
    echo "$(missing | tr '\n' ' ')not found, and this is not Debian or Ubuntu: put them on the PATH or into $bin" >&2
    exit 1
  fi
  exec 9>"$bin/.lock"
  flock 9
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  cd "$scratch"
  download 2>/dev/null || { apt-get -qq update && download; } >&2
  for package in ./*.deb; do dpkg-deb -x "$package" .; done
  for tool in $(missing); do install -m 755 "usr/bin/$tool" "$bin/$tool"; done
fi
echo "$bin"
