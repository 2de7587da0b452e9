/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/failure.h"

#include <stdio.h>

#include "rpc/encode.h"

#define DETAIL_TYPE "type.googleapis.com/callgate.v1.ErrorDetail"

_Static_assert((int)CALLGATE__V1__ERROR_REASON__ERROR_REASON_TOO_MANY_AUTHORIZES ==
        (int)CG_REASON_TOO_MANY_AUTHORIZES,
    "reasons differ");

static grpc_status_code code_when_full(enum cg_reason reason)
{
	/* RESOURCE_EXHAUSTED is for our own limit alone: the store's and the ledger's pass. */
	return reason == CG_REASON_OUTBOX_FULL || reason == CG_REASON_STORE_UNAVAILABLE ||
	        reason == CG_REASON_LEDGER_UNAVAILABLE
	    ? GRPC_STATUS_UNAVAILABLE
	    : GRPC_STATUS_RESOURCE_EXHAUSTED;
}

grpc_status_code cg_rpc_failure_code(const struct cg_rpc_failure *failure)
{
	if (failure->unimplemented) {
		return GRPC_STATUS_UNIMPLEMENTED;
	}
	if (failure->unauthenticated) {
		return GRPC_STATUS_UNAUTHENTICATED;
	}
	if (failure->forbidden) {
		return GRPC_STATUS_PERMISSION_DENIED;
	}
	switch (failure->status) {
	case CG_INVALID:
		return GRPC_STATUS_INVALID_ARGUMENT;
	case CG_NOT_FOUND:
		return GRPC_STATUS_NOT_FOUND;
	case CG_WRONG_STATE:
		return GRPC_STATUS_FAILED_PRECONDITION;
	case CG_KEY_REUSED:
		return GRPC_STATUS_ALREADY_EXISTS;
	case CG_OUT_OF_RANGE:
		return GRPC_STATUS_OUT_OF_RANGE;
	case CG_FULL:
		return code_when_full(failure->reason);
	case CG_TIMEOUT:
	case CG_LOST:
	case CG_UNAVAILABLE:
	case CG_RECOVERING:
	case CG_CLOSING:
	case CG_DENIED: /* The server that refuses is behind us: nothing the caller can mend. */
		return failure->deadline_passed ? GRPC_STATUS_DEADLINE_EXCEEDED
		                                : GRPC_STATUS_UNAVAILABLE;
	case CG_INTERNAL:
		return GRPC_STATUS_INTERNAL;
	case CG_OK:
	case CG_STATUS_COUNT:
		break;
	}
	CG_UNREACHABLE();
}

static const char *state_name(enum cg_call_state state)
{
	static const char *const names[] = {"UNSPECIFIED", "AUTHORIZED", "METERING", "SETTLED",
	    "CANCELLED", "EXPIRED", "ABANDONED", "STOPPED"};

	return (size_t)state < CG_COUNT_OF(names) ? names[state] : names[0];
}

static const char *sentence_of(const struct cg_rpc_failure *failure)
{
	static const char *const sentences[] = {
	    [CG_REASON_NO_WALLET] = "the company has no wallet",
	    [CG_REASON_UNKNOWN_CALL] = "the call is not known",
	    [CG_REASON_WRONG_STATE] = "the state does not admit this",
	    [CG_REASON_KEY_REUSED] = "the key was used before with other content",
	    [CG_REASON_NO_PRICE] = "no rate covers this resource and destination",
	    [CG_REASON_TOO_MANY_IN_FLIGHT] = "too many requests are in flight",
	    [CG_REASON_OUTBOX_FULL] =
	        "the ledger lags too far behind: no new calls until it caught up",
	    [CG_REASON_STORE_UNAVAILABLE] = "the store is out of reach; retry with the same key",
	    [CG_REASON_LEDGER_UNAVAILABLE] = "the ledger is out of reach; retry with the same key",
	    [CG_REASON_RECOVERING] =
	        "the company's partition is being recovered; retry with the same key",
	    [CG_REASON_SHUTTING_DOWN] =
	        "the sidecar is shutting down; retry elsewhere with the same key",
	    [CG_REASON_TOKEN_TOO_OLD] =
	        "what follows this resume token is not kept any more; watch from now on",
	    [CG_REASON_WATCHER_TOO_SLOW] =
	        "the watcher reads too slowly; resume with the last token received",
	    [CG_REASON_TOO_MANY_AUTHORIZES] =
	        "the company asks for more calls in a second than are admitted; see retry_after_ms",
	};

	if (failure->unimplemented) {
		return "no such method, or the message is compressed: neither is served here";
	}
	const char *sentence =
	    (size_t)failure->reason < CG_COUNT_OF(sentences) ? sentences[failure->reason] : NULL;
	return sentence != NULL ? sentence : cg_status_sentence(failure->status);
}

void cg_rpc_failure_message(
    const struct cg_rpc_failure *failure, char text[CG_FAILURE_MESSAGE_BYTES])
{
	if (failure->said != NULL) {
		(void)snprintf(text, CG_FAILURE_MESSAGE_BYTES, "%s", failure->said);
	} else if (failure->field != NULL) {
		(void)snprintf(text, CG_FAILURE_MESSAGE_BYTES, "%s: must be %s", failure->field,
		    failure->bound == NULL ? "within its bound" : failure->bound);
	} else if (failure->status == CG_WRONG_STATE && failure->state != CG_CALL_NONE) {
		(void)snprintf(
		    text, CG_FAILURE_MESSAGE_BYTES, "the call is %s", state_name(failure->state));
	} else {
		(void)snprintf(text, CG_FAILURE_MESSAGE_BYTES, "%s", sentence_of(failure));
	}
}

/* Protobuf by hand: a varint, and a field of bytes. */
static void put_varint(struct cg_buffer *to, uint64_t value)
{
	while (value >= 0x80) {
		cg_buffer_uint(to, (value & 0x7F) | 0x80, 1);
		value >>= 7;
	}
	cg_buffer_uint(to, value, 1);
}

static void put_bytes(struct cg_buffer *to, unsigned field, struct cg_view bytes)
{
	put_varint(to, field << 3 | 2);
	put_varint(to, bytes.len);
	cg_buffer_bytes(to, bytes.data, bytes.len);
}

/* The packed ErrorDetail; empty where the arena is full. */
static struct cg_view pack_detail(const struct cg_rpc_failure *failure, struct cg_arena *arena)
{
	Callgate__V1__ErrorDetail detail = CALLGATE__V1__ERROR_DETAIL__INIT;

	detail.reason = (Callgate__V1__ErrorReason)failure->reason;
	if (failure->field != NULL) {
		detail.field = cg_arena_text(arena, cg_view_of(failure->field));
		detail.bound = cg_arena_text(arena, cg_view_of(failure->bound));
	}
	detail.state = (Callgate__V1__CallState)failure->state;
	detail.retry_after_ms = failure->retry_after_ms;
	if (failure->settled != NULL) {
		detail.settled = cg_rpc_encode_settle(failure->settled, arena);
	}
	if (arena->overflow) {
		return (struct cg_view){NULL, 0};
	}
	size_t len = callgate__v1__error_detail__get_packed_size(&detail);
	uint8_t *bytes = cg_arena_take(arena, len);
	if (bytes == NULL) {
		return (struct cg_view){NULL, 0};
	}
	(void)callgate__v1__error_detail__pack(&detail, bytes);
	return (struct cg_view){(const char *)bytes, len};
}

struct cg_view cg_rpc_failure_detail(const struct cg_rpc_failure *failure, struct cg_arena *arena)
{
	cg_arena_reset(arena);
	return pack_detail(failure, arena);
}

struct cg_view cg_rpc_failure_details(const struct cg_rpc_failure *failure, struct cg_arena *arena)
{
	char text[CG_FAILURE_MESSAGE_BYTES];
	struct cg_buffer any;
	struct cg_buffer status;

	cg_arena_reset(arena);
	struct cg_view detail = pack_detail(failure, arena);
	/* Tags and lengths need less than 64 bytes in all. */
	size_t any_bytes = detail.len + sizeof DETAIL_TYPE + 64;
	size_t status_bytes = any_bytes + sizeof text + 64;
	char *memory = cg_arena_take(arena, any_bytes + status_bytes);
	if (memory == NULL || arena->overflow) {
		return (struct cg_view){NULL, 0};
	}

	cg_buffer_init(&any, memory, any_bytes);
	put_bytes(&any, 1, CG_VIEW_LITERAL(DETAIL_TYPE));
	put_bytes(&any, 2, detail);

	cg_rpc_failure_message(failure, text);
	cg_buffer_init(&status, memory + any_bytes, status_bytes);
	put_varint(&status, 1u << 3);
	put_varint(&status, (uint64_t)cg_rpc_failure_code(failure));
	put_bytes(&status, 2, cg_view_of(text));
	put_bytes(&status, 3, cg_buffer_view(&any));
	CG_ASSERT(!any.overflow && !status.overflow);
	return cg_buffer_view(&status);
}
