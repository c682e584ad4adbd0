#!/bin/sh
# Programs of a Kubernetes control plane for tests/cluster. Prints the folders they are in, as in PATH.
#
# The convention of envtest: a folder named by KUBEBUILDER_ASSETS that has etcd, kube-apiserver and kubectl is used as it
# is (`setup-envtest use -p path` makes one). What is missing, always kube-controller-manager and kube-scheduler there, is
# built from the Go modules pinned in hack/envtest/go.mod, once, into a cache outside the checkout; kubectl comes from
# hack/tools.sh.
#
# BIKESHARE_ENVTEST_CACHE moves the cache; BIKESHARE_BUILD_JOBS and BIKESHARE_BUILD_NICE hold the compiler back.
set -eu
cd "$(dirname "$0")/.."

die() {
  echo "envtest: $*" >&2
  exit 2
}
say() { echo "envtest: $*" >&2; }

version=$(awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ {print $2}' hack/envtest/go.mod)
cache=${BIKESHARE_ENVTEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bikeshare/envtest}/$version
stamp=k8s.io/component-base/version
minor=${version#v*.}

build() { # NAME PACKAGE
  if [ -x "$cache/$1" ]; then return; fi
  [ -n "${go:-}" ] || go=$(hack/tools.sh --go)
  say "building $1 of Kubernetes $version (minutes, once)"
  # whole or not at all, whoever interrupts
  (cd hack/envtest && GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS="-mod=readonly -trimpath -buildvcs=false" \
    nice -n "${BIKESHARE_BUILD_NICE:-10}" "$go" build -p "${BIKESHARE_BUILD_JOBS:-$(getconf _NPROCESSORS_ONLN)}" \
    -ldflags "-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}" \
    -o "$cache/.$1.new" "$2" >&2)
  mv "$cache/.$1.new" "$cache/$1"
}

mkdir -p "$cache"
# two runs at once would write the same files
if command -v flock >/dev/null; then
  exec 9>"$cache/.lock"
  flock 9
fi

folders=$cache
if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  for name in etcd kube-apiserver kubectl; do
    [ -x "$KUBEBUILDER_ASSETS/$name" ] ||
      die "KUBEBUILDER_ASSETS is $KUBEBUILDER_ASSETS, but $name is not there: correct it, or unset it to build everything"
  done
  folders=$KUBEBUILDER_ASSETS:$cache
else
  folders=$cache:$(hack/tools.sh --path)
  build etcd go.etcd.io/etcd/server/v3
  build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
fi
for name in kube-controller-manager kube-scheduler; do
  [ -x "${KUBEBUILDER_ASSETS:-/nonexistent}/$name" ] || build "$name" "k8s.io/kubernetes/cmd/$name"
done
[ -n "${KUBEBUILDER_ASSETS:-}" ] || hack/tools.sh kubectl >&2
echo "$folders"
