/* measure COMMAND...: runs it and prints wall seconds, cpu seconds (user and system, all processes it
 * waited for) and the peak memory of the largest in bytes to standard error, last.
 *
 * A program of its own, because a process starts with the peak of the one it was forked from: under
 * a large interpreter every small program looks large. */
#include "libcore/base/clock.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	int64_t since = clock_mono_us();
	struct rusage usage;
	int status;
	pid_t child;

	if (argc < 2)
		return 2;
	child = fork();
	if (child == 0) {
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &usage) < 0)
		return 1;
	fprintf(stderr, "\n%.6f %.6f %lld\n", (double)(clock_mono_us() - since) / 1e6,
		seconds(usage.ru_utime) + seconds(usage.ru_stime),
		(long long)usage.ru_maxrss * 1024);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
