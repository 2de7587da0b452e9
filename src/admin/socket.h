/*
 * The socket that admin listens on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_ADMIN_SOCKET_H
#define CG_ADMIN_SOCKET_H

#include "base/base.h"

#define CG_ADMIN_PATH_BYTES 108

struct cg_admin_socket {
	int fd;
	char path[CG_ADMIN_PATH_BYTES]; /* empty unless unix */
};

/* Binds and listens, non-blocking.  See cg_admin_open() for what it may answer. */
enum cg_status cg_admin_socket_open(
    const char *address, struct cg_admin_socket *ret_socket, struct cg_error *err);

/* Its path is gone; the descriptor is somebody else's to close. */
void cg_admin_socket_forget(const struct cg_admin_socket *socket);

#endif /* CG_ADMIN_SOCKET_H */
