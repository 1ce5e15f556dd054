#include "cmd/common/text_argument.h"

#include "libcore/base/infile.h"

#include <string.h>

enum { TEXT_BYTES_MAX = 1 << 20 };

static int read_file(const char *path, struct buf *out, struct error *e)
{
	if (infile_read(path, TEXT_BYTES_MAX + 1, out, e) < 0)
		return -1;
	if (out->len > TEXT_BYTES_MAX || memchr(out->data, 0, out->len))
		return error_set(e, ERROR_USAGE, "%s: no text, or longer than a megabyte", path);
	return 0;
}

int text_argument_read(const char *argument, const char *what, struct arena *a,
	struct text_argument *out, struct error *e)
{
	struct buf bytes = BUF_INIT;
	int status = 0;

	*out = (struct text_argument){argument, what};
	if (!argument || argument[0] != '@')
		return 0;
	status = read_file(argument + 1, &bytes, e);
	if (status == 0) {
		out->text = arena_strndup(a, (const char *)bytes.data, bytes.len);
		out->what = argument + 1;
	} else {
		error_hint(e, "@FILE reads the expression from a file");
	}
	buf_clear(&bytes);
	return status;
}
