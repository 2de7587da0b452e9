/*
 * For our own bugs, never for bytes that a peer sent.  Stays in release builds: every
 * operation is idempotent by its key, so a crash is cheaper than a wrong balance.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CG_BASE_ASSERT_H
#define CG_BASE_ASSERT_H

#include <stddef.h>

_Noreturn void cg_assert_fail(const char *what, const char *file, int line);

#define CG_ASSERT(what)  ((what) ? (void)0 : cg_assert_fail(#what, __FILE__, __LINE__))
#define CG_UNREACHABLE() cg_assert_fail("unreachable", __FILE__, __LINE__)

#endif /* CG_BASE_ASSERT_H */
