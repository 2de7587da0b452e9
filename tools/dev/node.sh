# shellcheck shell=bash
# Node and its official gRPC client, for the tests of the README's example: pinned by tests/node,
# installed beside the builds.
#
# SPDX-License-Identifier: Apache-2.0

install_node_client() {
	local at=build/node
	local -a missing=()
	command -v node >/dev/null || missing+=(nodejs)
	command -v npm >/dev/null || missing+=(npm)
	if [ ${#missing[@]} -gt 0 ]; then
		say "install ${missing[*]}"
		{
			as_root apt-get -q update &&
				as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}"
		} >&2 </dev/null || die "apt-get failed"
	fi
	cmp -s tests/node/package-lock.json "$at/installed.json" && return 0
	say "install Node's gRPC client"
	mkdir -p "$at"
	cp tests/node/package.json tests/node/package-lock.json "$at/"
	# What the packages would run when installed is not needed.
	(cd "$at" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2 </dev/null ||
		die "npm ci failed"
	cp tests/node/package-lock.json "$at/installed.json"
}
