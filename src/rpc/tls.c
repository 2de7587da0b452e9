/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <grpc/grpc_security.h>

#include "rpc/crypto.h"

#define ADDRESS "external:callgate"

/* Certificates with their chains are a few kilobytes; a bundle of all public authorities is 250. */
#define PEM_MAX_BYTES ((size_t)1024 * 1024)

#define LOOK_EVERY_MS 1000

enum {
	CERTIFICATE,
	KEY,
	AUTHORITIES,
	FILE_COUNT
};

/* A file as it was when it was looked at. */
struct stamp {
	struct timespec changed_at;
	ino_t inode;
	off_t size;
};

struct cg_rpc_tls {
	struct cg_loop *loop;
	struct cg_rpc_counters *counters;
	const char *paths[FILE_COUNT];
	struct stamp stamps[FILE_COUNT];
	char *pems[FILE_COUNT]; /* what is in use, or will be with the next handshake */
	bool is_new;            /* gRPC has not been given them yet */
	uint64_t looked_at_ms;
	/* gRPC's, an object with a table of functions; it lives as long as the server. */
	void *handler;
	grpc_server_credentials *credentials;
};

static struct stamp stamp_of(const char *path)
{
	struct stat stat_of_it;

	if (stat(path, &stat_of_it) != 0) {
		return (struct stamp){.size = -1};
	}
	return (struct stamp){
	    .changed_at = stat_of_it.st_mtim,
	    .inode = stat_of_it.st_ino,
	    .size = stat_of_it.st_size,
	};
}

static bool is_same(const struct stamp *a, const struct stamp *b)
{
	return a->inode == b->inode && a->size == b->size &&
	    a->changed_at.tv_sec == b->changed_at.tv_sec &&
	    a->changed_at.tv_nsec == b->changed_at.tv_nsec;
}

static bool have_changed(const struct cg_rpc_tls *tls)
{
	for (size_t i = 0; i < FILE_COUNT; i++) {
		struct stamp now = stamp_of(tls->paths[i]);
		if (!is_same(&now, &tls->stamps[i])) {
			return true;
		}
	}
	return false;
}

/* A file as a terminated text; NULL: `err` says why. */
static char *read_text(const char *path, struct cg_error *err)
{
	FILE *file = fopen(path, "re");
	char *text = malloc(PEM_MAX_BYTES + 1);

	CG_ASSERT(text != NULL);
	if (file == NULL) {
		cg_error_set(err, "%s: %s", path, strerror(errno));
		free(text);
		return NULL;
	}
	size_t len = fread(text, 1, PEM_MAX_BYTES + 1, file);
	bool good = ferror(file) == 0 && len <= PEM_MAX_BYTES;
	(void)fclose(file);
	if (!good) {
		cg_error_set(err, "%s: cannot be read, or is larger than 1 MiB", path);
		free(text);
		return NULL;
	}
	text[len] = '\0';
	char *kept = realloc(text, len + 1);
	CG_ASSERT(kept != NULL);
	return kept;
}

static void free_pems(char *pems[FILE_COUNT])
{
	for (size_t i = 0; i < FILE_COUNT; i++) {
		free(pems[i]);
		pems[i] = NULL;
	}
}

/* Takes what the files hold, if it fits together; else what was there stays. */
static enum cg_status read_all(struct cg_rpc_tls *tls, struct cg_error *err)
{
	char *pems[FILE_COUNT] = {NULL};
	enum cg_status status = CG_OK;

	for (size_t i = 0; i < FILE_COUNT && status == CG_OK; i++) {
		tls->stamps[i] = stamp_of(tls->paths[i]);
		pems[i] = read_text(tls->paths[i], err);
		status = pems[i] == NULL ? CG_INVALID : CG_OK;
	}
	if (status == CG_OK) {
		status = cg_crypto_check_pems(pems[CERTIFICATE], pems[KEY], pems[AUTHORITIES], err);
	}
	if (status != CG_OK) {
		cg_error_wrap(err, "TLS");
		free_pems(pems);
		return status;
	}
	free_pems(tls->pems);
	memcpy(tls->pems, pems, sizeof pems);
	tls->is_new = true;
	return CG_OK;
}

static bool reload(struct cg_rpc_tls *tls)
{
	struct cg_error err = {{0}};

	if (read_all(tls, &err) != CG_OK) {
		tls->counters->reloads_failed++;
		cg_log(CG_LOG_ERROR, "certificates were not taken over", "reason", err.text, NULL);
		return false;
	}
	tls->counters->reloads++;
	cg_log(CG_LOG_INFO, "certificates were taken over", "file", tls->paths[CERTIFICATE], NULL);
	return true;
}

/*
 * Asked by gRPC before each handshake, on the loop's thread, which hands connections over.
 * Reading three small files there costs less than the handshake that follows.
 */
static grpc_ssl_certificate_config_reload_status on_handshake(
    void *owner, grpc_ssl_server_certificate_config **ret_config)
{
	struct cg_rpc_tls *tls = owner;
	uint64_t now_ms = cg_loop_now_ms(tls->loop);

	if (now_ms >= tls->looked_at_ms + LOOK_EVERY_MS) {
		tls->looked_at_ms = now_ms;
		if (have_changed(tls)) {
			(void)reload(tls);
		}
	}
	if (!tls->is_new) {
		return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
	}
	grpc_ssl_pem_key_cert_pair pair = {
	    .private_key = tls->pems[KEY], .cert_chain = tls->pems[CERTIFICATE]};
	*ret_config = grpc_ssl_server_certificate_config_create(tls->pems[AUTHORITIES], &pair, 1);
	tls->is_new = false;
	return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

enum cg_status cg_rpc_tls_open(struct cg_loop *loop, const struct cg_rpc_tls_files *files,
    struct cg_rpc_counters *counters, struct cg_rpc_tls **ret_tls, struct cg_error *err)
{
	struct cg_rpc_tls *tls = calloc(1, sizeof *tls);

	CG_ASSERT(tls != NULL);
	tls->loop = loop;
	tls->counters = counters;
	tls->paths[CERTIFICATE] = files->certificate;
	tls->paths[KEY] = files->key;
	tls->paths[AUTHORITIES] = files->client_authorities;
	tls->looked_at_ms = cg_loop_now_ms(loop);
	enum cg_status status = read_all(tls, err);
	if (status != CG_OK) {
		free(tls);
		return status;
	}
	*ret_tls = tls;
	return CG_OK;
}

/* The argument points to `handler`, which gRPC writes; there is nothing to copy or to free. */
static void *copy_nothing(void *p)
{
	return p;
}

static void destroy_nothing(void *p)
{
	(void)p;
}

static int compare_pointers(void *a, void *b)
{
	return ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

grpc_arg cg_rpc_tls_arg(struct cg_rpc_tls *tls)
{
	static const grpc_arg_pointer_vtable vtable = {
	    .copy = copy_nothing, .destroy = destroy_nothing, .cmp = compare_pointers};
	static char key[] = ADDRESS;

	return (grpc_arg){
	    .type = GRPC_ARG_POINTER,
	    .key = key,
	    .value.pointer = {.p = &tls->handler, .vtable = &vtable},
	};
}

enum cg_status cg_rpc_tls_attach(struct cg_rpc_tls *tls, grpc_server *server, struct cg_error *err)
{
	tls->credentials = grpc_ssl_server_credentials_create_with_options(
	    grpc_ssl_server_credentials_create_options_using_config_fetcher(
	        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, on_handshake, tls));
	CG_ASSERT(tls->credentials != NULL);
	/* Its answer is the port, and an address of this kind has none. */
	(void)grpc_server_add_http2_port(server, ADDRESS, tls->credentials);
	if (tls->handler == NULL) {
		cg_error_set(err, "TLS: this gRPC (%s) takes no connections from outside",
		    grpc_version_string());
		return CG_INTERNAL;
	}
	return CG_OK;
}

/*
 * The handler is a C++ object of gRPC's (TcpServerFdHandler) with three virtual functions: two
 * destructors and
 *     void Handle(int listener_fd, int fd, grpc_byte_buffer *already_read)
 * It has been so from gRPC 1.19 on, and gRPC's own C++ library, compiled apart from the core,
 * relies on it.  C has no other way in.
 */
void cg_rpc_tls_take(struct cg_rpc_tls *tls, int fd)
{
	typedef void (*handle)(void *self, int listener_fd, int fd, grpc_byte_buffer *already_read);
	handle *table;

	memcpy(&table, tls->handler, sizeof(void *));
	table[2](tls->handler, -1, fd, NULL);
}

bool cg_rpc_tls_reload(struct cg_rpc_tls *tls)
{
	return reload(tls);
}

void cg_rpc_tls_close(struct cg_rpc_tls *tls)
{
	if (tls == NULL) {
		return;
	}
	if (tls->credentials != NULL) {
		grpc_server_credentials_release(tls->credentials);
	}
	free_pems(tls->pems);
	free(tls);
}
