/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include <stddef.h>

#include "base/assert.h"

static const char *const names[] = {
#define X(value, name, sentence) [CG_##value] = (name),
    CG_STATUS_MAP(X)
#undef X
};

static const char *const sentences[] = {
#define X(value, name, sentence) [CG_##value] = (sentence),
    CG_STATUS_MAP(X)
#undef X
};

const char *cg_status_name(enum cg_status status)
{
	CG_ASSERT((size_t)status < CG_STATUS_COUNT);
	return names[status];
}

const char *cg_status_sentence(enum cg_status status)
{
	CG_ASSERT((size_t)status < CG_STATUS_COUNT);
	return sentences[status];
}

bool cg_status_is_unknown(enum cg_status status)
{
	return status == CG_TIMEOUT || status == CG_LOST || status == CG_INTERNAL;
}
