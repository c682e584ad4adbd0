#!/bin/sh
# Runs inside an image build: image-site.sh VENV LOCK makes a virtual environment of exactly what the lock pins.
set -eu
site=$1 lock=$2

# The builder's own certificates, when the build was given them; see hack/build-images.sh.
if [ -s /run/secrets/ca ]; then
  export PIP_CERT=/run/secrets/ca
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv --without-pip "$site"
pip() { /opt/tools/bin/pip --python "$site/bin/python" --quiet "$@"; }
pip install --no-deps --require-hashes --requirement "$lock"
pip check

# What no process reads: test suites and headers (150 MB; named, because `evidently.tests` is no test suite), and
# botocore's descriptions of services other than S3 and what its credentials come from (25 MB).
cd "$site"/lib/python3*/site-packages
for package in matplotlib numpy pandas pyarrow scipy sklearn statsmodels; do
  [ ! -d "$package" ] || find "$package" -type d -name tests -prune -exec rm -rf {} +
done
rm -rf pyarrow/include numpy/_core/include
[ ! -d botocore/data ] || find botocore/data -mindepth 1 -maxdepth 1 -type d \
  ! -name s3 ! -name signin ! -name sso ! -name sso-oidc ! -name sts -exec rm -rf {} +
