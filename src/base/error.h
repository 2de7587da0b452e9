/*
 * A message for people, on cold paths (start, connect, configuration), built from the
 * outside in: "ledger: connect to 10.0.0.5:5432: timed out after 2000 ms".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_ERROR_H
#define CG_BASE_ERROR_H

struct cg_error {
	char text[256];
};

/* Replaces the message; too long a message is cut. */
__attribute__((format(printf, 2, 3))) void cg_error_set(
    struct cg_error *err, const char *format, ...);

/* Puts `outer: ` before what is there. */
void cg_error_wrap(struct cg_error *err, const char *outer);

#endif /* CG_BASE_ERROR_H */
