#include "cmd/common/state_directory.h"

#include <stdlib.h>
#include <string.h>

int state_root(struct buf *out, struct error *e)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	buf_reset(out);
	if (state && *state == '/')
		buf_printf(out, "%s/runnel", state);
	else if (home && *home)
		buf_printf(out, "%s/.local/state/runnel", home);
	else
		return error_set(e, ERROR_USAGE, "no place for the job's state: HOME isn't set\n"
			"name a directory: --state DIR");
	buf_cstr(out);
	return 0;
}

int state_directory(const char *job, struct buf *out, struct error *e)
{
	buf_reset(out);
	if (!strchr(job, '/')) {
		if (state_root(out, e) < 0)
			return -1;
		buf_put_byte(out, '/');
	}
	buf_put_text(out, job);
	buf_cstr(out);
	return 0;
}
