/* SPDX-License-Identifier: Apache-2.0 */
#include "store/resp.h"

/* "$", eight digits, "\r". */
#define LENGTH_LINE_MAX_BYTES 10

static enum cg_resp_result read_line(
    struct cg_view bytes, enum cg_resp_kind kind, struct cg_resp *ret_reply)
{
	size_t look = bytes.len < CG_RESP_LINE_MAX_BYTES ? bytes.len : CG_RESP_LINE_MAX_BYTES;
	const char *end = memchr(bytes.data, '\r', look);

	if (end == NULL) {
		return look < CG_RESP_LINE_MAX_BYTES ? CG_RESP_PART : CG_RESP_BROKEN;
	}
	size_t line_bytes = (size_t)(end - bytes.data) + 2;

	if (bytes.len < line_bytes) {
		return CG_RESP_PART;
	}
	if (end[1] != '\n') {
		return CG_RESP_BROKEN;
	}
	ret_reply->kind = kind;
	ret_reply->content = (struct cg_view){bytes.data + 1, line_bytes - 3};
	ret_reply->total_bytes = line_bytes;
	return CG_RESP_WHOLE;
}

static enum cg_resp_result read_bulk(struct cg_view bytes, struct cg_resp *ret_reply)
{
	size_t at = 1;
	size_t len = 0;

	/* "$-1" is not accepted either: no function of ours answers nothing. */
	for (; at < bytes.len && bytes.data[at] != '\r'; at++) {
		unsigned digit = (unsigned)(unsigned char)bytes.data[at] - '0';
		if (digit > 9 || at + 1 >= LENGTH_LINE_MAX_BYTES) {
			return CG_RESP_BROKEN;
		}
		len = len * 10 + digit;
	}
	if (len > CG_RESP_BULK_MAX_BYTES || (at == 1 && at < bytes.len)) {
		return CG_RESP_BROKEN;
	}
	size_t total_bytes = at + 2 + len + 2;

	if (bytes.len < at + 2) {
		return CG_RESP_PART;
	}
	if (bytes.data[at + 1] != '\n') {
		return CG_RESP_BROKEN;
	}
	if (bytes.len < total_bytes) {
		return CG_RESP_PART;
	}
	if (memcmp(bytes.data + total_bytes - 2, "\r\n", 2) != 0) {
		return CG_RESP_BROKEN;
	}
	ret_reply->kind = CG_RESP_BULK;
	ret_reply->content = (struct cg_view){bytes.data + at + 2, len};
	ret_reply->total_bytes = total_bytes;
	return CG_RESP_WHOLE;
}

enum cg_resp_result cg_resp_read(struct cg_view bytes, struct cg_resp *ret_reply)
{
	if (bytes.len == 0) {
		return CG_RESP_PART;
	}
	switch (bytes.data[0]) {
	case '$':
		return read_bulk(bytes, ret_reply);
	case '+':
		return read_line(bytes, CG_RESP_STATUS, ret_reply);
	case '-':
		return read_line(bytes, CG_RESP_ERROR, ret_reply);
	default:
		return CG_RESP_BROKEN;
	}
}
