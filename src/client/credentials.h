/*
 * What a client shows to its server, and which servers it trusts: read from files when the client
 * is created.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_CLIENT_CREDENTIALS_H
#define CG_CLIENT_CREDENTIALS_H

#include <callgate/client.h>
#include <grpc/grpc_security.h>

#include "base/base.h"

#define CG_CLIENT_TOKEN_BYTES 4096

/* For the channel: TLS where `tls_ca_file` is set, else none.  NULL: `err` says which file. */
grpc_channel_credentials *cg_client__credentials(
    const struct callgate_options *options, struct cg_error *err);

/*
 * The token, given or read: "" where there is none; the file's first line, without spaces at its
 * end.  False: `err` says why.
 */
bool cg_client__token(const struct callgate_options *options, char token[CG_CLIENT_TOKEN_BYTES],
    struct cg_error *err);

#endif /* CG_CLIENT_CREDENTIALS_H */
