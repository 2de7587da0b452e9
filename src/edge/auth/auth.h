/*
 * Whether a webhook comes from whom it says: over its raw bytes, before anything of it is read,
 * compared in constant time.  The one room that sees OpenSSL.
 *
 *   hmac    HMAC-SHA256 of "{timestamp}.{body}", in hexadecimal or base64; the timestamp (seconds
 *           or milliseconds, by its magnitude) at most tolerance_ms off
 *   bearer  Authorization: Bearer <secret>
 *   secret  X-Vapi-Secret: <secret>
 *
 * Two secrets may hold at once, while one takes the other's place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_EDGE_AUTH_AUTH_H
#define CG_EDGE_AUTH_AUTH_H

#include "base/base.h"

enum cg_auth_mode {
	CG_AUTH_HMAC,
	CG_AUTH_BEARER,
	CG_AUTH_SECRET,
};

struct cg_auth_config {
	enum cg_auth_mode mode;
	const char *secrets[2];       /* the second may be NULL; none may be empty */
	const char *signature_prefix; /* before the signature, "sha256="; may be empty */
	int64_t tolerance_ms;
};

enum cg_auth_outcome {
	CG_AUTH_GOOD,
	CG_AUTH_MISSING, /* no signature, timestamp or secret at all */
	CG_AUTH_WRONG,
	CG_AUTH_STALE, /* rightly signed, too long ago or ahead */
};

/* What the request said; NULL where it did not. */
struct cg_auth_claim {
	const char *signature;
	const char *timestamp;
	const char *authorization;
	const char *secret;
};

/* "hmac", "bearer", "secret"; false for another word. */
bool cg_auth_mode_of(const char *name, enum cg_auth_mode *ret_mode);

enum cg_auth_outcome cg_auth_check(const struct cg_auth_config *config,
    const struct cg_auth_claim *claim, struct cg_view body, int64_t now_ms);

/* For our own API: whether `said` is "Bearer <secret>". */
bool cg_auth_is_bearer(const char *said, const char *secret);

/* "good", "missing", ...: for logs and metrics. */
const char *cg_auth_outcome_name(enum cg_auth_outcome outcome);

/*
 * A JSON web token, HS256: base64url(header).base64url(claims).signature.  False where it does
 * not fit.
 */
bool cg_auth_sign_token(struct cg_view claims, const char *secret, char *to, size_t size);

#endif /* CG_EDGE_AUTH_AUTH_H */
