/*
 * getopt_long() splits the line; everything it cannot know (bounds, what is required,
 * operands) is checked here, so that a refusal always names the flag and its bound.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/args.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/bounds.h"

/* What every command takes; in the order of the switch in take_common(). */
static const struct cg_flag common[] = {
    {.name = "address",
        .kind = CG_FLAG_PLAIN,
        .help = "the sidecar: unix:/path or host:port (CALLGATE_ADDRESS)"},
    {.name = "database-url",
        .kind = CG_FLAG_PLAIN,
        .help = "the ledger's Postgres (CALLGATE_DATABASE_URL)"},
    {.name = "redis-url", .kind = CG_FLAG_PLAIN, .help = "the store's Redis (CALLGATE_REDIS_URL)"},
    {.name = "timeout-ms",
        .kind = CG_FLAG_INT,
        .min = 1,
        .max = CG_ARGS_TIMEOUT_MAX_MS,
        .help = "how long an answer may take; 5000 unless given"},
    {.name = "json", .kind = CG_FLAG_SWITCH, .help = "answer in JSON, one object"},
    {.name = "help", .kind = CG_FLAG_SWITCH, .help = "show this and do nothing"},
    /* From here on by their names, see `accesses`. */
    {.name = "token-file",
        .kind = CG_FLAG_PLAIN,
        .help = "our token (CALLGATE_TOKEN_FILE, or CALLGATE_TOKEN itself)"},
    {.name = "ca-file",
        .kind = CG_FLAG_PLAIN,
        .help = "TLS: authorities of the sidecar's certificate (CALLGATE_CA_FILE)"},
    {.name = "client-cert-file",
        .kind = CG_FLAG_PLAIN,
        .help = "TLS: this client's certificate (CALLGATE_CLIENT_CERT_FILE)"},
    {.name = "client-key-file",
        .kind = CG_FLAG_PLAIN,
        .help = "TLS: and its key (CALLGATE_CLIENT_KEY_FILE)"},
    {.name = "server-name",
        .kind = CG_FLAG_PLAIN,
        .help = "TLS: the sidecar's name in its own (CALLGATE_SERVER_NAME)"},
};

static const struct {
	const char *flag;
	const char *environment;
	size_t offset;
} accesses[] = {
    {"token-file", "CALLGATE_TOKEN_FILE", offsetof(struct cg_access, token_file)},
    {"ca-file", "CALLGATE_CA_FILE", offsetof(struct cg_access, ca_file)},
    {"client-cert-file", "CALLGATE_CLIENT_CERT_FILE", offsetof(struct cg_access, client_cert_file)},
    {"client-key-file", "CALLGATE_CLIENT_KEY_FILE", offsetof(struct cg_access, client_key_file)},
    {"server-name", "CALLGATE_SERVER_NAME", offsetof(struct cg_access, server_name)},
};

#define COMMON_COUNT CG_COUNT_OF(common)
/* Values of getopt_long() for flags: above every character that it returns itself. */
#define OWN_BASE    1000
#define COMMON_BASE 2000

const struct cg_flag *cg_args_common(size_t *ret_count)
{
	*ret_count = COMMON_COUNT;
	return common;
}

static size_t flag_count(const struct cg_command *command)
{
	size_t count = 0;

	while (command->flags[count].name != NULL) {
		count++;
	}
	CG_ASSERT(count <= CG_ARGS_FLAGS_MAX);
	return count;
}

static void name_field(struct cg_args_error *err, const struct cg_flag *flag)
{
	(void)snprintf(
	    err->field, sizeof err->field, "%s%s", flag->operand ? "" : "--", flag->name);
	cg_bounds_describe(flag, err->bound, sizeof err->bound);
}

static bool refuse_value(struct cg_args_error *err, const struct cg_flag *flag, const char *text)
{
	name_field(err, flag);
	(void)snprintf(err->text, sizeof err->text, "%s: \"%.128s\" is refused; it must be %s",
	    err->field, text, err->bound);
	return false;
}

static bool refuse_absence(struct cg_args_error *err, const struct cg_flag *flag)
{
	name_field(err, flag);
	(void)snprintf(err->text, sizeof err->text, "%s is required: %s", err->field, err->bound);
	return false;
}

static bool refuse_line(struct cg_args_error *err, const char *format, const char *word)
{
	(void)snprintf(err->field, sizeof err->field, "%.79s", word);
	(void)snprintf(err->bound, sizeof err->bound, "%s", format);
	(void)snprintf(err->text, sizeof err->text, "%.128s: %s", word, format);
	return false;
}

static bool take_own(
    struct cg_args *args, size_t index, const char *text, struct cg_args_error *err)
{
	const struct cg_flag *flag = &args->command->flags[index];
	struct cg_arg *value = &args->values[index];

	if (flag->kind == CG_FLAG_META) {
		if (args->meta_count == CG_ARGS_META_MAX) {
			return refuse_line(err, "given more than 64 times", "--meta");
		}
		args->meta[args->meta_count++] = text;
	} else if (value->text != NULL) {
		/* The last one winning would hide a slip in a line that moves money. */
		char name[80];
		(void)snprintf(name, sizeof name, "%s%s", flag->operand ? "" : "--", flag->name);
		return refuse_line(err, "given twice", name);
	}
	if (!cg_bounds_check(flag, text, &value->number)) {
		return refuse_value(err, flag, text);
	}
	value->text = text;
	return true;
}

static void put_access(struct cg_args *args, size_t index, const char *text)
{
	memcpy((char *)&args->access + accesses[index].offset, &text, sizeof text);
}

static void take_access(struct cg_args *args, const char *flag, const char *text)
{
	for (size_t i = 0; i < CG_COUNT_OF(accesses); i++) {
		if (strcmp(accesses[i].flag, flag) == 0) {
			put_access(args, i, text);
			return;
		}
	}
	CG_UNREACHABLE();
}

static bool take_common(
    struct cg_args *args, size_t index, const char *text, struct cg_args_error *err)
{
	int64_t number = 0;

	if (!cg_bounds_check(&common[index], text, &number)) {
		return refuse_value(err, &common[index], text);
	}
	switch (index) {
	case 0:
		args->address = text;
		return true;
	case 1:
		args->database_url = text;
		return true;
	case 2:
		args->redis_url = text;
		return true;
	case 3:
		args->timeout_ms = number;
		return true;
	case 4:
		args->json = true;
		return true;
	case 5:
		args->help = true;
		return true;
	default:
		take_access(args, common[index].name, text);
		return true;
	}
}

/* Fills getopt's table: the command's flags, then the common ones. */
static void make_options(const struct cg_command *command, struct option *options)
{
	size_t n = 0;

	for (size_t i = 0; i < flag_count(command); i++) {
		const struct cg_flag *flag = &command->flags[i];
		if (!flag->operand) {
			int has = flag->kind == CG_FLAG_SWITCH ? no_argument : required_argument;
			options[n++] = (struct option){flag->name, has, NULL, OWN_BASE + (int)i};
		}
	}
	for (size_t i = 0; i < COMMON_COUNT; i++) {
		int has = common[i].kind == CG_FLAG_SWITCH ? no_argument : required_argument;
		options[n++] = (struct option){common[i].name, has, NULL, COMMON_BASE + (int)i};
	}
	options[n] = (struct option){NULL, 0, NULL, 0};
}

static bool take_operands(struct cg_args *args, int argc, char **argv, struct cg_args_error *err)
{
	int at = optind;

	for (size_t i = 0; i < flag_count(args->command); i++) {
		if (args->command->flags[i].operand && at < argc) {
			if (!take_own(args, i, argv[at], err)) {
				return false;
			}
			at++;
		}
	}
	return at == argc || refuse_line(err, "this command takes no such argument", argv[at]);
}

static bool check_required(const struct cg_args *args, struct cg_args_error *err)
{
	for (size_t i = 0; i < flag_count(args->command); i++) {
		const struct cg_flag *flag = &args->command->flags[i];
		if (flag->required && args->values[i].text == NULL) {
			return refuse_absence(err, flag);
		}
	}
	return true;
}

static bool take_one(struct cg_args *args, int option, char **argv, struct cg_args_error *err)
{
	const char *text = optarg == NULL ? "" : optarg;

	switch (option) {
	case '?':
		return refuse_line(err,
		    optopt >= OWN_BASE ? "takes no value" : "no such flag; see --help",
		    argv[optind - 1]);
	case ':':
		return refuse_line(err, "its value is missing", argv[optind - 1]);
	default:
		break;
	}
	return option >= COMMON_BASE ? take_common(args, (size_t)(option - COMMON_BASE), text, err)
	                             : take_own(args, (size_t)(option - OWN_BASE), text, err);
}

/* An environment variable that is set to nothing counts as not set. */
static const char *from_environment(const char *name)
{
	const char *text = getenv(name);

	return text == NULL || text[0] == '\0' ? NULL : text;
}

static bool json_is_asked_for(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			return true;
		}
	}
	return false;
}

static bool parse(struct cg_args *args, int argc, char **argv, struct cg_args_error *ret_error)
{
	struct option options[CG_ARGS_FLAGS_MAX + COMMON_COUNT + 1];
	int option;

	memset(ret_error, 0, sizeof *ret_error);
	make_options(args->command, options);
	args->timeout_ms = CG_ARGS_TIMEOUT_DEFAULT_MS;
	args->address = from_environment("CALLGATE_ADDRESS");
	args->database_url = from_environment("CALLGATE_DATABASE_URL");
	args->redis_url = from_environment("CALLGATE_REDIS_URL");
	args->access.token = from_environment("CALLGATE_TOKEN");
	for (size_t i = 0; i < CG_COUNT_OF(accesses); i++) {
		put_access(args, i, from_environment(accesses[i].environment));
	}
	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (!take_one(args, option, argv, ret_error)) {
			return false;
		}
	}
	if (args->help) {
		return true;
	}
	return take_operands(args, argc, argv, ret_error) && check_required(args, ret_error);
}

bool cg_args_parse(struct cg_args *args, int argc, char **argv, struct cg_args_error *ret_error)
{
	if (parse(args, argc, argv, ret_error)) {
		return true;
	}
	/* What stood behind the refused word has not been read; its form of error is asked for. */
	args->json = args->json || json_is_asked_for(argc, argv);
	return false;
}

static const struct cg_arg *find(const struct cg_args *args, const char *name)
{
	for (size_t i = 0; args->command->flags[i].name != NULL; i++) {
		if (strcmp(args->command->flags[i].name, name) == 0) {
			return &args->values[i];
		}
	}
	CG_UNREACHABLE();
}

bool cg_args_has(const struct cg_args *args, const char *name)
{
	return find(args, name)->text != NULL;
}

const char *cg_args_text(const struct cg_args *args, const char *name, const char *fallback)
{
	const struct cg_arg *value = find(args, name);

	return value->text == NULL ? fallback : value->text;
}

int64_t cg_args_int(const struct cg_args *args, const char *name, int64_t fallback)
{
	const struct cg_arg *value = find(args, name);

	return value->text == NULL ? fallback : value->number;
}
