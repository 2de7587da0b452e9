/*
 * The credentials that callers show: tokens and client certificates, from one file.
 *
 *     # what                  roles          companies        name, for the log
 *     sha256:9f86d081...      gate           *                dialler
 *     sha256:60303ae2...      billing,admin  0b1c...,77aa...  reseller
 *     uri:spiffe://here/crm   billing        *                crm
 *     dns:pbx.example.org     gate           *
 *
 * A token stands there as the SHA-256 of its text, in hexadecimal; a certificate as a subject
 * alternative name that it has.  What was read is a snapshot that never changes: a new reading
 * makes a new one, and whoever still works with the old one keeps it by a reference.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_CREDENTIALS_H
#define CG_RPC_CREDENTIALS_H

#include "base/base.h"
#include "rpc/crypto.h"

#define CG_CREDENTIALS_MAX          1024
#define CG_CREDENTIALS_LINE_BYTES   16384
#define CG_CREDENTIAL_COMPANIES_MAX 256
#define CG_CREDENTIAL_NAME_BYTES    64

/* Tokens shorter than this are not looked at: 128 random bits are 22 characters of base64. */
#define CG_TOKEN_MIN_BYTES 22
#define CG_TOKEN_MAX_BYTES 512

struct cg_credential {
	struct cg_digest digest; /* of the token, or of the line's "uri:..." or "dns:..." */
	bool is_token;
	unsigned roles;
	/* The companies it is bound to, ascending; NULL: it is for all. */
	struct cg_uuid *companies;
	uint32_t company_count;
	char name[CG_CREDENTIAL_NAME_BYTES]; /* empty: none */
};

struct cg_credentials {
	uint32_t references;
	uint32_t count;
	struct cg_credential all[];
};

/*
 * Reads a file; the caller has the first reference.  CG_INVALID: `err` names the line; a file that
 * others than its owner may write is refused, and so is one without a single credential.
 */
enum cg_status cg_credentials_read(struct cg_crypto *crypto, const char *path,
    struct cg_credentials **ret_credentials, struct cg_error *err);

struct cg_credentials *cg_credentials_ref(struct cg_credentials *credentials);
void cg_credentials_unref(struct cg_credentials *credentials); /* NULL is allowed */

/* NULL: there is none.  Every one is compared with, each in constant time. */
const struct cg_credential *cg_credentials_find(
    const struct cg_credentials *credentials, const struct cg_digest *digest, bool is_token);

/* Whether it is bound to companies and this is none of them; NULL: it is nobody's, and sees all. */
bool cg_credential_sees(const struct cg_credential *credential, const struct cg_uuid *company);

/* Whether both admit the same. */
bool cg_credential_equal(const struct cg_credential *a, const struct cg_credential *b);

#endif /* CG_RPC_CREDENTIALS_H */
