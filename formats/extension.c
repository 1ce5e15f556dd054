#include "formats/extension.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

void format_extension(const char *path, char *out, size_t out_bytes)
{
	static const char *const compressions[] = {
		"gz", "zst", "lz4", "xz", "bz2", "Z", "tar", "tgz", "zip", NULL};
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	size_t end = strlen(base);

	out[0] = 0;
	for (;;) {
		const char *dot = memrchr(base, '.', end);
		size_t len;
		bool passes = false;

		if (!dot || dot == base)
			return;
		len = end - (size_t)(dot + 1 - base);
		for (size_t i = 0; compressions[i]; i++)
			passes |= strlen(compressions[i]) == len &&
				strncasecmp(compressions[i], dot + 1, len) == 0;
		end = (size_t)(dot - base);
		if (passes)
			continue;
		snprintf(out, out_bytes, "%.*s", (int)len, dot + 1);
		return;
	}
}
