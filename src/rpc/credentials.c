/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/credentials.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "rpc/roles.h"

struct reading {
	struct cg_crypto *crypto;
	const char *path;
	uint32_t line_number;
	struct cg_credentials *credentials;
	struct cg_error *err;
};

static bool refuse(struct reading *r, const char *what)
{
	cg_error_set(r->err, "%s, line %u: %s", r->path, r->line_number, what);
	return false;
}

/* Takes the next word off `rest`; empty: there is none. */
static struct cg_view take_word(struct cg_view *rest)
{
	size_t begin = 0;

	while (begin < rest->len && (rest->data[begin] == ' ' || rest->data[begin] == '\t')) {
		begin++;
	}
	size_t end = begin;
	while (end < rest->len && rest->data[end] != ' ' && rest->data[end] != '\t') {
		end++;
	}
	struct cg_view word = {rest->data + begin, end - begin};
	*rest = (struct cg_view){rest->data + end, rest->len - end};
	return word;
}

static bool begins_with(struct cg_view text, const char *prefix)
{
	size_t len = strlen(prefix);

	return text.len > len && memcmp(text.data, prefix, len) == 0;
}

static int nibble_of(char digit)
{
	if (digit >= '0' && digit <= '9') {
		return digit - '0';
	}
	if (digit >= 'a' && digit <= 'f') {
		return digit - 'a' + 10;
	}
	return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

static bool read_digest(struct cg_view hex, struct cg_digest *ret_digest)
{
	if (hex.len != 2 * sizeof ret_digest->bytes) {
		return false;
	}
	for (size_t i = 0; i < sizeof ret_digest->bytes; i++) {
		int high = nibble_of(hex.data[2 * i]);
		int low = nibble_of(hex.data[2 * i + 1]);
		if (high < 0 || low < 0) {
			return false;
		}
		ret_digest->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool take_key(struct reading *r, struct cg_view word, struct cg_credential *credential)
{
	if (begins_with(word, "sha256:")) {
		credential->is_token = true;
		return read_digest(
		           (struct cg_view){word.data + 7, word.len - 7}, &credential->digest) ||
		    refuse(r, "after sha256: come 64 hexadecimal digits");
	}
	if (begins_with(word, "uri:") || begins_with(word, "dns:")) {
		cg_crypto_digest(r->crypto, word, &credential->digest);
		return true;
	}
	return refuse(r, "it must begin with sha256:, uri: or dns:");
}

static int compare_companies(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct cg_uuid));
}

static bool take_companies(struct reading *r, struct cg_view word, struct cg_credential *credential)
{
	if (cg_view_equal(word, CG_VIEW_LITERAL("*"))) {
		return true;
	}
	credential->companies =
	    calloc(CG_CREDENTIAL_COMPANIES_MAX, sizeof credential->companies[0]);
	CG_ASSERT(credential->companies != NULL);
	for (size_t at = 0; at <= word.len; at += CG_UUID_TEXT_LEN + 1) {
		struct cg_view id = {word.data + at, CG_UUID_TEXT_LEN};
		size_t end = at + CG_UUID_TEXT_LEN;
		if (end > word.len || (end < word.len && word.data[end] != ',') ||
		    !cg_uuid_parse(id, &credential->companies[credential->company_count])) {
			return refuse(r, "the companies must be *, or UUIDs separated by commas");
		}
		if (++credential->company_count == CG_CREDENTIAL_COMPANIES_MAX && end < word.len) {
			return refuse(r, "a credential is bound to 256 companies at most");
		}
		if (end == word.len) {
			break;
		}
	}
	qsort(credential->companies, credential->company_count, sizeof credential->companies[0],
	    compare_companies);
	return true;
}

static bool take_name(struct reading *r, struct cg_view word, struct cg_credential *credential)
{
	if (word.len >= sizeof credential->name) {
		return refuse(r, "the name must have 63 bytes at most");
	}
	memcpy(credential->name, word.data, word.len);
	return true;
}

static bool take_line(struct reading *r, struct cg_view line)
{
	struct cg_view key = take_word(&line);

	if (key.len == 0 || key.data[0] == '#') {
		return true;
	}
	if (r->credentials->count == CG_CREDENTIALS_MAX) {
		return refuse(r, "there may be 1024 credentials");
	}
	/* Counted at once: what it takes from the heap is then freed with all others. */
	struct cg_credential *credential = &r->credentials->all[r->credentials->count];
	*credential = (struct cg_credential){0};
	if (!take_key(r, key, credential)) {
		return false;
	}
	if (cg_credentials_find(r->credentials, &credential->digest, credential->is_token) !=
	    NULL) {
		return refuse(r, "it stands there twice");
	}
	r->credentials->count++;
	if (!cg_roles_parse(take_word(&line), ',', &credential->roles)) {
		return refuse(
		    r, "the roles must be of gate, billing and admin, separated by commas");
	}
	if (!take_companies(r, take_word(&line), credential) ||
	    !take_name(r, take_word(&line), credential)) {
		return false;
	}
	return take_word(&line).len == 0 || refuse(r, "there is more than four words");
}

static bool take_file(struct reading *r, FILE *file)
{
	static char text[CG_CREDENTIALS_LINE_BYTES]; /* Only the loop's thread reads files. */
	struct stat stat;

	if (fstat(fileno(file), &stat) != 0 || !S_ISREG(stat.st_mode)) {
		cg_error_set(r->err, "%s: is no file", r->path);
		return false;
	}
	if ((stat.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		cg_error_set(r->err, "%s: others than its owner may write it", r->path);
		return false;
	}
	while (fgets(text, sizeof text, file) != NULL) {
		size_t len = strlen(text);
		r->line_number++;
		if (len == sizeof text - 1 && text[len - 1] != '\n') {
			return refuse(r, "it is too long");
		}
		while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) {
			len--;
		}
		if (!take_line(r, (struct cg_view){text, len})) {
			return false;
		}
	}
	if (ferror(file) != 0) {
		cg_error_set(r->err, "%s: %s", r->path, strerror(errno));
		return false;
	}
	/* An empty file is a writer that was interrupted, more likely than a wish to lock all out. */
	if (r->credentials->count == 0) {
		cg_error_set(r->err, "%s: holds no credential", r->path);
		return false;
	}
	return true;
}

enum cg_status cg_credentials_read(struct cg_crypto *crypto, const char *path,
    struct cg_credentials **ret_credentials, struct cg_error *err)
{
	struct reading r = {.crypto = crypto, .path = path, .err = err};
	FILE *file = fopen(path, "re");

	if (file == NULL) {
		cg_error_set(err, "%s: %s", path, strerror(errno));
		return CG_INVALID;
	}
	r.credentials =
	    calloc(1, sizeof *r.credentials + CG_CREDENTIALS_MAX * sizeof r.credentials->all[0]);
	CG_ASSERT(r.credentials != NULL);
	r.credentials->references = 1;
	bool good = take_file(&r, file);
	(void)fclose(file);
	if (!good) {
		cg_credentials_unref(r.credentials);
		return CG_INVALID;
	}
	*ret_credentials = r.credentials;
	return CG_OK;
}

struct cg_credentials *cg_credentials_ref(struct cg_credentials *credentials)
{
	credentials->references++;
	return credentials;
}

void cg_credentials_unref(struct cg_credentials *credentials)
{
	if (credentials == NULL || --credentials->references > 0) {
		return;
	}
	for (uint32_t i = 0; i < credentials->count; i++) {
		free(credentials->all[i].companies);
	}
	free(credentials);
}

const struct cg_credential *cg_credentials_find(
    const struct cg_credentials *credentials, const struct cg_digest *digest, bool is_token)
{
	const struct cg_credential *found = NULL;

	for (uint32_t i = 0; i < credentials->count; i++) {
		const struct cg_credential *one = &credentials->all[i];
		if (one->is_token == is_token && cg_crypto_equal(&one->digest, digest)) {
			found = one;
		}
	}
	return found;
}

bool cg_credential_sees(const struct cg_credential *credential, const struct cg_uuid *company)
{
	return credential == NULL || credential->companies == NULL ||
	    bsearch(company, credential->companies, credential->company_count,
	        sizeof credential->companies[0], compare_companies) != NULL;
}

bool cg_credential_equal(const struct cg_credential *a, const struct cg_credential *b)
{
	return a->is_token == b->is_token && cg_crypto_equal(&a->digest, &b->digest) &&
	    a->roles == b->roles && (a->companies == NULL) == (b->companies == NULL) &&
	    a->company_count == b->company_count &&
	    (a->companies == NULL ||
	        memcmp(a->companies, b->companies, a->company_count * sizeof a->companies[0]) == 0);
}
