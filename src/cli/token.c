/*
 * token: a new token, and the line by which callgated knows it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/base.h"
#include "cli/output.h"

/* 192 bits, as 32 characters of base64url. */
#define RANDOM_BYTES 24
#define TOKEN_BYTES  ((size_t)32)
#define DIGEST_BYTES 32

static bool make_token(char token[TOKEN_BYTES + 1])
{
	static const char letters[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned char random[RANDOM_BYTES];

	if (RAND_bytes(random, sizeof random) != 1) {
		return false;
	}
	for (size_t i = 0; i < RANDOM_BYTES / 3; i++) {
		uint32_t bits = (uint32_t)random[3 * i] << 16 | (uint32_t)random[3 * i + 1] << 8 |
		    (uint32_t)random[3 * i + 2];
		for (size_t j = 0; j < 4; j++) {
			token[4 * i + j] = letters[bits >> (18 - 6 * j) & 63];
		}
	}
	token[TOKEN_BYTES] = '\0';
	return true;
}

static bool hash_token(const char *token, char hash[2 * DIGEST_BYTES + 1])
{
	unsigned char digest[DIGEST_BYTES];

	if (EVP_Q_digest(NULL, "SHA256", NULL, token, strlen(token), digest, NULL) != 1) {
		return false;
	}
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		(void)snprintf(hash + 2 * i, 3, "%02x", digest[i]);
	}
	return true;
}

/* For its owner alone, and never over another one: that might be in use. */
static enum cg_exit write_token(const struct cg_cli *cli, const char *path, const char *token)
{
	char line[TOKEN_BYTES + 2];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0) {
		return cg_output_fail(cli, CG_EXIT_USAGE, "FILE", "a path where nothing is yet",
		    "%s: %s", path, strerror(errno));
	}
	int len = snprintf(line, sizeof line, "%s\n", token);
	bool good = write(fd, line, (size_t)len) == (ssize_t)len && fsync(fd) == 0;
	int error = errno;
	if (close(fd) != 0 || !good) {
		(void)unlink(path);
		return cg_output_fail(cli, CG_EXIT_INCOMPATIBLE, "FILE", NULL,
		    "%s: it could not be written: %s", path, strerror(error));
	}
	return CG_EXIT_DONE;
}

static enum cg_exit token(struct cg_cli *cli)
{
	const char *path = cg_args_text(&cli->args, "FILE", NULL);
	const char *companies = cg_args_text(&cli->args, "companies", "*");
	const char *name = cg_args_text(&cli->args, "name", "");
	char text[TOKEN_BYTES + 1];
	char hash[2 * DIGEST_BYTES + 1];
	char line[8192];

	if (!make_token(text) || !hash_token(text, hash)) {
		return cg_output_fail(
		    cli, CG_EXIT_INCOMPATIBLE, NULL, NULL, "the system gives no random bytes");
	}
	int len = snprintf(line, sizeof line, "sha256:%s %s %s%s%s", hash,
	    cg_args_text(&cli->args, "roles", NULL), companies, name[0] == '\0' ? "" : " ", name);
	if (len >= (int)sizeof line) {
		return cg_output_fail(
		    cli, CG_EXIT_USAGE, "--companies", NULL, "--companies: there are too many");
	}
	enum cg_exit code = write_token(cli, path, text);
	if (code != CG_EXIT_DONE) {
		return code;
	}
	if (!cli->args.json) {
		(void)printf("%s\n", line);
		return CG_EXIT_DONE;
	}
	json_t *answer = json_object();
	cg_output_add_text(answer, "file", path);
	cg_output_add_text(answer, "line", line);
	cg_output_answer(cli, NULL, "", answer);
	return CG_EXIT_DONE;
}

static const struct cg_flag flags[] = {
    {.name = "FILE",
        .kind = CG_FLAG_PLAIN,
        .required = true,
        .operand = true,
        .help = "where to write the token, for its owner alone; must not exist"},
    {.name = "roles",
        .kind = CG_FLAG_ID,
        .required = true,
        .help = "of gate, billing and admin, separated by commas"},
    {.name = "companies",
        .kind = CG_FLAG_PLAIN,
        .help = "UUIDs separated by commas; every company unless given"},
    {.name = "name", .kind = CG_FLAG_ID, .help = "whose it is, for people"},
    CG_FLAGS_END,
};

const struct cg_command cg_commands_token[] = {
    {.name = "token",
        .summary = "makes a token, and prints its line for callgated --credentials-file",
        .details = "The line holds a hash: it is no secret, and the token cannot be had from it.",
        .flags = flags,
        .run = token},
    {.name = NULL},
};
