#!/usr/bin/env bash
# Installs wrk, the load generator of `make benchmark-serving`, where it is missing (Debian, Ubuntu).
set -euo pipefail
command -v wrk > /dev/null && command -v taskset > /dev/null && exit 0
test "$(id -u)" = 0 || { echo "wrk is missing: sudo apt-get install wrk util-linux" >&2; exit 1; }
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk util-linux > /dev/null
