/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/service/directory.h"

#include <stdlib.h>

#include "edge/json/doc.h"

#define ROWS_MAX 1000000

struct sentence {
	char company_id[CG_UUID_TEXT_LEN + 1]; /* "": everybody's */
	char language[36];                     /* "": any */
	enum cg_situation situation;
	char text[1601]; /* 400 characters */
};

/* A place in the order of the numbers themselves. */
struct entry {
	const struct cg_number *number;
};

struct cg_directory {
	int64_t version;
	struct cg_number *numbers; /* by phone_number_id */
	struct entry *by_number;
	size_t number_count;
	struct sentence *sentences;
	size_t sentence_count;
};

static const struct {
	const char *name;
	const char *text;
} situations[CG_SITUATION_COUNT] = {
    [CG_SITUATION_FUNDS] = {"insufficient_funds",
        "This line is temporarily unavailable. Please try again later."},
    [CG_SITUATION_CONCURRENCY] = {"concurrency_limit",
        "All lines are busy at the moment. Please try again in a few minutes."},
    [CG_SITUATION_SUSPENDED] = {"suspended",
        "This line is temporarily unavailable. Please try again later."},
    [CG_SITUATION_NO_PRICE] = {"no_price", "This line cannot take your call."},
    [CG_SITUATION_BARRED] = {"barred", "This call has ended."},
    [CG_SITUATION_UNAVAILABLE] = {"unavailable",
        "We cannot take your call right now. Please try again in a minute."},
    [CG_SITUATION_UNKNOWN_NUMBER] = {"unknown_number", "This number is not in service."},
    [CG_SITUATION_TRANSFER] = {"transfer", "I am sorry, I cannot transfer this call."},
    [CG_SITUATION_WARNING] = {"warning", "We have about thirty seconds left on this call."},
    [CG_SITUATION_GOODBYE] = {"goodbye", "Our time is up. Goodbye."},
};

const char *cg_situation_name(enum cg_situation situation)
{
	return situations[situation].name;
}

struct cg_directory *cg_directory_create(void)
{
	struct cg_directory *directory = calloc(1, sizeof *directory);

	CG_ASSERT(directory != NULL);
	return directory;
}

static void drop(struct cg_directory *d)
{
	free(d->numbers);
	free(d->by_number);
	free(d->sentences);
}

void cg_directory_destroy(struct cg_directory *directory)
{
	if (directory != NULL) {
		drop(directory);
		free(directory);
	}
}

int64_t cg_directory_version(const struct cg_directory *directory)
{
	return directory->version;
}

static size_t count_of(struct cg_view array)
{
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view value;
	size_t count = 0;

	cg_doc_walk(&walk, array);
	while (cg_doc_next(&walk, &key, &value)) {
		count++;
	}
	return count;
}

static void read_number(struct cg_view object, struct cg_number *n)
{
	enum {
		ID,
		NUMBER,
		COMPANY,
		ASSISTANT,
		UPSTREAM,
		TRANSFER,
		LANGUAGE,
		ALLOW,
		OUTAGE,
		COUNT
	};
	static const char *const names[COUNT] = {"phone_number_id", "number", "company_id",
	    "assistant_id", "upstream_url", "transfer_to", "language", "allow_transfer",
	    "outage_seconds"};
	struct cg_view v[COUNT];

	memset(n, 0, sizeof *n);
	cg_doc_members(object, names, COUNT, v);
	(void)cg_doc_string(v[ID], n->phone_number_id, sizeof n->phone_number_id);
	(void)cg_doc_string(v[NUMBER], n->number, sizeof n->number);
	(void)cg_doc_string(v[COMPANY], n->company_id, sizeof n->company_id);
	(void)cg_doc_string(v[ASSISTANT], n->assistant_id, sizeof n->assistant_id);
	(void)cg_doc_string(v[UPSTREAM], n->upstream_url, sizeof n->upstream_url);
	(void)cg_doc_string(v[TRANSFER], n->transfer_to, sizeof n->transfer_to);
	(void)cg_doc_string(v[LANGUAGE], n->language, sizeof n->language);
	n->allow_transfer = cg_doc_bool(v[ALLOW]) == 1;
	if (!cg_doc_decimal(v[OUTAGE], 0, &n->outage_seconds)) {
		n->outage_seconds = 0;
	}
}

static bool read_sentence(struct cg_view object, struct sentence *s)
{
	enum {
		COMPANY,
		LANGUAGE,
		SITUATION,
		TEXT,
		COUNT
	};
	static const char *const names[COUNT] = {"company_id", "language", "situation", "sentence"};
	struct cg_view v[COUNT];

	memset(s, 0, sizeof *s);
	cg_doc_members(object, names, COUNT, v);
	(void)cg_doc_string(v[COMPANY], s->company_id, sizeof s->company_id);
	(void)cg_doc_string(v[LANGUAGE], s->language, sizeof s->language);
	for (size_t i = 0; i < CG_SITUATION_COUNT; i++) {
		if (cg_doc_is(v[SITUATION], situations[i].name)) {
			s->situation = (enum cg_situation)i;
			return cg_doc_string(v[TEXT], s->text, sizeof s->text);
		}
	}
	return false; /* One that a later version knows. */
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct cg_number *)a)->phone_number_id,
	    ((const struct cg_number *)b)->phone_number_id);
}

static int by_number(const void *a, const void *b)
{
	return strcmp(
	    ((const struct entry *)a)->number->number, ((const struct entry *)b)->number->number);
}

static void read_numbers(struct cg_directory *d, struct cg_view array)
{
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view value;
	size_t count = count_of(array);

	d->numbers = calloc(count + 1, sizeof *d->numbers);
	d->by_number = calloc(count + 1, sizeof *d->by_number);
	CG_ASSERT(d->numbers != NULL && d->by_number != NULL);
	cg_doc_walk(&walk, array);
	while (d->number_count < count && cg_doc_next(&walk, &key, &value)) {
		read_number(value, &d->numbers[d->number_count++]);
	}
	qsort(d->numbers, d->number_count, sizeof *d->numbers, by_id);
	for (size_t i = 0; i < d->number_count; i++) {
		d->by_number[i].number = &d->numbers[i];
	}
	qsort(d->by_number, d->number_count, sizeof *d->by_number, by_number);
}

static void read_sentences(struct cg_directory *d, struct cg_view array)
{
	struct cg_doc_walk walk;
	struct cg_view key;
	struct cg_view value;
	size_t count = count_of(array);

	d->sentences = calloc(count + 1, sizeof *d->sentences);
	CG_ASSERT(d->sentences != NULL);
	cg_doc_walk(&walk, array);
	while (d->sentence_count < count && cg_doc_next(&walk, &key, &value)) {
		if (read_sentence(value, &d->sentences[d->sentence_count])) {
			d->sentence_count++;
		}
	}
}

enum cg_status cg_directory_load(struct cg_directory *directory, int64_t version,
    struct cg_view numbers, struct cg_view sentences, struct cg_error *err)
{
	struct cg_directory fresh = {.version = version};
	struct cg_view number_array;
	struct cg_view sentence_array;

	/* Each row has fewer than twenty values. */
	if (cg_doc_check(numbers, (size_t)ROWS_MAX * 20, &number_array, err) != CG_OK ||
	    cg_doc_check(sentences, (size_t)ROWS_MAX * 20, &sentence_array, err) != CG_OK) {
		return CG_INVALID;
	}
	read_numbers(&fresh, number_array);
	read_sentences(&fresh, sentence_array);
	drop(directory);
	*directory = fresh;
	return CG_OK;
}

const struct cg_number *cg_directory_number(
    const struct cg_directory *d, const char *phone_number_id, const char *number)
{
	struct cg_number key;
	struct entry at = {&key};
	const struct cg_number *found = NULL;

	if (d->number_count == 0) {
		return NULL;
	}
	memset(&key, 0, sizeof key);
	if (phone_number_id[0] != '\0' && strlen(phone_number_id) < sizeof key.phone_number_id) {
		memcpy(key.phone_number_id, phone_number_id, strlen(phone_number_id) + 1);
		found = bsearch(&key, d->numbers, d->number_count, sizeof key, by_id);
	}
	if (found == NULL && number[0] != '\0' && strlen(number) < sizeof key.number) {
		memcpy(key.number, number, strlen(number) + 1);
		const struct entry *place =
		    bsearch(&at, d->by_number, d->number_count, sizeof *d->by_number, by_number);
		found = place == NULL ? NULL : place->number;
	}
	return found;
}

const struct cg_number *cg_directory_assistant(
    const struct cg_directory *d, const char *assistant_id)
{
	const struct cg_number *found = NULL;

	if (assistant_id[0] == '\0') {
		return NULL;
	}
	for (size_t i = 0; i < d->number_count; i++) {
		if (strcmp(d->numbers[i].assistant_id, assistant_id) != 0) {
			continue;
		}
		if (found != NULL && strcmp(found->company_id, d->numbers[i].company_id) != 0) {
			return NULL;
		}
		found = &d->numbers[i];
	}
	return found;
}

const char *cg_directory_sentence(const struct cg_directory *d, const char *company_id,
    const char *language, enum cg_situation situation)
{
	const char *best = situations[situation].text;
	int best_rank = 0;

	for (size_t i = 0; i < d->sentence_count; i++) {
		const struct sentence *s = &d->sentences[i];
		bool is_theirs = s->company_id[0] != '\0' && strcmp(s->company_id, company_id) == 0;
		bool is_spoken = s->language[0] != '\0' && strcmp(s->language, language) == 0;
		if (s->situation != situation || (s->company_id[0] != '\0' && !is_theirs) ||
		    (s->language[0] != '\0' && !is_spoken)) {
			continue;
		}
		int rank = 1 + (is_theirs ? 2 : 0) + (is_spoken ? 1 : 0);
		if (rank > best_rank) {
			best_rank = rank;
			best = s->text;
		}
	}
	return best;
}
