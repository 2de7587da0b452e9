/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/roles.h"

unsigned cg_roles_of(enum cg_method method)
{
	switch (method) {
	case CG_METHOD_AUTHORIZE:
	case CG_METHOD_START:
	case CG_METHOD_STOP:
	case CG_METHOD_SETTLE:
	case CG_METHOD_CANCEL:
	case CG_METHOD_ADOPT:
		return CG_ROLE_GATE;
	case CG_METHOD_GET_WALLET:
	case CG_METHOD_GET_BALANCE:
	case CG_METHOD_GET_CALL:
	case CG_METHOD_LIST_CALLS:
		return CG_ROLES_READ;
	case CG_METHOD_CREATE_WALLET:
	case CG_METHOD_UPDATE_WALLET:
	case CG_METHOD_CREDIT:
	case CG_METHOD_CHARGE:
		return CG_ROLE_ADMIN;
	case CG_METHOD_COUNT:
		break;
	}
	CG_UNREACHABLE();
}

const char *cg_roles_name(unsigned roles)
{
	if ((roles & CG_ROLE_GATE) != 0) {
		return "gate";
	}
	return (roles & CG_ROLE_BILLING) != 0 ? "billing" : "admin";
}

static unsigned role_named(struct cg_view name)
{
	static const struct {
		const char *name;
		unsigned role;
	} roles[] = {
	    {"gate", CG_ROLE_GATE}, {"billing", CG_ROLE_BILLING}, {"admin", CG_ROLE_ADMIN}};

	for (size_t i = 0; i < CG_COUNT_OF(roles); i++) {
		if (cg_view_equal(name, cg_view_of(roles[i].name))) {
			return roles[i].role;
		}
	}
	return 0;
}

bool cg_roles_parse(struct cg_view text, char separator, unsigned *ret_roles)
{
	unsigned roles = 0;

	if (cg_view_equal(text, CG_VIEW_LITERAL("*"))) {
		*ret_roles = CG_ROLES_ALL;
		return true;
	}
	for (size_t at = 0; at <= text.len;) {
		size_t end = at;
		while (end < text.len && text.data[end] != separator) {
			end++;
		}
		unsigned role = role_named((struct cg_view){text.data + at, end - at});
		if (role == 0) {
			return false;
		}
		roles |= role;
		at = end + 1;
	}
	*ret_roles = roles;
	return true;
}
