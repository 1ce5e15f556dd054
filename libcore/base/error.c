#include "libcore/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *e, enum error_code code, const char *format, ...)
{
	va_list args;

	e->code = code;
	va_start(args, format);
	vsnprintf(e->text, sizeof e->text, format, args);
	va_end(args);
	return -1;
}

int error_errno(struct error *e, const char *format, ...)
{
	int saved = errno;
	va_list args;
	size_t len;

	e->code = ERROR_IO;
	va_start(args, format);
	vsnprintf(e->text, sizeof e->text, format, args);
	va_end(args);
	len = strlen(e->text);
	snprintf(e->text + len, sizeof e->text - len, ": %s", strerror(saved));
	errno = saved;
	return -1;
}

int error_context(struct error *e, const char *format, ...)
{
	char old[ERROR_TEXT_MAX];
	va_list args;
	size_t len;

	memcpy(old, e->text, sizeof old);
	va_start(args, format);
	vsnprintf(e->text, sizeof e->text, format, args);
	va_end(args);
	len = strlen(e->text);
	snprintf(e->text + len, sizeof e->text - len, ": %s", old);
	return -1;
}

int error_hint(struct error *e, const char *format, ...)
{
	size_t len = strlen(e->text);
	va_list args;

	if (len + 1 >= sizeof e->text)
		return -1;
	e->text[len++] = '\n';
	va_start(args, format);
	vsnprintf(e->text + len, sizeof e->text - len, format, args);
	va_end(args);
	return -1;
}

void error_clear(struct error *e)
{
	e->code = ERROR_NONE;
	e->text[0] = '\0';
}
