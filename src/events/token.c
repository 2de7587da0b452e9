/* SPDX-License-Identifier: Apache-2.0 */
#include "events/token.h"

#include <stdlib.h>

#define VERSION         1u
#define POSITION_MAX    40 /* four numbers of 64 bit */
#define NO_RECORD_YET   ((UINT64_C(1) << 53) - 1)
#define HEAD_MAX        11 /* the version, and two numbers of 32 bit */
#define CHECKSUM_BYTES  4
#define TEXT_OF(bytes)  (((bytes)*4 + 2) / 3)
#define BYTES_OF(chars) ((chars)*3 / 4)

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t cg_token_text_max(uint32_t partition_count)
{
	size_t bytes = HEAD_MAX + (size_t)partition_count * POSITION_MAX + CHECKSUM_BYTES;

	return TEXT_OF(bytes);
}

/* Seven bits per byte, the low ones first; the high bit says that another byte follows. */
static void put_number(struct cg_buffer *bytes, uint64_t number)
{
	while (number >= 0x80) {
		cg_buffer_uint(bytes, (number & 0x7F) | 0x80, 1);
		number >>= 7;
	}
	cg_buffer_uint(bytes, number, 1);
}

static uint64_t take_number(struct cg_cursor *cursor)
{
	uint64_t number = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint64_t byte = cg_cursor_uint(cursor, 1);
		if (shift == 63 && byte > 1) {
			break;
		}
		number |= (byte & 0x7F) << shift;
		if ((byte & 0x80) == 0) {
			return number;
		}
	}
	cursor->overrun = true;
	return 0;
}

/*
 * A stream that has had nothing yet is read up to NO_RECORD_YET, which so becomes the shortest
 * number of all: the token of thousands of idle partitions must fit into a request.
 */
static uint64_t shortened(uint64_t n)
{
	return n <= NO_RECORD_YET ? (n + 1) & NO_RECORD_YET : n;
}

static uint64_t restored(uint64_t n)
{
	return n <= NO_RECORD_YET ? (n - 1) & NO_RECORD_YET : n;
}

static size_t encode(struct cg_view bytes, char *text)
{
	size_t len = 0;
	uint32_t bits = 0;
	unsigned bit_count = 0;

	for (size_t i = 0; i < bytes.len; i++) {
		bits = (bits << 8 | (uint8_t)bytes.data[i]) & 0xFFFF;
		bit_count += 8;
		while (bit_count >= 6) {
			bit_count -= 6;
			text[len++] = digits[bits >> bit_count & 63];
		}
	}
	if (bit_count > 0) {
		text[len++] = digits[bits << (6 - bit_count) & 63];
	}
	return len;
}

static int digit_of(char c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

static bool decode(struct cg_view text, struct cg_buffer *bytes)
{
	uint32_t bits = 0;
	unsigned bit_count = 0;

	for (size_t i = 0; i < text.len; i++) {
		int digit = digit_of(text.data[i]);
		if (digit < 0) {
			return false;
		}
		bits = (bits << 6 | (uint32_t)digit) & 0xFFFF;
		bit_count += 6;
		if (bit_count >= 8) {
			bit_count -= 8;
			cg_buffer_uint(bytes, bits >> bit_count & 0xFF, 1);
		}
	}
	/* What is left over are less than six zeros: one text per token. */
	return bit_count < 6 && (bits & ((1u << bit_count) - 1)) == 0 && !bytes->overflow;
}

size_t cg_token_format(
    uint32_t partition_count, uint32_t partition, const struct cg_position *positions, char *text)
{
	uint32_t count = partition == CG_TOKEN_ALL ? partition_count : 1;
	size_t text_max = cg_token_text_max(partition_count);
	struct cg_buffer bytes;

	/* The bytes are made at the end of the room for the text, which never overtakes them. */
	size_t bytes_max = BYTES_OF(text_max);
	cg_buffer_init(&bytes, text + (text_max - bytes_max), bytes_max);
	cg_buffer_uint(&bytes, VERSION, 1);
	put_number(&bytes, partition_count);
	put_number(&bytes, partition == CG_TOKEN_ALL ? 0 : (uint64_t)partition + 1);
	for (uint32_t i = 0; i < count; i++) {
		put_number(&bytes, positions[i].event.epoch);
		put_number(&bytes, shortened(positions[i].event.n));
		put_number(&bytes, positions[i].entry.epoch);
		put_number(&bytes, shortened(positions[i].entry.n));
	}
	cg_buffer_uint(&bytes, cg_crc32c(bytes.data, bytes.len), CHECKSUM_BYTES);
	CG_ASSERT(!bytes.overflow);
	return encode(cg_buffer_view(&bytes), text);
}

static enum cg_status refuse(struct cg_error *err, const char *why)
{
	cg_error_set(err, "resume_token: %s", why);
	return CG_INVALID;
}

static struct cg_position take_position(struct cg_cursor *cursor)
{
	struct cg_position position;

	position.event.epoch = take_number(cursor);
	position.event.n = restored(take_number(cursor));
	position.entry.epoch = take_number(cursor);
	position.entry.n = restored(take_number(cursor));
	return position;
}

/* Of the bytes between version and checksum, which are as somebody wrote them. */
static enum cg_status read_body(struct cg_cursor *cursor, uint32_t partition_count,
    uint32_t partition, struct cg_position *positions, struct cg_error *err)
{
	if (take_number(cursor) != partition_count) {
		return refuse(err, "is of a deployment with another number of partitions");
	}
	uint64_t whose = take_number(cursor);
	if (whose > partition_count) {
		return refuse(err, "is damaged");
	}
	if (whose != 0 && partition == CG_TOKEN_ALL) {
		return refuse(err, "is of one company, and cannot resume a watch of all");
	}
	if (whose != 0 && whose != (uint64_t)partition + 1) {
		return refuse(err, "is of another company");
	}
	for (uint32_t i = 0; i < (whose == 0 ? partition_count : 1); i++) {
		struct cg_position position = take_position(cursor);
		if (partition == CG_TOKEN_ALL) {
			positions[i] = position;
		} else if (whose != 0 || i == partition) {
			positions[0] = position;
		}
	}
	if (cursor->overrun || cursor->left != 0) {
		return refuse(err, "is damaged");
	}
	return CG_OK;
}

static enum cg_status read_bytes(struct cg_view bytes, uint32_t partition_count, uint32_t partition,
    struct cg_position *positions, struct cg_error *err)
{
	struct cg_cursor cursor;

	if (bytes.len < 1 + CHECKSUM_BYTES) {
		return refuse(err, "is no resume token");
	}
	bytes.len -= CHECKSUM_BYTES;
	cg_cursor_init(&cursor, (struct cg_view){bytes.data + bytes.len, CHECKSUM_BYTES});
	if (cg_cursor_uint(&cursor, CHECKSUM_BYTES) != cg_crc32c(bytes.data, bytes.len)) {
		return refuse(err, "is damaged, or no resume token");
	}
	cg_cursor_init(&cursor, bytes);
	if (cg_cursor_uint(&cursor, 1) != VERSION) {
		return refuse(err, "is of another version");
	}
	return read_body(&cursor, partition_count, partition, positions, err);
}

enum cg_status cg_token_parse(struct cg_view text, uint32_t partition_count, uint32_t partition,
    struct cg_position *positions, struct cg_error *err)
{
	struct cg_buffer bytes;

	CG_ASSERT(partition == CG_TOKEN_ALL || partition < partition_count);
	if (text.len == 0 || text.len > cg_token_text_max(partition_count)) {
		return refuse(err, "is longer than any resume token");
	}
	char *memory = malloc(text.len);
	if (memory == NULL) {
		return refuse(err, "cannot be read now");
	}
	cg_buffer_init(&bytes, memory, text.len);
	enum cg_status status = decode(text, &bytes)
	    ? read_bytes(cg_buffer_view(&bytes), partition_count, partition, positions, err)
	    : refuse(err, "is no resume token");
	free(memory);
	return status;
}
