/*
 * The replies of a store that is being talked to in functions: one bulk string each, or an
 * error line.  Read in place, without a copy.  (Greetings are richer, and hiredis reads them.)
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_STORE_RESP_H
#define CG_STORE_RESP_H

#include "base/base.h"

/* An error or status line longer than this is not one. */
#define CG_RESP_LINE_MAX_BYTES 1024

/* The largest bulk string: a thousand calls with the longest meta are a tenth of it. */
#define CG_RESP_BULK_MAX_BYTES (64u << 20)

enum cg_resp_kind {
	CG_RESP_BULK,   /* "$<length>\r\n<content>\r\n" */
	CG_RESP_STATUS, /* "+<content>\r\n" */
	CG_RESP_ERROR,  /* "-<content>\r\n" */
};

struct cg_resp {
	enum cg_resp_kind kind;
	struct cg_view content; /* points into the bytes read */
	size_t total_bytes;     /* of the whole reply, framing included */
};

enum cg_resp_result {
	CG_RESP_WHOLE,  /* *ret_reply is filled in */
	CG_RESP_PART,   /* more bytes are needed; *ret_reply is untouched */
	CG_RESP_BROKEN, /* no further bytes can make it a reply that a function gives */
};

enum cg_resp_result cg_resp_read(struct cg_view bytes, struct cg_resp *ret_reply);

#endif /* CG_STORE_RESP_H */
