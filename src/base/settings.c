/* SPDX-License-Identifier: Apache-2.0 */
#include "base/settings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/view.h"

/* `from` is "--flag" or the environment's name: where the user should look. */
static enum cg_status put(const struct cg_setting *s, const char *value, const char *from,
    void *values, struct cg_error *err)
{
	char *at = (char *)values + s->offset;

	if (s->kind == CG_SETTING_NUMBER) {
		int64_t number = 0;
		if (!cg_view_parse_int(cg_view_of(value), &number) || number < s->least ||
		    number > s->most) {
			cg_error_set(err,
			    "%s: must be an integer from %" PRId64 " to %" PRId64 ", not \"%.40s\"",
			    from, s->least, s->most, value);
			return CG_INVALID;
		}
		memcpy(at, &number, sizeof number);
		return CG_OK;
	}
	size_t len = strlen(value);
	if (len == 0 || len >= CG_SETTING_TEXT_BYTES) {
		cg_error_set(
		    err, "%s: must have 1 to %d characters", from, CG_SETTING_TEXT_BYTES - 1);
		return CG_INVALID;
	}
	memcpy(at, value, len + 1);
	return CG_OK;
}

static enum cg_status put_file(
    const struct cg_setting *s, const char *path, void *values, struct cg_error *err)
{
	char from[80];
	char value[CG_SETTING_TEXT_BYTES + 2];
	FILE *file = fopen(path, "re");

	(void)snprintf(from, sizeof from, "%s_FILE", s->env);
	if (file == NULL) {
		cg_error_set(err, "%s: cannot be read: %.100s", from, path);
		return CG_INVALID;
	}
	size_t len = fread(value, 1, sizeof value - 1, file);
	(void)fclose(file);
	value[len] = '\0';
	/* An editor's last line has an end. */
	value[strcspn(value, "\r\n")] = '\0';
	return put(s, value, from, values, err);
}

static enum cg_status put_secret(const struct cg_setting *s, void *values, struct cg_error *err)
{
	char name[80];
	const char *value = getenv(s->env);

	if (value != NULL) {
		return put(s, value, s->env, values, err);
	}
	(void)snprintf(name, sizeof name, "%s_FILE", s->env);
	const char *path = getenv(name);
	return path == NULL ? CG_OK : put_file(s, path, values, err);
}

static enum cg_status put_default(const struct cg_setting *s, void *values, struct cg_error *err)
{
	char *at = (char *)values + s->offset;

	if (s->kind == CG_SETTING_NUMBER) {
		memcpy(at, &s->number, sizeof s->number);
	} else {
		const char *text = s->text == NULL ? "" : s->text;
		memcpy(at, text, strlen(text) + 1);
	}
	if (s->kind == CG_SETTING_SECRET) {
		return put_secret(s, values, err);
	}
	const char *value = getenv(s->env);
	return value == NULL ? CG_OK : put(s, value, s->env, values, err);
}

static const struct cg_setting *find(
    const struct cg_setting *table, size_t count, const char *word, size_t len)
{
	for (size_t i = 0; i < count; i++) {
		if (table[i].flag != NULL && strlen(table[i].flag) == len &&
		    memcmp(table[i].flag, word, len) == 0) {
			return &table[i];
		}
	}
	return NULL;
}

/* Reads argv[*at], "--flag value" or "--flag=value", and moves *at behind it. */
static enum cg_status put_flag(
    const struct cg_setting *s, char **argv, int argc, int *at, void *values, struct cg_error *err)
{
	const char *equals = strchr(argv[*at], '=');
	char from[80];

	(void)snprintf(from, sizeof from, "--%s", s->flag);
	if (equals == NULL && *at + 1 >= argc) {
		cg_error_set(err, "%s: needs a value", from);
		return CG_INVALID;
	}
	const char *value = equals != NULL ? equals + 1 : argv[*at + 1];
	*at += equals != NULL ? 1 : 2;
	return put(s, value, from, values, err);
}

static enum cg_status check_given(
    const struct cg_setting *table, size_t count, const void *values, struct cg_error *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct cg_setting *s = &table[i];
		if (s->kind == CG_SETTING_NUMBER || s->text != NULL ||
		    ((const char *)values + s->offset)[0] != '\0') {
			continue;
		}
		if (s->flag == NULL) {
			cg_error_set(err, "%s: must be set in the environment", s->env);
		} else {
			cg_error_set(err, "--%s (or %s): must be set", s->flag, s->env);
		}
		return CG_INVALID;
	}
	return CG_OK;
}

enum cg_status cg_settings_read(const struct cg_setting *table, size_t count, int argc, char **argv,
    void *values, struct cg_error *err)
{
	enum cg_status status = CG_OK;

	for (size_t i = 0; status == CG_OK && i < count; i++) {
		status = put_default(&table[i], values, err);
	}
	for (int at = 1; status == CG_OK && at < argc;) {
		const char *word = argv[at];
		const struct cg_setting *s = strncmp(word, "--", 2) == 0
		    ? find(table, count, word + 2, strcspn(word + 2, "="))
		    : NULL;
		if (s == NULL) {
			cg_error_set(err, "%.80s: there is no such setting; see --help", word);
			return CG_INVALID;
		}
		status = put_flag(s, argv, argc, &at, values, err);
	}
	return status == CG_OK ? check_given(table, count, values, err) : status;
}

static void print_default(const struct cg_setting *s, FILE *to)
{
	if (s->kind == CG_SETTING_NUMBER) {
		(void)fprintf(to, "%s, %" PRId64 "..%" PRId64 ", default %" PRId64 "\n", s->env,
		    s->least, s->most, s->number);
	} else if (s->kind == CG_SETTING_SECRET) {
		(void)fprintf(to, "%s or %s_FILE, %s\n", s->env, s->env,
		    s->text == NULL ? "must be set" : "may be absent");
	} else if (s->text == NULL) {
		(void)fprintf(to, "%s, must be set\n", s->env);
	} else {
		(void)fprintf(to, "%s, default \"%s\"\n", s->env, s->text);
	}
}

void cg_settings_print(const struct cg_setting *table, size_t count, FILE *to)
{
	for (size_t i = 0; i < count; i++) {
		const struct cg_setting *s = &table[i];
		(void)fprintf(to, "  %s%-24s %s\n  %-26s ", s->flag == NULL ? "  " : "--",
		    s->flag == NULL ? "(environment)" : s->flag, s->help, "");
		print_default(s, to);
	}
}
