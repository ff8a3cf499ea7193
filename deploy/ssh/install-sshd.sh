#!/bin/sh
# Runs by ssh are tested with a server of their own. Without root or apt the test skips, and says why.
[ -x /usr/sbin/sshd ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends openssh-server openssh-client) >/dev/null 2>&1 ||
    echo "openssh-server could not be installed; the tests of ssh will skip"
else
  echo "openssh-server is not installed; the tests of ssh will skip"
fi
exit 0
