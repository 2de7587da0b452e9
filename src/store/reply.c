/* SPDX-License-Identifier: Apache-2.0 */
#include "store/reply.h"

struct refusal {
	struct cg_view begins_with;
	bool ends_connection;
};

#define REFUSAL(text, ends)                                                                        \
	{                                                                                          \
		{(text), sizeof(text) - 1}, (ends)                                                 \
	}

/* The server's own refusals: none of them comes after a write of one of our functions. */
static const struct refusal refusals[] = {
    REFUSAL("LOADING", true),    /* restarted: its library's marks are gone */
    REFUSAL("MASTERDOWN", true), /* a replica now */
    REFUSAL("READONLY", true),   /* a replica now */
    REFUSAL("NOAUTH", true),
    REFUSAL("WRONGPASS", true),
    REFUSAL("ERR Function not found", true), /* greeting loads it again */
    REFUSAL("ERR max number of clients reached", true),
    REFUSAL("MISCONF", false),
    REFUSAL("OOM", false),
    REFUSAL("NOREPLICAS", false),
    REFUSAL("BUSY", false),
    REFUSAL("CLUSTERDOWN", false),
    REFUSAL("MOVED", false),
    REFUSAL("ASK", false),
    REFUSAL("TRYAGAIN", false),
    REFUSAL("NOPERM", false),
};

static bool begins_with(struct cg_view line, struct cg_view word)
{
	if (line.len < word.len || memcmp(line.data, word.data, word.len) != 0) {
		return false;
	}
	return line.len == word.len || line.data[word.len] == ' ';
}

/* An error of a function's own calls says so at its end: what it had written before is written. */
static bool is_from_within(struct cg_view line)
{
	static const char words[] = " script: ";
	const size_t len = sizeof words - 1;

	for (size_t at = 0; at + len <= line.len; at++) {
		if (memcmp(line.data + at, words, len) == 0) {
			return true;
		}
	}
	return false;
}

struct cg_reply_error cg_reply_classify(struct cg_view line)
{
	if (is_from_within(line)) {
		return (struct cg_reply_error){CG_INTERNAL, false};
	}
	for (size_t i = 0; i < CG_COUNT_OF(refusals); i++) {
		if (begins_with(line, refusals[i].begins_with)) {
			return (struct cg_reply_error){CG_UNAVAILABLE, refusals[i].ends_connection};
		}
	}
	return (struct cg_reply_error){CG_INTERNAL, false};
}
