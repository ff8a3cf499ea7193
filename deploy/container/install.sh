#!/bin/sh
# What both containers do in the same base: fibdask with the versions that were tested together.
#
#   install.sh SOURCE    a checkout of fibdask
set -eu
cd "$1"
python -m pip install --no-cache-dir --only-binary :all: -c constraints.txt "setuptools>=77" wheel
python -m pip install --no-cache-dir --prefer-binary --no-build-isolation -c constraints.txt \
  ".[all]"
fibdask --version
