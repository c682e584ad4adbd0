#!/bin/sh
# Re-resolve every dependency and write one hashed lock per image; all of them agree with requirements/dev.txt.
# The locks name no package index: pip uses whatever index the machine is configured for.
set -eu
cd "$(dirname "$0")/.."
compile="uv pip compile --quiet --generate-hashes --no-header --python-version 3.11"
$compile pyproject.toml --extra dev --output-file requirements/dev.txt "$@"
for image in pipeline predictor monitor dashboard; do
  $compile pyproject.toml --extra "$image" --constraints requirements/dev.txt --output-file "requirements/$image.txt"
done
# what hack/tools.sh installs, each in an environment of its own
for tools in checks go; do
  $compile "requirements/$tools.in" --output-file "requirements/$tools.txt"
done
$compile services/mlflow/requirements.in --constraints requirements/dev.txt --output-file requirements/mlflow.txt
