/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/bans.h"

static const struct cg_ban *find(const struct cg_bans *bans, uint64_t source)
{
	for (uint32_t i = 0; i < bans->count; i++) {
		if (bans->all[i].source == source) {
			return &bans->all[i];
		}
	}
	return NULL;
}

/* This source's, or a new one's place. */
static struct cg_ban *place_of(struct cg_bans *bans, uint64_t source)
{
	const struct cg_ban *known = find(bans, source);
	struct cg_ban *first = &bans->all[0];

	if (known != NULL) {
		return &bans->all[known - bans->all];
	}
	if (bans->count < CG_BANS_MAX) {
		return &bans->all[bans->count++];
	}
	for (uint32_t i = 1; i < CG_BANS_MAX; i++) {
		if (bans->all[i].until_ms < first->until_ms) {
			first = &bans->all[i];
		}
	}
	return first;
}

void cg_bans_add(struct cg_bans *bans, uint64_t source, uint64_t now_ms)
{
	if (source == 0) {
		return;
	}
	struct cg_ban *ban = place_of(bans, source);
	bool is_again = ban->source == source && now_ms < ban->until_ms + CG_BAN_LAST_MS;

	/* Its other connections flood too, for all of them it is one time. */
	if (is_again && now_ms < ban->until_ms) {
		return;
	}
	ban->length_ms = is_again ? 2 * ban->length_ms : CG_BAN_FIRST_MS;
	if (ban->length_ms > CG_BAN_LAST_MS) {
		ban->length_ms = CG_BAN_LAST_MS;
	}
	ban->source = source;
	ban->until_ms = now_ms + ban->length_ms;
}

bool cg_bans_hold(const struct cg_bans *bans, uint64_t source, uint64_t now_ms)
{
	const struct cg_ban *ban = source == 0 ? NULL : find(bans, source);

	return ban != NULL && now_ms < ban->until_ms;
}
