#!/usr/bin/env bash
# A Docker daemon, and a client that builds with BuildKit, on Debian machines that have none.
#   hack/docker.sh start    install docker.io if there is no daemon program, start it, wait until it answers
#   hack/docker.sh stop     end the daemon that `start` started, no other
#   hack/docker.sh client   print the client that the other scripts call
# DOCKERD_OPTIONS goes to the daemon, e.g. --storage-driver=vfs where overlay file systems are forbidden.
set -euo pipefail

state=${XDG_RUNTIME_DIR:-/tmp}/bikeshare-dockerd
log=$state/dockerd.log

# Clients from 23 on build with the buildx plugin or, without it, not with BuildKit at all; Debian's 20.10 needs none.
client() {
  local found version
  for found in "$(command -v docker || true)" /usr/bin/docker; do
    [ -x "$found" ] || continue
    version=$("$found" version --format '{{.Client.Version}}' 2>/dev/null || true)
    if "$found" buildx version >/dev/null 2>&1 || [ "${version%%.*}" = 20 ]; then
      echo "$found"
      return
    fi
  done
  echo "no Docker client that builds with BuildKit: install Docker with its buildx plugin, or docker.io on Debian 12" >&2
  return 2
}

answers() {
  local found
  found=$(client 2>/dev/null) && "$found" info >/dev/null 2>&1
}

start() {
  answers && { echo "a Docker daemon runs already"; return; }
  if [ "$(id -u)" != 0 ]; then
    echo "no Docker daemon answers and only root can start one: start Docker, then try again" >&2
    return 2
  fi
  if ! command -v dockerd >/dev/null || ! client >/dev/null 2>&1; then
    command -v apt-get >/dev/null || { echo "no dockerd and no apt-get: install Docker, then try again" >&2; return 2; }
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=600 update -qq
    apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends docker.io iptables >/dev/null
    answers && { echo "the Docker daemon was started by its package"; return; }
  fi
  mkdir -p "$state"
  (
    # A lock or a pipe of the caller would be held for as long as the daemon lives.
    for path in "/proc/$BASHPID/fd"/*; do
      descriptor=${path##*/}
      [ "$descriptor" -le 2 ] || exec {descriptor}>&-
    done
    # Several options in one variable: splitting is meant.
    # shellcheck disable=SC2086
    exec setsid nohup dockerd ${DOCKERD_OPTIONS:-}
  ) >"$log" 2>&1 </dev/null &
  local pid=$!
  echo "$pid" >"$state/pid"
  for _ in $(seq 120); do
    answers && { echo "started dockerd (process $pid, log $log)"; return; }
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
  done
  echo "dockerd did not come up; set DOCKERD_OPTIONS, e.g. --storage-driver=vfs or --iptables=false. Its last words:" >&2
  tail -n 15 "$log" >&2
  return 1
}

stop() {
  [ -f "$state/pid" ] || { echo "no daemon was started by this script"; return; }
  local pid
  pid=$(<"$state/pid")
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null || true)" = dockerd ]; then
    kill "$pid"
    for _ in $(seq 60); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.5
    done
  fi
  rm -rf "$state"
}

case ${1:-} in
  start | stop | client) "$1" ;;
  *)
    sed -n '2,6s/^# //p' "$0" >&2
    exit 2
    ;;
esac
