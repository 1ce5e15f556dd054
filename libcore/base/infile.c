#include "libcore/base/infile.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PIECE_BYTES = 64 << 10 };

int infile_read(const char *path, size_t bytes_max, struct buf *out, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	if (fd < 0)
		return error_errno(e, "%s: can't open", path);
	while (n > 0 && bytes_max) {
		size_t want = bytes_max < PIECE_BYTES ? bytes_max : PIECE_BYTES;

		n = read(fd, buf_reserve(out, want), want);
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		if (n > 0) {
			out->len += (size_t)n;
			bytes_max -= (size_t)n;
		}
	}
	if (n < 0)
		error_errno(e, "%s: can't read", path);
	close(fd);
	return n < 0 ? -1 : 0;
}
