/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/crypto.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

struct cg_crypto {
	EVP_MD *sha256;
	EVP_MD_CTX *context;
};

struct cg_crypto *cg_crypto_create(void)
{
	struct cg_crypto *crypto = calloc(1, sizeof *crypto);

	CG_ASSERT(crypto != NULL);
	/* Looking an algorithm up costs more than using it. */
	crypto->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	crypto->context = EVP_MD_CTX_new();
	CG_ASSERT(crypto->sha256 != NULL && crypto->context != NULL);
	return crypto;
}

void cg_crypto_destroy(struct cg_crypto *crypto)
{
	EVP_MD_CTX_free(crypto->context);
	EVP_MD_free(crypto->sha256);
	free(crypto);
}

void cg_crypto_digest(struct cg_crypto *crypto, struct cg_view text, struct cg_digest *ret_digest)
{
	unsigned len = 0;

	CG_ASSERT(EVP_DigestInit_ex2(crypto->context, crypto->sha256, NULL) == 1);
	CG_ASSERT(text.len == 0 || EVP_DigestUpdate(crypto->context, text.data, text.len) == 1);
	CG_ASSERT(EVP_DigestFinal_ex(crypto->context, ret_digest->bytes, &len) == 1);
	CG_ASSERT(len == sizeof ret_digest->bytes);
}

bool cg_crypto_equal(const struct cg_digest *a, const struct cg_digest *b)
{
	return CRYPTO_memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* The first certificate of a text; NULL: it has none. */
static X509 *read_certificate(const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	X509 *certificate = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return certificate;
}

/* A key with a passphrase is asked for nothing: there is nobody to answer. */
static int no_passphrase(char *text, int size, int writes, void *owner)
{
	(void)text;
	(void)size;
	(void)writes;
	(void)owner;
	return -1;
}

static EVP_PKEY *read_key(const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY *key =
	    bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

	BIO_free(bio);
	return key;
}

enum cg_status cg_crypto_check_pems(
    const char *chain, const char *key, const char *authorities, struct cg_error *err)
{
	X509 *certificate = read_certificate(chain);
	EVP_PKEY *private_key = read_key(key);
	X509 *authority = read_certificate(authorities);
	const char *wrong = NULL;

	if (certificate == NULL) {
		wrong = "the certificate is no PEM text of one";
	} else if (private_key == NULL) {
		wrong = "the key is no PEM text of one without a passphrase";
	} else if (X509_check_private_key(certificate, private_key) != 1) {
		wrong = "the key is not the certificate's";
	} else if (authority == NULL) {
		wrong = "the authorities are no PEM text of certificates";
	}
	X509_free(certificate);
	EVP_PKEY_free(private_key);
	X509_free(authority);
	ERR_clear_error();
	if (wrong != NULL) {
		cg_error_set(err, "%s", wrong);
		return CG_INVALID;
	}
	return CG_OK;
}
