#!/bin/sh
# Binaries of a Kubernetes control plane for tests/cluster, in the layout of envtest: etcd, kube-apiserver, kubectl,
# and kube-controller-manager and kube-scheduler beside them. Prints the folder.
#
# A folder named by KUBEBUILDER_ASSETS that has them is used as it is (`setup-envtest use -p path` makes one, without
# the last two). Else they are built from the Go modules pinned in hack/envtest/go.mod, once, into a cache outside the
# checkout; what is there is kept. BIKESHARE_ENVTEST_CACHE moves the cache, BIKESHARE_BUILD_JOBS limits the compiler.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
needed="etcd kube-apiserver kubectl"

has() { # has FOLDER NAME...
  folder=$1; shift
  for name in "$@"; do [ -x "$folder/$name" ] || return 1; done
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  # shellcheck disable=SC2086  # a list of words
  if has "$KUBEBUILDER_ASSETS" $needed; then
    echo "$KUBEBUILDER_ASSETS"
    exit 0
  fi
  echo "KUBEBUILDER_ASSETS is $KUBEBUILDER_ASSETS, but it has not all of: $needed. Unset it to build them." >&2
  exit 2
fi

cd "$here/envtest"
version=$(awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ { print $2 }' go.mod)
assets=${BIKESHARE_ENVTEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bikeshare/envtest}/$version
mkdir -p "$assets"

build() { # build NAME PACKAGE: whole or not at all, whoever interrupts
  has "$assets" "$1" && return 0
  PATH=$PATH:/usr/local/go/bin
  command -v go >/dev/null || { echo "Go is needed to build $1 (apt-get install golang, or https://go.dev/dl)." >&2; exit 2; }
  echo "building $1 of Kubernetes $version ..." >&2
  rest=${version#v*.}
  stamp=k8s.io/component-base/version
  CGO_ENABLED=0 nice -n "${BIKESHARE_BUILD_NICE:-15}" go build -p "${BIKESHARE_BUILD_JOBS:-2}" -mod=readonly -trimpath \
    -ldflags "-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${rest%%.*}" \
    -o "$assets/.$1.$$" "$2" >&2
  mv "$assets/.$1.$$" "$assets/$1"
}

build etcd go.etcd.io/etcd/server/v3
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
build kubectl k8s.io/kubernetes/cmd/kubectl
build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
build kube-scheduler k8s.io/kubernetes/cmd/kube-scheduler
echo "$assets"
