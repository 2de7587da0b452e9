/*
 * The flags of the benches' commands, beside getopt_long().  Whatever is refused is told on
 * the standard error, and the command exits with 2.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BENCH_FLAGS_H
#define CG_BENCH_FLAGS_H

#include <stdint.h>

/* Who is speaking; each command defines its own. */
extern const char cg_flags_program[];

/* "--<flag>: must be <bound>". */
_Noreturn void cg_flags_refuse(const char *flag, const char *bound);

/* A flag that there is not; getopt_long() has said which. */
_Noreturn void cg_flags_refuse_unknown(void);

/* Nothing may stand behind the flags. */
void cg_flags_refuse_rest(int argc, char **argv);

/* What stands in `optarg`: least..most, both included. */
int64_t cg_flags_integer(const char *flag, int64_t least, int64_t most);

/* What stands in `optarg`: above 0, at most `most`. */
double cg_flags_decimal(const char *flag, double most);

#endif /* CG_BENCH_FLAGS_H */
