/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/resolve.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HOST_BYTES 256

/* Belongs to the thread and to the loop; the one who leaves last frees it. */
struct cg_resolve {
	pthread_mutex_t lock; /* of the next three */
	struct cg_wake *wake; /* NULL once abandoned */
	bool has_ended;
	char address[CG_RESOLVE_ADDRESS_BYTES]; /* empty: none */
	char host[HOST_BYTES];
	void (*on_end)(void *owner, const char *address);
	void *owner;
};

static void destroy(struct cg_resolve *resolve)
{
	(void)pthread_mutex_destroy(&resolve->lock);
	free(resolve);
}

static void look_up(const char *host, char *address)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *found = NULL;

	address[0] = '\0';
	if (getaddrinfo(host, NULL, &hints, &found) != 0 || found == NULL) {
		return;
	}
	if (getnameinfo(found->ai_addr, found->ai_addrlen, address, CG_RESOLVE_ADDRESS_BYTES, NULL,
	        0, NI_NUMERICHOST) != 0) {
		address[0] = '\0';
	}
	freeaddrinfo(found);
}

static void *thread_main(void *arg)
{
	struct cg_resolve *resolve = arg;
	char address[CG_RESOLVE_ADDRESS_BYTES];

	look_up(resolve->host, address);
	(void)pthread_mutex_lock(&resolve->lock);
	bool is_abandoned = resolve->wake == NULL;
	memcpy(resolve->address, address, sizeof address);
	resolve->has_ended = true;
	if (!is_abandoned) {
		cg_wake_send(resolve->wake);
	}
	(void)pthread_mutex_unlock(&resolve->lock);
	if (is_abandoned) {
		destroy(resolve);
	}
	return NULL;
}

static void on_wake(void *arg)
{
	struct cg_resolve *resolve = arg;
	void (*on_end)(void *, const char *) = resolve->on_end;
	void *owner = resolve->owner;
	char address[CG_RESOLVE_ADDRESS_BYTES];

	/* The thread still holds the lock for a moment after it sent the wake. */
	(void)pthread_mutex_lock(&resolve->lock);
	memcpy(address, resolve->address, sizeof address);
	(void)pthread_mutex_unlock(&resolve->lock);
	cg_wake_close(resolve->wake);
	destroy(resolve);
	on_end(owner, address[0] == '\0' ? NULL : address);
}

struct cg_resolve *cg_resolve__start(struct cg_loop *loop, const char *host,
    void (*on_end)(void *owner, const char *address), void *owner)
{
	struct cg_resolve *resolve = calloc(1, sizeof *resolve);
	pthread_t thread;

	CG_ASSERT(resolve != NULL);
	CG_ASSERT(pthread_mutex_init(&resolve->lock, NULL) == 0);
	(void)snprintf(resolve->host, sizeof resolve->host, "%s", host);
	resolve->on_end = on_end;
	resolve->owner = owner;
	resolve->wake = cg_wake_create(loop, on_wake, resolve);
	if (pthread_create(&thread, NULL, thread_main, resolve) == 0) {
		(void)pthread_detach(thread);
	} else {
		/* No thread: as if there were no address; it is tried again like any failure. */
		cg_wake_send(resolve->wake);
	}
	return resolve;
}

void cg_resolve__abandon(struct cg_resolve *resolve)
{
	(void)pthread_mutex_lock(&resolve->lock);
	bool has_ended = resolve->has_ended;
	cg_wake_close(resolve->wake);
	resolve->wake = NULL;
	(void)pthread_mutex_unlock(&resolve->lock);
	if (has_ended) {
		destroy(resolve);
	}
}

static bool is_name(const char *host)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return host[0] != '\0' && host[0] != '/' && host[0] != '@' && strchr(host, ',') == NULL &&
	    strlen(host) < HOST_BYTES && inet_pton(AF_INET, host, bytes) != 1 &&
	    inet_pton(AF_INET6, host, bytes) != 1;
}

bool cg_resolve__is_needed(const char *url, char *host)
{
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	const char *name = "";
	bool has_address = false;

	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
		if (o->val != NULL && strcmp(o->keyword, "host") == 0) {
			name = o->val;
		} else if (o->val != NULL && strcmp(o->keyword, "hostaddr") == 0) {
			has_address = o->val[0] != '\0';
		}
	}
	bool is_needed = !has_address && is_name(name);
	if (is_needed) {
		(void)snprintf(host, HOST_BYTES, "%s", name);
	}
	PQconninfoFree(options);
	return is_needed;
}
