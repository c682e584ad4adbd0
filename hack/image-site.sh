#!/bin/sh
# Runs inside an image build: image-site.sh VENV LOCK makes a virtual environment of exactly what the lock pins.
set -eu
site=$1 lock=$2

# Index and certificates of the machine that builds, when it has its own; see hack/build-images.sh.
if [ -s /etc/pip.conf ]; then
  UV_DEFAULT_INDEX=$(sed -n 's/^index.url = //p' /etc/pip.conf)
  UV_INDEX=$(sed -n 's/^extra.index.url = //p' /etc/pip.conf)
  UV_INSECURE_HOST=$(sed -n 's/^trusted-host = //p' /etc/pip.conf)
  export UV_DEFAULT_INDEX UV_INDEX UV_INSECURE_HOST
fi
if [ -s /run/secrets/ca ]; then
  export SSL_CERT_FILE=/run/secrets/ca
fi
export UV_HTTP_TIMEOUT=180 UV_LINK_MODE=copy VIRTUAL_ENV="$site"
python3 -m venv --without-pip "$site"
/opt/tools/bin/uv pip install --quiet --no-deps --require-hashes --requirement "$lock"
/opt/tools/bin/uv pip check

# What no process reads: test suites and headers (150 MB; named, because `evidently.tests` is no test suite),
# botocore's descriptions of services other than S3 and what its credentials come from (25 MB), and what ONNX Runtime
# has for those who make models (9 MB).
cd "$site"/lib/python3*/site-packages
for package in matplotlib numpy pandas pyarrow scipy sklearn statsmodels; do
  [ ! -d "$package" ] || find "$package" -type d -name tests -prune -exec rm -rf {} +
done
rm -rf pyarrow/include numpy/_core/include onnxruntime/transformers onnxruntime/quantization onnxruntime/tools
[ ! -d botocore/data ] || find botocore/data -mindepth 1 -maxdepth 1 -type d \
  ! -name s3 ! -name signin ! -name sso ! -name sso-oidc ! -name sts -exec rm -rf {} +

# Nothing can be compiled later: the root is read-only. Of the 15,000 files of plotly a report imports a few dozen; a few
# files of other packages are templates, not Python, and fail.
"$site/bin/python" -m compileall -q -j 0 -x "plotly/(graph_objs|validators)/" "$PWD" >/dev/null || true
