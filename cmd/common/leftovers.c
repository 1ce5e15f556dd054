#include "cmd/common/leftovers.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_number(const char **text, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	*out = strtoull(*text, &end, 10);
	*text = end;
	return true;
}

static bool is_leftover(const struct leftovers *l, const char *name, uint64_t *subtask)
{
	size_t len = strlen(l->prefix);
	uint64_t attempt;

	if (strncmp(name, l->prefix, len) != 0)
		return false;
	name += len;
	if (!read_number(&name, &attempt) || *name++ != '-' || !read_number(&name, subtask))
		return false;
	if (*name != '-' && *name != '.')
		return false;
	return attempt < l->attempt && *subtask % l->subtasks == l->subtask;
}

void leftovers_remove(const struct leftovers *l)
{
	DIR *d = opendir(l->directory);
	struct dirent *entry;
	uint64_t subtask;

	while (d && (entry = readdir(d))) {
		if (is_leftover(l, entry->d_name, &subtask))
			unlinkat(dirfd(d), entry->d_name, 0);
	}
	if (d)
		closedir(d);
}

int leftovers_read(const struct leftovers *l, const struct leftovers_take *take, struct error *e)
{
	DIR *d = opendir(l->directory);
	struct dirent *entry;
	uint64_t subtask;
	int status = 0;

	while (d && status == 0 && (entry = readdir(d))) {
		if (is_leftover(l, entry->d_name, &subtask))
			status = take->subtask(take->context, subtask, e);
	}
	if (d)
		closedir(d);
	return status;
}
