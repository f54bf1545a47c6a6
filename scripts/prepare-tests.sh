#!/bin/bash
# Installs the S3 clients that the tests drive, where the machine has apt and we are root. What is already there is left alone; what
# cannot be installed is named. The test of a missing client fails unless HOLDFAST_TEST_ABSENT names the client.
set -u

missing=()
need() { # command package
	command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
need aws awscli
need curl curl
need node nodejs
need npm npm
need rclone rclone
need restic restic
need s3cmd s3cmd
python3 -c 'import boto3' >/dev/null 2>&1 || missing+=(python3-boto3)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "prepare-tests: not installed, and neither root nor apt to do it: ${missing[*]}"
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
timeout 120 apt-get update -qq >/dev/null 2>&1
for package in "${missing[@]}"; do
	timeout 300 apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
		echo "prepare-tests: apt-get could not install $package"
done
exit 0
