/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void cg_error_set(struct cg_error *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(err->text, sizeof err->text, format, args);
	va_end(args);
}

void cg_error_wrap(struct cg_error *err, const char *outer)
{
	struct cg_error inner = *err;

	/* Cutting the innermost words is acceptable: the outer ones say where to look. */
	int used = snprintf(err->text, sizeof err->text, "%s: ", outer);
	if (used > 0 && (size_t)used < sizeof err->text) {
		size_t room = sizeof err->text - (size_t)used - 1;
		size_t len = strnlen(inner.text, room);
		memcpy(err->text + used, inner.text, len);
		err->text[(size_t)used + len] = '\0';
	}
}
