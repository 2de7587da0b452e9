/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void cg_assert_fail(const char *what, const char *file, int line)
{
	/* stderr and not the log: the log's buffer may be what is broken. */
	(void)fprintf(stderr, "level=fatal msg=\"assertion failed\" what=\"%s\" at=%s:%d\n", what,
	    file, line);
	abort();
}
