/*
 * How much gRPC reads of a connection before others have their turn.
 *
 * gRPC reads a connection until there is nothing left, within one call of ours and in our thread:
 * whoever sends as fast as it reads has the loop for as long as he likes, and every request he
 * sends is kept (20 000 of them: 250 MB and a third of a second, before the first is seen here and
 * any limit holds).  No argument of gRPC's bounds that.  So its recvmsg() is ours: it counts the
 * frames, and after CG_PACE_WORK of a connection says that there are no more for now.  At the end
 * of the turn epoll is told to look again.
 *
 * Sessions are not held back: their messages are DATA, which has HTTP/2's flow control and is not
 * counted.  With TLS, where nobody can tell what is read, they are, and go on in the next turn.
 *
 * The functions of libc that this takes the place of do for all other descriptors what they did
 * before.  One process has one pace.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_PACE_H
#define CG_RPC_PACE_H

#include "base/base.h"

/*
 * Frames, and for long ones of headers more: as many requests as a busy client has in flight on a
 * connection, or a block of headers of 4 KiB.
 */
#define CG_PACE_WORK 64

/* Descriptors from here on are not held back. */
#define CG_PACE_FD_MAX 65536

/*
 * gRPC is about to have this connection.  `is_encrypted`: its frames cannot be told apart, so what
 * is counted is how often it is read.
 */
void cg_pace_begin(int fd, bool is_encrypted);

/*
 * A turn of the loop ends: what was held back may go on in the next one.  `on_vain` is told of a
 * connection that was held back CG_PACE_VAIN_MAX times since anything came of what it says: its
 * requests are refused inside gRPC, or it sends none.
 */
#define CG_PACE_VAIN_MAX 32

void cg_pace_on_turn(void (*on_vain)(void *owner, int fd), void *owner);

/* Something came of it: a request or a session's message arrived, or ended. */
void cg_pace_note_use(int fd);

/* How often a connection was held back.  Only ever grows. */
uint64_t cg_pace_count(void);

#endif /* CG_RPC_PACE_H */
