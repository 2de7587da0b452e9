# shellcheck shell=bash
# Every layer of tests.  Each one records its tests; the last line is their sum.
#
# SPDX-License-Identifier: Apache-2.0

CG_RESULTS=

# After the builds, the unit tests and the hostile clients, which need both the processors and the
# clock, layers run in lanes side by side.  Most of them wait: for servers, clocks and sockets.  Those
# that compute come last in their lane, and give way to the others, whose tests look at the time.
CG_LANES=(
	"integration rooms sim fuzz"
	"fault cli edge"
	"recovery ledger rpc"
	"lint model"
)
CG_COMPUTING=" lint model sim fuzz "

# In the order of the summary.
CG_LAYERS=(build rooms unit unit-release hostile model ledger rpc cli edge integration recovery fault sim fuzz lint)

# record pass|fail LAYER NAME
record() {
	printf '%s\t%s\t%s\n' "$@" >>"$CG_RESULTS/all"
}

# layer NAME COMMAND...: a layer whose command failed, or that recorded nothing, failed.  What it
# says is shown when it has ended, in one piece.
layer() {
	local name="$1" began=$SECONDS status=0
	shift
	"$@" >"$CG_RESULTS/$name.said" 2>&1 || status=$?
	local passed failed
	passed="$(count_of pass "$name")"
	failed="$(count_of fail "$name")"
	if [ "$failed" = 0 ] && [ "$status" != 0 ]; then
		record fail "$name" "the layer itself ended with $status"
		failed=1
	elif [ "$((passed + failed))" = 0 ]; then
		record fail "$name" "no test ran"
		failed=1
	fi
	printf '%-24s %5d passed, %d failed, %d s\n' "$name" "$passed" "$failed" \
		"$((SECONDS - began))" >"$CG_RESULTS/$name.sum"
	{
		flock 9
		say "layer $name"
		cat "$CG_RESULTS/$name.said" "$CG_RESULTS/$name.sum"
	} 9>"$CG_RESULTS/lock"
}

# lane LAYER...: one after the other.
lane() {
	local name is_nice=''
	for name in "$@"; do
		if [ -z "$is_nice" ] && [[ "$CG_COMPUTING" == *" $name "* ]]; then
			renice -n $(($(nice) + 10)) -p "$BASHPID" >/dev/null
			is_nice=1
		fi
		layer "$name" run_layer "$name"
	done
}

run_layer() {
	case "$1" in
	build) layer_build ;;
	unit) layer_ctest dev-werror unit ;;
	unit-release) layer_ctest release-werror unit-release ;;
	sim) layer_sim "$CG_SIM_SEEDS" ;;
	fuzz) layer_fuzz "$CG_FUZZ_SECONDS" ;;
	lint) CG_TIDY="$([ "$CALLGATE_TEST_LONG" ] && echo all || echo shipped)" run_lint ;;
	*) layer_pytest "$1" "tests/$1" ;;
	esac
}

# Each lane has a process group of its own, so that it can be ended as a whole: whoever ends this
# script leaves nothing behind.
start_lane() {
	set -m
	lane "$@" </dev/null &
	set +m
	at_exit "if kill -0 -- -$! 2>/dev/null; then kill -- -$!; fi"
}

run_lanes() {
	local name of layers
	for of in "${CG_LANES[@]}"; do
		read -ra layers <<<"$of"
		start_lane "${layers[@]}"
	done
	wait
	for name in "${CG_LAYERS[@]}"; do
		[ -f "$CG_RESULTS/$name.sum" ] || record fail "$name" "it did not run to its end"
	done
}

count_of() {
	awk -F '\t' -v outcome="$1" -v layer="$2" \
		'$1 == outcome && (layer == "" || $2 == layer) { n++ } END { print n + 0 }' "$CG_RESULTS/all"
}

# The builds, one test each.
layer_build() {
	build_one dev-werror build_preset dev-werror
	build_one release-werror build_preset release-werror
	build_one fuzz build_fuzz
}

# build_one NAME COMMAND...
build_one() {
	local name="$1"
	shift
	if ("$@"); then
		record pass build "$name"
	else
		record fail build "$name"
	fi
}

layer_ctest() {
	local preset="$1" name="$2" xml="$CG_RESULTS/$2.xml" status=0
	within 600 ctest --test-dir "build/$preset" -R '^unit/' -j "$(nproc)" --timeout 120 --output-on-failure \
		--no-tests=error --test-output-size-passed 1000000 --test-output-size-failed 1000000 \
		--output-junit "$xml" >"$CG_RESULTS/$name.log" 2>&1 || status=$?
	[ "$status" = 0 ] || cat "$CG_RESULTS/$name.log"
	/usr/bin/python3 tools/dev/count.py "$name" "$xml" >>"$CG_RESULTS/all" || status=1
	return "$status"
}

# layer_pytest NAME FOLDER [ARG...]
layer_pytest() {
	local name="$1" folder="$2" xml="$CG_RESULTS/${1//\//-}.xml" status=0
	shift 2
	within 1500 /usr/bin/python3 -B -m pytest -q -p no:cacheprovider -o junit_family=xunit1 \
		-o faulthandler_timeout=240 --junitxml "$xml" "$folder" "$@" || status=$?
	[ -f "$xml" ] || return 1
	/usr/bin/python3 tools/dev/count.py "$name" "$xml" >>"$CG_RESULTS/all" || status=1
	return "$status"
}

# Each target for a bounded time, from its corpus; what it finds new stays out of the tree.
layer_fuzz() {
	local seconds="$1" target name
	for target in build/fuzz/bin/fuzz_*; do
		[ -x "$target" ] || continue
		name="${target##*/}"
		local corpus="tests/fuzz/corpus/${name#fuzz_}"
		if [ -d "$corpus" ] && fuzz_one "$target" "$corpus" "$seconds"; then
			record pass fuzz "$name"
		else
			record fail fuzz "$name"
		fi
	done
}

fuzz_one() {
	local found="$CG_RESULTS/found-${1##*/}"
	mkdir -p "$found" build/fuzz/artifacts
	quietly within "$(($3 + 60))" "$1" -max_total_time="$3" -timeout=10 -rss_limit_mb=2048 \
		-print_final_stats=1 -artifact_prefix="build/fuzz/artifacts/${1##*/}-" "$found" "$2"
}

# The simulation: seeds, some of them under the sanitizers (twenty times as slow), those that once found something, and every rule
# taken away, each of which must be missed: that table is shown.
layer_sim() {
	local seeds="$1" fast="$CALLGATE_RELEASE_BUILD/bin/callgate-simulate"
	sim_one seeds quietly within 900 "$fast" --seeds "$seeds"
	sim_one sanitized quietly within 900 "$CG_BIN/callgate-simulate" --seeds 40 --from 1000000
	sim_one recorded quietly within 900 "$CG_BIN/callgate-simulate" --recorded tests/sim/seeds.txt
	sim_one table within 900 "$fast" --table --seeds 100 --enough 1
}

# sim_one NAME COMMAND...
sim_one() {
	local name="$1"
	shift
	if "$@"; then
		record pass sim "$name"
	else
		record fail sim "$name"
	fi
}

run_tests() {
	local long='' CG_FUZZ_SECONDS=12 CG_SIM_SEEDS=200
	case "${1-}" in
	'') ;;
	--long) long=1 CG_FUZZ_SECONDS=90 CG_SIM_SEEDS=2000 ;;
	*) die "test takes --long or nothing" ;;
	esac
	install_packages
	install_node_client
	CG_RESULTS="$(mktemp -d "${TMPDIR:-/tmp}/callgate-test.XXXXXX")"
	at_exit "rm -rf '$CG_RESULTS'"
	: >"$CG_RESULTS/all"
	# A stack that the shell was set up for is not what is tested.
	unset "${!CALLGATE_@}"
	export ASAN_OPTIONS="${ASAN_OPTIONS-detect_leaks=1:abort_on_error=1}"
	export UBSAN_OPTIONS="${UBSAN_OPTIONS-print_stacktrace=1:halt_on_error=1}"
	export CALLGATE_TEST_BUILD="$CG_ROOT/build/dev-werror"
	export CALLGATE_RELEASE_BUILD="$CG_ROOT/build/release-werror"
	export CALLGATE_TEST_LONG="$long" CG_BIN="$CALLGATE_TEST_BUILD/bin"

	start_lane build
	wait
	if [ -x "$CG_BIN/callgated" ] && [ -x "$CALLGATE_RELEASE_BUILD/bin/callgated" ]; then
		start_lane unit unit-release hostile
		wait
		run_lanes
	fi
	finish
}

# The last line, alone, is what CI reads.
finish() {
	local passed failed name
	passed="$(count_of pass '')"
	failed="$(count_of fail '')"
	if [ "$failed" != 0 ]; then
		printf '\nfailed:\n'
		awk -F '\t' '$1 == "fail" { print "  " $2 ": " $3 }' "$CG_RESULTS/all"
	fi
	printf '\n'
	for name in "${CG_LAYERS[@]}"; do
		[ ! -f "$CG_RESULTS/$name.sum" ] || cat "$CG_RESULTS/$name.sum"
	done
	printf '%d passed, %d failed\n' "$passed" "$failed"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
