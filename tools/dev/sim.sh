# shellcheck shell=bash
# The simulation: seeds of it, one with its trace, or the table of its rules.
#
# SPDX-License-Identifier: Apache-2.0

# run_sim [ARG...]: as callgate-simulate takes them; the optimized build, for long runs.
run_sim() {
	install_packages
	build_preset "${CALLGATE_DEV_PRESET:-release}" callgate-simulate
	"build/${CALLGATE_DEV_PRESET:-release}/bin/callgate-simulate" "$@"
}
