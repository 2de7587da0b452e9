/*
 * The little of OpenSSL that the door needs: digests of secrets, compared in constant time, and
 * whether PEM texts are what they are meant to be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_CRYPTO_H
#define CG_RPC_CRYPTO_H

#include "base/base.h"

#define CG_DIGEST_BYTES 32

struct cg_digest {
	uint8_t bytes[CG_DIGEST_BYTES];
};

struct cg_crypto;

/* What is looked up once and used for every digest. */
struct cg_crypto *cg_crypto_create(void);
void cg_crypto_destroy(struct cg_crypto *crypto);

/* SHA-256. */
void cg_crypto_digest(struct cg_crypto *crypto, struct cg_view text, struct cg_digest *ret_digest);

/* Takes equally long, whatever they hold. */
bool cg_crypto_equal(const struct cg_digest *a, const struct cg_digest *b);

/*
 * Whether `chain` begins with a certificate that `key` belongs to, and `authorities` holds one
 * at least; terminated PEM texts.  CG_INVALID: `err` says which is wrong, and never a secret.
 */
enum cg_status cg_crypto_check_pems(
    const char *chain, const char *key, const char *authorities, struct cg_error *err);

#endif /* CG_RPC_CRYPTO_H */
