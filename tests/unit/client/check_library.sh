#!/bin/sh
# libcallgate as its users find it: nothing but callgate_* exported, every declared function
# there, the headers fit for C99 and C++ without any other library's.
#
#   check_library.sh LIBRARY INCLUDE_DIRECTORY
#
# SPDX-License-Identifier: Apache-2.0
set -eu
library="$1"
include="$2"
directory="$(mktemp -d)"
trap 'rm -rf "$directory"' EXIT

nm -D --defined-only "$library" | awk '{print $3}' | sed 's/@.*//' | sort >"$directory/exported"
if grep -v '^callgate_[a-z]' "$directory/exported"; then
	echo "exported, and not ours to export" >&2
	exit 1
fi

echo '#include <callgate/client.h>' >"$directory/all.c"
cc -std=c99 -E -P -I "$include" "$directory/all.c" | tr '\n' ' ' |
	grep -o 'visibility("default"))) [^(]*(' | sed 's/($//; s/.*[ *]//' | sort >"$directory/declared"
[ "$(wc -l <"$directory/declared")" -ge 40 ]
diff "$directory/declared" "$directory/exported"

for header in client messages; do
	echo "#include <callgate/$header.h>" >"$directory/one.c"
	cc -std=c99 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I "$include" "$directory/one.c"
	if command -v c++ >/dev/null; then
		c++ -x c++ -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I "$include" "$directory/one.c"
	fi
done
