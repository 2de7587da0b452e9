/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/auth/auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <strings.h>

#define DIGEST_BYTES 32
/* From here on a number is in milliseconds: as seconds it would be the year 5138. */
#define MILLISECONDS_FROM INT64_C(100000000000)

static const char *const names[] = {
    [CG_AUTH_GOOD] = "good",
    [CG_AUTH_MISSING] = "missing",
    [CG_AUTH_WRONG] = "wrong",
    [CG_AUTH_STALE] = "stale",
};

const char *cg_auth_outcome_name(enum cg_auth_outcome outcome)
{
	return names[outcome];
}

bool cg_auth_mode_of(const char *name, enum cg_auth_mode *ret_mode)
{
	static const char *const modes[] = {
	    [CG_AUTH_HMAC] = "hmac", [CG_AUTH_BEARER] = "bearer", [CG_AUTH_SECRET] = "secret"};

	for (size_t i = 0; i < CG_COUNT_OF(modes); i++) {
		if (strcmp(name, modes[i]) == 0) {
			*ret_mode = (enum cg_auth_mode)i;
			return true;
		}
	}
	return false;
}

/* The digests of both are compared: neither content nor length is told by the time it takes. */
static bool is_same(const char *said, const char *secret)
{
	unsigned char a[DIGEST_BYTES];
	unsigned char b[DIGEST_BYTES];
	unsigned len = 0;

	if (EVP_Digest(said, strlen(said), a, &len, EVP_sha256(), NULL) != 1 ||
	    EVP_Digest(secret, strlen(secret), b, &len, EVP_sha256(), NULL) != 1) {
		return false;
	}
	return CRYPTO_memcmp(a, b, DIGEST_BYTES) == 0;
}

bool cg_auth_is_bearer(const char *said, const char *secret)
{
	static const char prefix[] = "Bearer ";

	return said != NULL && strncasecmp(said, prefix, sizeof prefix - 1) == 0 &&
	    is_same(said + sizeof prefix - 1, secret);
}

static bool sign(const char *secret, const char *timestamp, struct cg_view body,
    unsigned char digest[DIGEST_BYTES])
{
	unsigned len = 0;
	HMAC_CTX *context = NULL;
	bool ok = false;

	/* OpenSSL 3 calls these old; their successors allocate by name, per signature. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	context = HMAC_CTX_new();
	ok = context != NULL &&
	    HMAC_Init_ex(context, secret, (int)strlen(secret), EVP_sha256(), NULL) == 1;
	if (timestamp != NULL) {
		ok = ok &&
		    HMAC_Update(context, (const unsigned char *)timestamp, strlen(timestamp)) ==
		        1 &&
		    HMAC_Update(context, (const unsigned char *)".", 1) == 1;
	}
	ok = ok &&
	    (body.len == 0 ||
	        HMAC_Update(context, (const unsigned char *)body.data, body.len) == 1) &&
	    HMAC_Final(context, digest, &len) == 1 && len == DIGEST_BYTES;
	HMAC_CTX_free(context);
#pragma GCC diagnostic pop
	return ok;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, unsigned char digest[DIGEST_BYTES])
{
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		int high = nibble(text[2 * i]);
		int low = high < 0 ? -1 : nibble(text[2 * i + 1]);
		if (low < 0) {
			return false;
		}
		digest[i] = (unsigned char)(high << 4 | low);
	}
	return text[2 * (size_t)DIGEST_BYTES] == '\0';
}

/* 44 characters, of which the last is '='. */
static bool read_base64(const char *text, unsigned char digest[DIGEST_BYTES])
{
	unsigned char bytes[36];

	if (strlen(text) != 44 ||
	    EVP_DecodeBlock(bytes, (const unsigned char *)text, 44) != DIGEST_BYTES + 1) {
		return false;
	}
	memcpy(digest, bytes, DIGEST_BYTES);
	return true;
}

static bool read_signature(const char *text, const char *prefix, unsigned char digest[DIGEST_BYTES])
{
	size_t len = strlen(prefix);

	if (strncmp(text, prefix, len) != 0) {
		return false;
	}
	return read_hex(text + len, digest) || read_base64(text + len, digest);
}

static bool is_fresh(const char *timestamp, int64_t tolerance_ms, int64_t now_ms)
{
	int64_t at = 0;

	if (!cg_view_parse_int(cg_view_of(timestamp), &at) || at < 0) {
		return false;
	}
	int64_t at_ms = at >= MILLISECONDS_FROM ? at : at * 1000;
	int64_t off_ms = at_ms > now_ms ? at_ms - now_ms : now_ms - at_ms;
	return off_ms <= tolerance_ms;
}

static enum cg_auth_outcome check_hmac(const struct cg_auth_config *config,
    const struct cg_auth_claim *claim, struct cg_view body, int64_t now_ms)
{
	unsigned char said[DIGEST_BYTES];
	unsigned char right[DIGEST_BYTES];
	bool is_signed = false;

	if (claim->signature == NULL || claim->timestamp == NULL) {
		return CG_AUTH_MISSING;
	}
	if (!read_signature(claim->signature, config->signature_prefix, said)) {
		return CG_AUTH_WRONG;
	}
	for (size_t i = 0; i < CG_COUNT_OF(config->secrets); i++) {
		if (config->secrets[i] != NULL &&
		    sign(config->secrets[i], claim->timestamp, body, right)) {
			is_signed = CRYPTO_memcmp(said, right, DIGEST_BYTES) == 0 || is_signed;
		}
	}
	if (!is_signed) {
		return CG_AUTH_WRONG;
	}
	return is_fresh(claim->timestamp, config->tolerance_ms, now_ms) ? CG_AUTH_GOOD
	                                                                : CG_AUTH_STALE;
}

enum cg_auth_outcome cg_auth_check(const struct cg_auth_config *config,
    const struct cg_auth_claim *claim, struct cg_view body, int64_t now_ms)
{
	bool is_good = false;

	if (config->mode == CG_AUTH_HMAC) {
		return check_hmac(config, claim, body, now_ms);
	}
	const char *said = config->mode == CG_AUTH_BEARER ? claim->authorization : claim->secret;
	if (said == NULL) {
		return CG_AUTH_MISSING;
	}
	for (size_t i = 0; i < CG_COUNT_OF(config->secrets); i++) {
		const char *secret = config->secrets[i];
		if (secret != NULL) {
			is_good = (config->mode == CG_AUTH_BEARER ? cg_auth_is_bearer(said, secret)
			                                          : is_same(said, secret)) ||
			    is_good;
		}
	}
	return is_good ? CG_AUTH_GOOD : CG_AUTH_WRONG;
}

/* Base64 in the alphabet of URLs, without '='. */
static bool put_base64url(struct cg_buffer *to, struct cg_view bytes)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	for (size_t i = 0; i < bytes.len; i += 3) {
		uint32_t word = 0;
		size_t count = bytes.len - i < 3 ? bytes.len - i : 3;
		for (size_t j = 0; j < 3; j++) {
			word = word << 8 | (j < count ? (unsigned char)bytes.data[i + j] : 0u);
		}
		for (size_t j = 0; j <= count; j++) {
			cg_buffer_bytes(to, &digits[word >> (18 - 6 * j) & 0x3f], 1);
		}
	}
	return !to->overflow;
}

bool cg_auth_sign_token(struct cg_view claims, const char *secret, char *to, size_t size)
{
	const struct cg_view header = CG_VIEW_LITERAL("{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
	unsigned char digest[DIGEST_BYTES];
	struct cg_buffer out;

	cg_buffer_init(&out, to, size);
	(void)put_base64url(&out, header);
	cg_buffer_bytes(&out, ".", 1);
	if (!put_base64url(&out, claims) || !sign(secret, NULL, cg_buffer_view(&out), digest)) {
		return false;
	}
	cg_buffer_bytes(&out, ".", 1);
	(void)put_base64url(&out, (struct cg_view){(const char *)digest, sizeof digest});
	cg_buffer_bytes(&out, "", 1);
	return !out.overflow;
}
