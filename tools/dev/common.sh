# shellcheck shell=bash
# What every part of ./dev uses: words to the user, waiting, building.
#
# SPDX-License-Identifier: Apache-2.0

# Everything but what a command was asked to print goes to stderr.
say() {
	printf '== %s\n' "$*" >&2
}

die() {
	printf 'dev: %s\n' "$*" >&2
	exit 1
}

is_root() {
	[ "$(id -u)" = 0 ]
}

# at_exit COMMAND: run when the script ends, however it does; the last one first.
CG_AT_EXIT=()
at_exit() {
	CG_AT_EXIT=("$1" "${CG_AT_EXIT[@]}")
}
run_at_exit() {
	local step
	for step in "${CG_AT_EXIT[@]}"; do
		eval "$step"
	done
}
trap run_at_exit EXIT

# wait_for SECONDS COMMAND...: until the command succeeds; false when the time is over.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

# quietly COMMAND...: its output is shown only where it fails.
quietly() {
	local log status=0
	log="$(mktemp "${TMPDIR:-/tmp}/callgate-dev.XXXXXX")"
	"$@" >"$log" 2>&1 || status=$?
	[ "$status" = 0 ] || cat "$log" >&2
	rm -f "$log"
	return "$status"
}

# within SECONDS COMMAND...: ended when the time is over.  It stays in the caller's process group
# (a timeout makes one of its own otherwise), so that whoever ends the group ends this too.
within() {
	timeout --foreground --kill-after=10 "$@"
}

# build_preset PRESET [TARGET...]: configured once, then whatever is out of date.
build_preset() {
	local preset="$1"
	shift
	local directory="build/$preset"
	if [ ! -f "$directory/build.ninja" ]; then
		say "configure $directory"
		quietly cmake --preset "$preset" || die "cmake --preset $preset failed"
	fi
	say "build $directory"
	quietly cmake --build "$directory" ${1:+--target "$@"} -- --quiet || die "building $directory failed"
}

# Of the fuzz preset its targets and what they need.
build_fuzz() {
	local targets
	mapfile -t targets < <(basename -s .c tests/fuzz/fuzz_*.c)
	build_preset fuzz "${targets[@]}"
}
