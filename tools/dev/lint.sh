# shellcheck shell=bash
# Formatting and static checks.  Each tool is first shown something bad and has to complain:
# a check that cannot fail says nothing.
#
# SPDX-License-Identifier: Apache-2.0

# c_files PATTERN...: ours, committed or not; generated ones are in build/ and ignored.
c_files() {
	git ls-files -z --cached --others --exclude-standard -- "$@" |
		while IFS= read -r -d '' file; do
			[ ! -f "$file" ] || printf '%s\0' "$file"
		done
}

shell_files() {
	printf '%s\0' dev .ci/run
	c_files '*.sh' 'bench/run'
}

# not COMMAND...: fails where the command succeeds.
not() {
	! "$@"
}

# has_files COMMAND...: at least a handful of files, or the check is not looking.
has_files() {
	local files
	mapfile -d '' files < <("$@")
	[ ${#files[@]} -ge 5 ] || {
		echo "only ${#files[@]} files from: $*"
		return 1
	}
}

format_complains() {
	printf 'int  main( ){return 0;}\n' |
		clang-format-14 --dry-run -Werror --style=file --assume-filename="$CG_ROOT/src/base/bad.c"
}

format_is_clean() {
	has_files c_files '*.c' '*.h' || return 1
	c_files '*.c' '*.h' | xargs -0 clang-format-14 --dry-run -Werror --style=file
}

tidy_complains() {
	local bad="build/lint/bad.c"
	printf 'int Bad(int a);\nint Bad(int a)\n{\n\tif (a)\n\t\treturn 1;\n\treturn 0;\n}\n' >"$bad"
	clang-tidy-14 --quiet --config-file=.clang-tidy "$bad" -- -std=c11
}

# Each file with the command line of the build that compiles it.  CG_TIDY=shipped: what is under
# src/ alone, and the analyzer explores fewer paths of a function (30 000 nodes, not 225 000): a
# third of what src/ takes otherwise.
tidy_is_clean() {
	local build status=0 fewer=(-Xclang -analyzer-config -Xclang max-nodes=30000)
	for build in dev-werror fuzz; do
		has_files compiled_by "$build" || return 1
	done
	if [ "${CG_TIDY-all}" = shipped ]; then
		compiled_by dev-werror | grep -z '^src/' | tidy build/dev-werror "${fewer[@]/#/--extra-arg=}"
		return
	fi
	compiled_by dev-werror | tidy build/dev-werror || status=1
	compiled_by fuzz | grep -z '^tests/fuzz/' | tidy build/fuzz || status=1
	return "$status"
}

# tidy BUILD [OPTION...] <FILES
tidy() {
	local build="$1"
	shift
	xargs -0 -n 1 -P "$(nproc)" timeout --foreground 300 clang-tidy-14 --quiet -p "$build" "$@" 2>&1 | without_noise
	return "${PIPESTATUS[0]}"
}

without_noise() {
	grep -Ev '^[0-9]+ warnings? generated|^Suppressed|^Use -header-filter' || true
}

compiled_by() {
	local file
	while IFS= read -r -d '' file; do
		if grep -qF "\"file\": \"$CG_ROOT/$file\"" "build/$1/compile_commands.json"; then
			printf '%s\0' "$file"
		fi
	done < <(c_files 'src/*.c' 'bench/*.c' 'tests/*.c')
}

# A source that no build compiles is one that nothing judges.
everything_is_compiled() {
	comm -z -23 <(c_files 'src/*.c' 'bench/*.c' 'tests/*.c' | sort -z) \
		<({ compiled_by dev-werror && compiled_by fuzz; } | sort -zu) | tr '\0' '\n' >build/lint/left_out
	cat build/lint/left_out
	[ ! -s build/lint/left_out ]
}

shellcheck_complains() {
	# shellcheck disable=SC2016 # it is the bad example
	printf '#!/bin/bash\ncd $1\n' | shellcheck -
}

shellcheck_is_clean() {
	shell_files | xargs -0 shellcheck -x
}

# Every package that ./dev installs has its reason in the README.
packages_are_explained() {
	local package status=0
	while read -r package; do
		case "$package" in
		'' | '#'*) continue ;;
		esac
		grep -qF "\`$package\`" README.md || {
			echo "README.md does not say what $package is for"
			status=1
		}
	done <tools/dev/packages.txt
	return "$status"
}

# lint_check NAME COMMAND...: one line of outcome, the output only where it failed.
CG_LINT_FAILED=0
lint_check() {
	local name="$1"
	shift
	if quietly "$@"; then
		say "ok: $name"
		! declare -F record >/dev/null || record pass lint "$name"
	else
		say "FAILED: $name"
		CG_LINT_FAILED=$((CG_LINT_FAILED + 1))
		! declare -F record >/dev/null || record fail lint "$name"
	fi
}

run_lint() {
	mkdir -p build/lint
	build_preset dev-werror
	build_fuzz
	lint_check "clang-format can fail" not format_complains
	lint_check "clang-format" format_is_clean
	lint_check "every source is compiled" everything_is_compiled
	lint_check "clang-tidy can fail" not tidy_complains
	lint_check "clang-tidy" tidy_is_clean
	lint_check "shellcheck can fail" not shellcheck_complains
	lint_check "shellcheck" shellcheck_is_clean
	lint_check "packages are explained" packages_are_explained
	[ "$CG_LINT_FAILED" = 0 ]
}

format_sources() {
	c_files '*.c' '*.h' | xargs -0 clang-format-14 -i --style=file
}
