/*
 * Who calls, and whether he may: a token if he sends one, else his certificate, else what the
 * door gives to everybody.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include <grpc/grpc_security.h>
#include <grpc/slice.h>

#include "rpc/rpc_internal.h"

#define SCHEME "bearer "

/* Notes it; what the caller is told. */
static struct cg_rpc_failure denial(
    struct cg_rpc_server *server, enum cg_refusal refusal, const char *said)
{
	cg_server__note_refusal(server, refusal);
	return (struct cg_rpc_failure){.status = CG_DENIED,
	    .unauthenticated = refusal == CG_REFUSAL_UNAUTHENTICATED,
	    .forbidden = refusal == CG_REFUSAL_PERMISSION,
	    .said = said};
}

static bool refuse(struct cg_rpc_slot *slot, enum cg_refusal refusal, const char *said)
{
	struct cg_rpc_failure failure = denial(slot->server, refusal, said);

	cg_slot__fail(slot, &failure);
	return true;
}

/* How many `authorization` headers there are; *ret_value is the last one's. */
static size_t find_authorization(const struct cg_rpc_slot *slot, struct cg_view *ret_value)
{
	size_t count = 0;

	for (size_t i = 0; i < slot->metadata.count; i++) {
		const grpc_metadata *pair = &slot->metadata.metadata[i];
		if (grpc_slice_str_cmp(pair->key, "authorization") == 0) {
			*ret_value =
			    (struct cg_view){(const char *)GRPC_SLICE_START_PTR(pair->value),
			        GRPC_SLICE_LENGTH(pair->value)};
			count++;
		}
	}
	return count;
}

/* Strips "Bearer " in any case; false: it is of another scheme, or no token. */
static bool take_scheme(struct cg_view *value)
{
	static const char scheme[] = SCHEME;
	size_t len = sizeof scheme - 1;

	if (value->len < len + CG_TOKEN_MIN_BYTES || value->len > len + CG_TOKEN_MAX_BYTES) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		char letter = value->data[i];
		letter = (char)(letter >= 'A' && letter <= 'Z' ? letter - 'A' + 'a' : letter);
		if (letter != scheme[i]) {
			return false;
		}
	}
	*value = (struct cg_view){value->data + len, value->len - len};
	return true;
}

/* The first of a certificate's names of one kind that stands among the credentials. */
static const struct cg_credential *find_name(struct cg_rpc_server *server,
    const grpc_auth_context *context, const char *kind, const char *prefix)
{
	grpc_auth_property_iterator it = grpc_auth_context_find_properties_by_name(context, kind);
	const grpc_auth_property *property;
	char text[1024];

	while ((property = grpc_auth_property_iterator_next(&it)) != NULL) {
		struct cg_buffer line;
		struct cg_digest digest;
		cg_buffer_init(&line, text, sizeof text);
		cg_buffer_printf(&line, "%s", prefix);
		cg_buffer_bytes(&line, property->value, property->value_length);
		if (line.overflow) {
			continue; /* No line of the file is so long. */
		}
		cg_crypto_digest(server->crypto, cg_buffer_view(&line), &digest);
		const struct cg_credential *found =
		    cg_credentials_find(server->credentials, &digest, false);
		if (found != NULL) {
			return found;
		}
	}
	return NULL;
}

static const struct cg_credential *find_certificate(const struct cg_rpc_slot *slot)
{
	grpc_auth_context *context = grpc_call_auth_context(slot->call);
	const struct cg_credential *found = NULL;

	if (context == NULL) {
		return NULL;
	}
	if (grpc_auth_context_peer_is_authenticated(context) != 0) {
		found = find_name(slot->server, context, GRPC_PEER_URI_PROPERTY_NAME, "uri:");
		if (found == NULL) {
			found =
			    find_name(slot->server, context, GRPC_PEER_DNS_PROPERTY_NAME, "dns:");
		}
	}
	grpc_auth_context_release(context);
	return found;
}

static void become(struct cg_rpc_slot *slot, const struct cg_credential *credential)
{
	slot->caller = (struct cg_rpc_caller){.roles = credential->roles, .credential = credential};
}

/* Refuses whoever shows something that is not valid, even where he could do without. */
static bool refuse_unknown(struct cg_rpc_slot *slot)
{
	const struct cg_rpc_server *server = slot->server;
	const struct cg_rpc_door *door = slot->line->door;
	const struct cg_credential *found;
	struct cg_view value = {NULL, 0};
	struct cg_digest digest;

	slot->caller = (struct cg_rpc_caller){.roles = door->config.roles};
	size_t count = server->credentials != NULL ? find_authorization(slot, &value) : 0;
	if (count > 1) {
		return refuse(slot, CG_REFUSAL_UNAUTHENTICATED,
		    "there is more than one authorization header");
	}
	if (count == 1) {
		if (!take_scheme(&value)) {
			return refuse(slot, CG_REFUSAL_UNAUTHENTICATED,
			    "authorization must be \"Bearer \" and a token");
		}
		cg_crypto_digest(server->crypto, value, &digest);
		found = cg_credentials_find(server->credentials, &digest, true);
		if (found == NULL) {
			return refuse(
			    slot, CG_REFUSAL_UNAUTHENTICATED, "the token is not valid (any more)");
		}
		become(slot, found);
		return false;
	}
	if (door->tls != NULL && server->credentials != NULL) {
		found = find_certificate(slot);
		if (found != NULL) {
			become(slot, found);
			return false;
		}
	}
	if (slot->caller.roles == 0) {
		return refuse(slot, CG_REFUSAL_UNAUTHENTICATED,
		    door->tls != NULL
		        ? "neither a token nor a certificate with a name that is known here"
		        : "a token is needed: authorization: Bearer <token>");
	}
	return false;
}

bool cg_guard__refuse(struct cg_rpc_slot *slot, unsigned roles)
{
	char said[64];

	if (refuse_unknown(slot)) {
		return true;
	}
	if ((slot->caller.roles & roles) != 0) {
		return false;
	}
	(void)snprintf(said, sizeof said, "this takes the role %s", cg_roles_name(roles));
	return refuse(slot, CG_REFUSAL_PERMISSION, said);
}

bool cg_guard__denies(struct cg_rpc_server *server, const struct cg_rpc_caller *caller,
    const struct cg_uuid *company, struct cg_rpc_failure *ret_failure)
{
	if (cg_credential_sees(caller->credential, company)) {
		return false;
	}
	*ret_failure =
	    denial(server, CG_REFUSAL_PERMISSION, "the credential is not for this company");
	return true;
}

bool cg_guard__denies_request(struct cg_rpc_server *server, const struct cg_rpc_caller *caller,
    const struct cg_request *req, struct cg_rpc_failure *ret_failure)
{
	int64_t retry_after_ms = 0;

	if (cg_guard__denies(server, caller, &req->company, ret_failure)) {
		return true;
	}
	if (req->method != CG_METHOD_AUTHORIZE ||
	    cg_rate_admits(&server->rate, &req->company, cg_loop_clock_ns(), &retry_after_ms)) {
		return false;
	}
	cg_server__note_refusal(server, CG_REFUSAL_RATE);
	*ret_failure = (struct cg_rpc_failure){.status = CG_FULL,
	    .reason = CG_REASON_TOO_MANY_AUTHORIZES,
	    .retry_after_ms = retry_after_ms};
	return true;
}

bool cg_guard__is_revoked(
    const struct cg_rpc_server *server, const struct cg_credential *credential)
{
	if (credential == NULL) {
		return false;
	}
	const struct cg_credential *has =
	    cg_credentials_find(server->credentials, &credential->digest, credential->is_token);
	return has == NULL || !cg_credential_equal(has, credential);
}

/* Ends the watches that were let in by what is not there any more. */
static void end_watches(struct cg_rpc_server *server)
{
	for (struct cg_list *link = server->watches_open.next; link != &server->watches_open;
	     link = link->next) {
		struct cg_rpc_watch *watch = CG_CONTAINER_OF(link, struct cg_rpc_watch, link);
		if (!cg_guard__is_revoked(server, watch->credential)) {
			continue;
		}
		/* The end of the call, which follows, takes the watch out of this list. */
		server->counters.watches_revoked++;
		(void)grpc_call_cancel_with_status(watch->call, GRPC_STATUS_UNAUTHENTICATED,
		    "the credential was taken away or changed", NULL);
	}
}

static void reload_credentials(struct cg_rpc_server *server)
{
	struct cg_credentials *credentials = NULL;
	struct cg_error err = {{0}};

	if (cg_credentials_read(
	        server->crypto, server->config.credentials_file, &credentials, &err) != CG_OK) {
		server->counters.reloads_failed++;
		cg_log(CG_LOG_ERROR, "credentials were not taken over", "reason", err.text, NULL);
		return;
	}
	cg_credentials_unref(server->credentials);
	server->credentials = credentials;
	server->counters.reloads++;
	cg_log(CG_LOG_INFO, "credentials were taken over", "count", cg_log_int(credentials->count),
	    NULL);
	end_watches(server);
	cg_sessions__end_revoked(server);
}

void cg_guard__reload(struct cg_rpc_server *server)
{
	if (server->credentials != NULL) {
		reload_credentials(server);
	}
	for (uint32_t i = 0; i < server->door_count; i++) {
		if (server->doors[i].tls != NULL) {
			(void)cg_rpc_tls_reload(server->doors[i].tls);
		}
	}
}
