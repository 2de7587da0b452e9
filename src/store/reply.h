/*
 * What an error line of the store means: whether the function may have run, and whether the
 * connection is still of use.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_REPLY_H
#define CG_STORE_REPLY_H

#include "base/base.h"

struct cg_reply_error {
	/*
	 * CG_UNAVAILABLE  the server refused it before the function began, or at its first
	 *                 write, before which nothing had changed
	 * CG_INTERNAL     anything else: it may have happened
	 */
	enum cg_status status;
	/* The server is no longer what it was when it was greeted. */
	bool ends_connection;
};

/* `line` without the "-" before and the "\r\n" behind it. */
struct cg_reply_error cg_reply_classify(struct cg_view line);

#endif /* CG_STORE_REPLY_H */
