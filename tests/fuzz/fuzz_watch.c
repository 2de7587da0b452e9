/*
 * Any bytes as a WatchRequest, and any text as a resume token: what is accepted keeps the
 * contract's bounds, and a token that is accepted is the one text of what it says.
 *
 * The first byte: odd, a request; even, a token of (byte / 2) % 16 + 1 partitions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "events/events.h"
#include "events/token.h"
#include "rpc/decode.h"
#include "rpc/rules.h"

#define PARTS_MAX 16

/* libFuzzer calls it, by this name. */
/* NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cg_rpc_decoder decoder;
static bool ready;

static void parse(struct cg_view text, uint32_t count, uint32_t partition)
{
	struct cg_position positions[PARTS_MAX];
	struct cg_error err = {{0}};
	char *again = malloc(cg_token_text_max(PARTS_MAX));

	CG_ASSERT(again != NULL);
	if (cg_token_parse(text, count, partition, positions, &err) != CG_OK) {
		CG_ASSERT(err.text[0] != '\0'); /* A refusal says why. */
	} else if (partition == CG_TOKEN_ALL) {
		size_t len = cg_token_format(count, partition, positions, again);
		CG_ASSERT(len <= text.len && len <= cg_token_text_max(count));
		/* A number may be written longer than it need be; else it is the same text. */
		CG_ASSERT(len < text.len || memcmp(again, text.data, len) == 0);
	}
	free(again);
}

static void read_token(struct cg_view text, uint32_t count)
{
	parse(text, count, CG_TOKEN_ALL);
	parse(text, count, 0);
	parse(text, count, count - 1);
}

/* The bytes as they would stand in a token whose checksum is right. */
static void read_sealed(struct cg_view bytes, uint32_t count)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char sealed[256];
	char text[344];
	size_t len = 0;
	struct cg_buffer out;

	cg_buffer_init(&out, sealed, sizeof sealed);
	cg_buffer_bytes(&out, bytes.data, bytes.len < 250 ? bytes.len : 250);
	cg_buffer_uint(&out, cg_crc32c(out.data, out.len), 4);
	/* The bits from `at` on; those behind the end are zeros. */
	for (size_t at = 0; at < out.len * 8; at += 6) {
		unsigned bits = (unsigned)(uint8_t)out.data[at / 8] << 8;
		bits |= at / 8 + 1 < out.len ? (uint8_t)out.data[at / 8 + 1] : 0;
		text[len++] = digits[bits >> (10 - at % 8) & 63];
	}
	read_token((struct cg_view){text, len}, count);
}

static void read_request(struct cg_view bytes)
{
	struct cg_rpc_fault fault = {.bound = NULL};
	struct cg_watch_in in;

	if (!cg_rpc_decode_watch(&decoder, bytes, &in, &fault)) {
		CG_ASSERT(fault.field[0] != '\0' && fault.bound != NULL);
		return;
	}
	CG_ASSERT(cg_is_resume_token(in.resume_token));
	CG_ASSERT((in.types >> CG_EVENT_TYPE_COUNT) == 0 && (in.types & 1u) == 0);
	if (in.resume_token.len > 0) {
		read_token(in.resume_token, PARTS_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!ready) {
		cg_rpc_decoder_init(&decoder, 1);
		ready = true;
	}
	if (size == 0) {
		return 0;
	}
	struct cg_view rest = {(const char *)data + 1, size - 1};
	if (data[0] % 2 == 1) {
		read_request(rest);
	} else {
		uint32_t count = data[0] / 2 % PARTS_MAX + 1;
		read_token(rest, count);
		read_sealed(rest, count);
	}
	return 0;
}
