#!/bin/sh
# The report is tested in a real browser. Without root or apt the test skips and says why.
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium) >/dev/null 2>&1 ||
    echo "chromium could not be installed; the browser test will skip"
else
  echo "chromium is not installed; the browser test will skip"
fi
exit 0
