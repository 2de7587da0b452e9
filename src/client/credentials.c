/* SPDX-License-Identifier: Apache-2.0 */
#include "client/credentials.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PEM_MAX_BYTES ((size_t)1024 * 1024)

/* A file as a terminated text of the heap's; NULL: `err` says why. */
static char *read_text(const char *path, size_t max_bytes, struct cg_error *err)
{
	FILE *file = fopen(path, "re");
	char *text = malloc(max_bytes + 2);

	if (file == NULL || text == NULL) {
		cg_error_set(err, "%s: %s", path, strerror(errno));
		free(text);
		if (file != NULL) {
			(void)fclose(file);
		}
		return NULL;
	}
	size_t len = fread(text, 1, max_bytes + 1, file);
	bool good = ferror(file) == 0 && len <= max_bytes;
	(void)fclose(file);
	if (!good) {
		cg_error_set(
		    err, "%s: cannot be read, or is larger than %zu bytes", path, max_bytes);
		free(text);
		return NULL;
	}
	text[len] = '\0';
	return text;
}

/* NULL where no file is named; false: it cannot be read. */
static bool read_pem(const char *path, char **ret_text, struct cg_error *err)
{
	*ret_text = NULL;
	if (path == NULL) {
		return true;
	}
	*ret_text = read_text(path, PEM_MAX_BYTES, err);
	return *ret_text != NULL;
}

grpc_channel_credentials *cg_client__credentials(
    const struct callgate_options *options, struct cg_error *err)
{
	grpc_channel_credentials *credentials = NULL;
	char *authorities = NULL;
	char *certificate = NULL;
	char *key = NULL;

	if (options->tls_ca_file == NULL) {
		return grpc_insecure_credentials_create();
	}
	if (read_pem(options->tls_ca_file, &authorities, err) &&
	    read_pem(options->tls_cert_file, &certificate, err) &&
	    read_pem(options->tls_key_file, &key, err)) {
		grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = certificate};
		credentials = grpc_ssl_credentials_create_ex(
		    authorities, certificate != NULL ? &pair : NULL, NULL, NULL);
		if (credentials == NULL) {
			cg_error_set(err, "%s: is not what TLS needs", options->tls_ca_file);
		}
	}
	free(authorities);
	free(certificate);
	free(key);
	return credentials;
}

bool cg_client__token(
    const struct callgate_options *options, char token[CG_CLIENT_TOKEN_BYTES], struct cg_error *err)
{
	size_t len = 0;

	token[0] = '\0';
	if (options->token != NULL) {
		(void)snprintf(token, CG_CLIENT_TOKEN_BYTES, "%s", options->token);
		return true;
	}
	if (options->token_file == NULL) {
		return true;
	}
	char *text = read_text(options->token_file, CG_CLIENT_TOKEN_BYTES - 1, err);
	if (text == NULL) {
		return false;
	}
	/* A token has neither spaces nor control characters: it ends at the first. */
	while (text[len] > ' ' && text[len] < 0x7f) {
		len++;
	}
	bool good = len > 0 && text[len + strspn(text + len, " \t\r\n")] == '\0';
	if (good) {
		memcpy(token, text, len);
		token[len] = '\0';
	} else {
		cg_error_set(err, "%s: must hold one token and nothing else", options->token_file);
	}
	free(text);
	return good;
}
