#include "libcore/base/error.h"

#include "libcore/base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void error_tidy(char *text)
{
	size_t len = strlen(text);

	for (size_t at = 0, n; at < len; at += n) {
		uint32_t code = '?';

		n = utf8_decode(text + at, len - at, &code);
		if (n && (code >= 0xa0 || (code >= ' ' && code < 0x7f) || code == '\n' || code == '\t'))
			continue;
		n = n ? n : 1;
		memset(text + at, '?', n);
	}
}

int error_set(struct error *e, enum error_code code, const char *format, ...)
{
	va_list args;

	e->code = code;
	va_start(args, format);
	vsnprintf(e->text, sizeof e->text, format, args);
	va_end(args);
	error_tidy(e->text);
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
	error_tidy(e->text);
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
	error_tidy(e->text);
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
	error_tidy(e->text + len);
	return -1;
}

void error_clear(struct error *e)
{
	e->code = ERROR_NONE;
	e->text[0] = '\0';
}
