#!/bin/sh
# One bucket and one user for each consumer; repeating it changes nothing. `store` is defined by MC_HOST_store.
set -eu

tries=0
until mc ready store >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -ge 60 ]; then
    echo "the object store did not become ready within 5 minutes: look at the logs of StatefulSet minio" >&2
    exit 1
  fi
  sleep 5
done

# consumer BUCKET ACCESS_KEY SECRET_KEY: a user that can do everything in its bucket and nothing elsewhere
consumer() {
  mc mb --ignore-existing "store/$1"
  cat >"/tmp/$1.json" <<POLICY
{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
     "Resource": ["arn:aws:s3:::$1"]},
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload",
     "s3:ListMultipartUploadParts"], "Resource": ["arn:aws:s3:::$1/*"]}
  ]
}
POLICY
  mc admin policy create store "only-$1" "/tmp/$1.json"
  mc admin user add store "$2" "$3"
  # attaching a second time is reported as an error, so look first
  mc admin policy entities store --user "$2" | grep -qw "only-$1" \
    || mc admin policy attach store "only-$1" --user "$2"
}

consumer bikeshare "$BIKESHARE_ACCESS" "$BIKESHARE_SECRET"
consumer mlflow "$MLFLOW_ACCESS" "$MLFLOW_SECRET"
consumer mlpipeline "$PIPELINES_ACCESS" "$PIPELINES_SECRET"
