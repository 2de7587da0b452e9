/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/door.h"

#include "rpc/roles.h"

static bool begins_with(struct cg_view text, struct cg_view prefix)
{
	return text.len >= prefix.len && memcmp(text.data, prefix.data, prefix.len) == 0;
}

/* Takes what stands before the first `separator` off `rest`; all where there is none. */
static struct cg_view take_until(struct cg_view *rest, char separator, bool *ret_found)
{
	size_t len = 0;

	while (len < rest->len && rest->data[len] != separator) {
		len++;
	}
	struct cg_view word = {rest->data, len};
	*ret_found = len < rest->len;
	len += *ret_found ? 1 : 0;
	*rest = (struct cg_view){rest->data + len, rest->len - len};
	return word;
}

static enum cg_status parse_one(
    struct cg_view text, bool has_credentials, struct cg_door_config *door, struct cg_error *err)
{
	static const struct cg_view tls = {"tls:", 4};
	static const struct cg_view unix_prefix = {"unix:", 5};
	bool has_roles = false;
	struct cg_view address = take_until(&text, '=', &has_roles);

	*door = (struct cg_door_config){.kind = CG_DOOR_LOOPBACK};
	if (begins_with(address, tls)) {
		door->kind = CG_DOOR_TLS;
		address = (struct cg_view){address.data + tls.len, address.len - tls.len};
	} else if (begins_with(address, unix_prefix)) {
		door->kind = CG_DOOR_UNIX;
	}
	if (address.len >= sizeof door->address) {
		cg_error_set(
		    err, "listen on %.*s: a path has 1..107 bytes", (int)address.len, address.data);
		return CG_INVALID;
	}
	memcpy(door->address, address.data, address.len);
	if (has_roles && !cg_roles_parse(text, '+', &door->roles)) {
		cg_error_set(err,
		    "listen on %s: after = come roles, of gate, billing and admin, separated by +",
		    door->address);
		return CG_INVALID;
	}
	if (!has_roles && !has_credentials && door->kind == CG_DOOR_UNIX) {
		door->roles = CG_ROLES_ALL;
	}
	return CG_OK;
}

enum cg_status cg_doors_parse(const char *text, bool has_credentials,
    struct cg_door_config *ret_doors, uint32_t doors_max, uint32_t *ret_count, struct cg_error *err)
{
	struct cg_view rest = cg_view_of(text);
	bool has_more = true;

	for (*ret_count = 0; has_more; (*ret_count)++) {
		struct cg_view one = take_until(&rest, ',', &has_more);
		if (*ret_count == doors_max) {
			cg_error_set(err, "listen: there may be %u addresses", doors_max);
			return CG_INVALID;
		}
		enum cg_status status =
		    parse_one(one, has_credentials, &ret_doors[*ret_count], err);
		if (status != CG_OK) {
			return status;
		}
	}
	return CG_OK;
}
