/*
 * The descriptors of what is served (a google.protobuf.FileDescriptorSet that protoc made when
 * this was built), looked through for the answers of reflection.  Nothing of gRPC here.
 *
 * A lookup walks through the descriptors, some tens of kilobytes, anew: reflection is for people
 * and their tools, who ask a few times.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_RPC_DESCRIPTORS_H
#define CG_RPC_DESCRIPTORS_H

#include "base/base.h"

/* One field of a message on the wire. */
struct cg_wire_field {
	uint32_t number;
	unsigned type;        /* 0 varint, 1 and 5 fixed, 2 bytes */
	uint64_t value;       /* of a varint */
	struct cg_view bytes; /* of type 2 */
};

/* Takes the next field off `rest`; false at the end, or where the bytes are no message. */
bool cg_wire_next(struct cg_view *rest, struct cg_wire_field *ret_field);

/* The whole set, as embedded. */
struct cg_view cg_descriptors_set(void);

/* A FileDescriptorProto of the set; false where there is none of that name. */
bool cg_descriptors_file(struct cg_view set, struct cg_view name, struct cg_view *ret_file);

/* That which defines a symbol by its full name ("callgate.v1.Gate.Authorize"). */
bool cg_descriptors_file_of(struct cg_view set, struct cg_view symbol, struct cg_view *ret_file);

/* Whether a full name is a message's. */
bool cg_descriptors_is_message(struct cg_view set, struct cg_view name);

/* Calls `each` with the full name of every service, in two views: package, name. */
void cg_descriptors_services(struct cg_view set,
    void (*each)(void *owner, struct cg_view package, struct cg_view name), void *owner);

#endif /* CG_RPC_DESCRIPTORS_H */
