# shellcheck shell=bash
# Debian packages: what is missing is installed, and no system service is started by it.
#
# SPDX-License-Identifier: Apache-2.0

missing_packages() {
	local package
	while read -r package; do
		case "$package" in
		'' | '#'*) continue ;;
		esac
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			printf '%s\n' "$package"
	done <"$CG_ROOT/tools/dev/packages.txt"
}

# As root, or through sudo: only for installing.
as_root() {
	if is_root; then
		"$@"
	else
		command -v sudo >/dev/null || die "not root and no sudo; install these: ${missing[*]}"
		sudo "$@"
	fi
}

remove_our_policy() {
	[ -n "${CG_POLICY_IS_OURS-}" ] || return 0
	as_root rm -f /usr/sbin/policy-rc.d
	CG_POLICY_IS_OURS=
}

# Packages of servers start them when installed.  This file is Debian's own way to say no;
# one that stands there already is somebody else's decision and stays.
install_packages() {
	local missing
	mapfile -t missing < <(missing_packages)
	[ ${#missing[@]} -gt 0 ] || return 0
	say "install ${missing[*]}"
	local policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		CG_POLICY_IS_OURS=1
		at_exit 'remove_our_policy'
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	local status=0
	{
		as_root apt-get -q update &&
			as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}"
	} >&2 </dev/null || status=$?
	remove_our_policy
	[ "$status" = 0 ] || die "apt-get failed ($status)"
	mapfile -t missing < <(missing_packages)
	[ ${#missing[@]} = 0 ] || die "still missing: ${missing[*]}"
}
