/* SPDX-License-Identifier: Apache-2.0 */
#include "store/input.h"

#include <stdlib.h>

#define CAPACITY_MIN_BYTES ((size_t)16 << 10)

/* What one large reply needed is given back once it has been read. */
#define CAPACITY_KEEP_BYTES ((size_t)1 << 20)

/* The largest reply and one arrival of the stream. */
#define KEPT_MAX_BYTES (CG_RESP_BULK_MAX_BYTES + (size_t)(1 << 20))

void cg_input_init(struct cg_input *input,
    const char *(*on_reply)(void *owner, const struct cg_resp *reply), void *owner)
{
	*input = (struct cg_input){.on_reply = on_reply, .owner = owner};
}

void cg_input_deinit(struct cg_input *input)
{
	free(input->kept);
}

void cg_input_reset(struct cg_input *input)
{
	input->kept_bytes = 0;
	input->resets++;
}

/*
 * Room grows by what has really arrived, doubled, never by what a reply says of its own
 * length.
 */
static bool make_room(struct cg_input *input, size_t bytes)
{
	size_t capacity = input->capacity == 0 ? CAPACITY_MIN_BYTES : input->capacity;

	while (capacity < bytes) {
		capacity *= 2;
	}
	if (capacity == input->capacity) {
		return true;
	}
	char *kept = bytes <= KEPT_MAX_BYTES ? realloc(input->kept, capacity) : NULL;
	if (kept == NULL) {
		return false;
	}
	input->kept = kept;
	input->capacity = capacity;
	return true;
}

static void give_room_back(struct cg_input *input)
{
	if (input->kept_bytes == 0 && input->capacity > CAPACITY_KEEP_BYTES) {
		free(input->kept);
		input->kept = NULL;
		input->capacity = 0;
	}
}

static bool keep(struct cg_input *input, struct cg_view bytes)
{
	if (bytes.len == 0) {
		return true;
	}
	if (!make_room(input, input->kept_bytes + bytes.len)) {
		return false;
	}
	memcpy(input->kept + input->kept_bytes, bytes.data, bytes.len);
	input->kept_bytes += bytes.len;
	return true;
}

/* Hands out the whole replies at the head of *rest. */
static const char *hand_out(struct cg_input *input, struct cg_view *rest)
{
	uint64_t resets = input->resets;

	for (;;) {
		struct cg_resp reply;
		enum cg_resp_result result = cg_resp_read(*rest, &reply);

		if (result == CG_RESP_BROKEN) {
			return "its answer breaks the protocol";
		}
		if (result == CG_RESP_PART) {
			return NULL;
		}
		const char *why = input->on_reply(input->owner, &reply);
		if (why != NULL) {
			return why;
		}
		if (input->resets != resets) {
			rest->len = 0;
			return NULL;
		}
		rest->data += reply.total_bytes;
		rest->len -= reply.total_bytes;
	}
}

const char *cg_input_take(struct cg_input *input, struct cg_view bytes)
{
	struct cg_view rest = bytes;
	bool pieced = input->kept_bytes > 0;

	if (pieced) {
		if (!keep(input, bytes)) {
			return "its answer is too large";
		}
		rest = (struct cg_view){input->kept, input->kept_bytes};
	}
	const char *why = hand_out(input, &rest);
	if (why != NULL) {
		return why;
	}
	if (pieced) {
		/* Also after a reset: then nothing is left of it. */
		if (rest.len > 0 && rest.data != input->kept) {
			memmove(input->kept, rest.data, rest.len);
		}
		input->kept_bytes = rest.len;
		give_room_back(input);
		return NULL;
	}
	return keep(input, rest) ? NULL : "its answer is too large";
}
