#include "cmd/common/connected.h"

#include "connect/url.h"
#include "libcore/base/memory.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

char *connected_path(const char *name, struct error *e)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	if (n < 0) {
		error_errno(e, "/proc/self/exe: can't tell where this program lies");
		return NULL;
	}
	self[n] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	/* The twin itself lies there already. */
	slash = strrchr(self, '/');
	if (slash && strcmp(slash, "/runnel") == 0)
		return mem_printf("%s/%s", self, name);
	return mem_printf("%s/../libexec/runnel/%s", self, name);
}

int connected_exec(const char *name, char *const *argv, struct error *e)
{
	char *path = connected_path(name, e);

	if (!path)
		return -1;
	execv(path, argv);
	error_errno(e, "%s: can't be started", path);
	error_hint(e, "it is the part of %s that reaches brokers and databases, and is installed with it",
		name);
	mem_free(path);
	return -1;
}

char **connected_arguments(int argc, char **argv)
{
	static char **copies;
	bool any = false;

	for (int i = 0; i < argc; i++)
		any |= strstr(argv[i], "://") != NULL;
	if (!any)
		return argv;
	copies = mem_zero(((size_t)argc + 1) * sizeof *copies);
	for (int i = 0; i < argc; i++) {
		copies[i] = mem_strdup(argv[i]);
		url_hide(argv[i]);
	}
	return copies;
}
