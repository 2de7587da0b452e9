/*
 * A W3C trace context, as callers' libraries put it into a request's metadata: it goes into the
 * log lines about that request, and into the meta of the call.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_TRACE_H
#define CG_RPC_TRACE_H

#include "base/base.h"

/* The metadata's key, and meta's. */
#define CG_TRACE_KEY   "traceparent"
#define CG_TRACE_BYTES 55

/*
 * Whether this is a traceparent of version 00: "00-<32 hex>-<16 hex>-<2 hex>", in lower case, with
 * neither id all zero.  Whatever else is none, and is ignored: other versions have other forms.
 */
bool cg_trace_is_parent(struct cg_view text);

#endif /* CG_RPC_TRACE_H */
