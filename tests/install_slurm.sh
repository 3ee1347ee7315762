#!/usr/bin/env bash
# Install what the tests on a SLURM cluster and in a browser need, and start none of it.
set -euo pipefail

refuse() {
    echo "make test-full: $1; \`make test\` runs all tests but those on a SLURM cluster" >&2
    exit 2
}

[[ $EUID == 0 ]] || refuse "only root can install and start SLURM"
[[ -e /etc/debian_version ]] || refuse "it installs Debian's packages, which this system has not"
for file in /etc/slurm/{slurm,gres,slurmdbd}.conf; do
    [[ ! -e $file ]] || head -n 1 "$file" | grep -q "tests of collapse-atlas" ||
        refuse "$file belongs to another cluster"
done

packages=(munge slurm-wlm slurmdbd mariadb-server chromium)
! dpkg --status "${packages[@]}" &>/dev/null || exit 0
# What a package's installation asks before it starts a daemon; a system's own answer stays.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends "${packages[@]}"
