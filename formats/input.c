#include "formats/input.h"

#include "libcore/base/buf.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
	HEAD_BYTES = 512,       /* enough for tar's magic at 257 */
	CHUNK_BYTES = 64 << 10, /* what libarchive is fed */
	DROP_BYTES = 64 << 10,
};

struct gzip {
	z_stream z;
	bool in_member;
	uint8_t out[CHUNK_BYTES];
};

struct input {
	char *path;
	char *name; /* for messages */
	int fd;
	bool seekable;
	off_t start; /* of the descriptor when it was opened: `< file` may stand anywhere */
	uint8_t head[HEAD_BYTES];
	size_t head_len, head_at; /* read to see what it is, and not handed out yet */
	struct input_position at;

	struct archive *archive; /* NULL: a plain file */
	uint8_t *chunk;
	bool has_entries; /* of a real archive, not one compressed file */
	bool is_over;
	struct gzip *gzip; /* unpacks what libarchive is fed; NULL: it is fed the file */
};

static int error_of_archive(struct input *in, struct error *e)
{
	const char *why = archive_error_string(in->archive);

	if (archive_errno(in->archive) == EIO)
		return error_set(e, ERROR_IO, "%s: %s", in->name, why ? why : "can't be read");
	return error_set(e, ERROR_DATA, "%s: damaged at byte %llu of what it holds: %s", in->name,
		(unsigned long long)in->at.offset, why ? why : "unknown reason");
}

/* ---- what it is ---- */

struct magic {
	const char *bytes;
	size_t len, at;
	const char *needs_seeking; /* what it is called, if it can't come from a pipe */
};

static const struct magic magics[] = {
	{"\x1f\x8b", 2, 0, NULL},
	{"\x28\xb5\x2f\xfd", 4, 0, NULL},
	{"\x04\x22\x4d\x18", 4, 0, NULL},
	{"\xfd"
	 "7zXZ",
		6, 0, NULL},
	{"BZh", 3, 0, NULL},
	{"\x1f\x9d", 2, 0, NULL},
	{"ustar", 5, 257, NULL},
	{"!<arch>\n", 8, 0, NULL},
	{"070701", 6, 0, NULL},
	{"070707", 6, 0, NULL},
	{"PK\x03\x04", 4, 0, "a zip archive"},
	{"PK\x05\x06", 4, 0, "a zip archive"},
	{"7z\xbc\xaf\x27\x1c", 6, 0, "a 7z archive"},
	{"Rar!\x1a\x07", 6, 0, "a rar archive"},
};

static const struct magic *magic_of(const struct input *in)
{
	for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
		const struct magic *m = &magics[i];

		if (in->head_len >= m->at + m->len &&
			memcmp(in->head + m->at, m->bytes, m->len) == 0)
			return m;
	}
	return NULL;
}

static int read_some(struct input *in, void *bytes, size_t cap, size_t *got, struct error *e)
{
	ssize_t n;

	do {
		n = read(in->fd, bytes, cap);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_errno(e, "can't read %s", in->name);
	*got = (size_t)n;
	return 0;
}

/* A pipe may bring a byte at a time: reads on while what is there could still become a magic. */
static bool may_be_magic(const struct input *in)
{
	for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
		const struct magic *m = &magics[i];

		if (m->at == 0 && in->head_len < m->len &&
			memcmp(in->head, m->bytes, in->head_len) == 0)
			return true;
	}
	return false;
}

static int read_head(struct input *in, struct error *e)
{
	size_t got = 0;

	do {
		if (read_some(in, in->head + in->head_len, HEAD_BYTES - in->head_len, &got, e) < 0)
			return -1;
		in->head_len += got;
	} while (got && may_be_magic(in));
	return 0;
}

/* ---- libarchive ---- */

/* The next bytes of the file as it is. */
static int read_packed(struct input *in, const uint8_t **bytes, size_t *got, struct error *e)
{
	*got = in->head_len - in->head_at;
	*bytes = *got ? in->head + in->head_at : in->chunk;
	in->head_at = in->head_len;
	return *got ? 0 : read_some(in, in->chunk, CHUNK_BYTES, got, e);
}

/* gzip by zlib, one member after another: libarchive doesn't look at the checksums.  Zeros behind
 * the last member are padding. */
static int read_gzip(struct input *in, const uint8_t **bytes, size_t *got, struct error *e)
{
	z_stream *z = &in->gzip->z;

	*bytes = in->gzip->out;
	z->next_out = in->gzip->out;
	z->avail_out = CHUNK_BYTES;
	while (z->avail_out == CHUNK_BYTES) {
		const uint8_t *packed;
		size_t n;
		int status;

		if (!z->avail_in) {
			if (read_packed(in, &packed, &n, e) < 0)
				return -1;
			z->next_in = (uint8_t *)(uintptr_t)packed;
			z->avail_in = (unsigned)n;
		}
		if (!z->avail_in && in->gzip->in_member)
			return error_set(e, ERROR_DATA, "truncated gzip input");
		if (!z->avail_in)
			break;
		if (!in->gzip->in_member && !*z->next_in) {
			z->next_in++;
			z->avail_in--;
			continue;
		}
		if (!in->gzip->in_member)
			inflateReset(z);
		status = inflate(z, Z_NO_FLUSH);
		in->gzip->in_member = status != Z_STREAM_END;
		if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
			return error_set(
				e, ERROR_DATA, "gzip: %s", z->msg ? z->msg : "can't be unpacked");
	}
	*got = CHUNK_BYTES - z->avail_out;
	return 0;
}

static la_ssize_t feed(struct archive *a, void *context, const void **bytes)
{
	struct input *in = context;
	struct error e = ERROR_INIT;
	const uint8_t *at = NULL;
	size_t got = 0;
	int status = in->gzip ? read_gzip(in, &at, &got, &e) : read_packed(in, &at, &got, &e);

	*bytes = at;
	if (status < 0) {
		archive_set_error(a, e.code == ERROR_IO ? EIO : EINVAL, "%s", e.text);
		return -1;
	}
	return (la_ssize_t)got;
}

static la_int64_t feed_seek(struct archive *a, void *context, la_int64_t offset, int whence)
{
	struct input *in = context;
	off_t to = lseek(in->fd, offset + (whence == SEEK_SET ? in->start : 0), whence);

	in->head_at = in->head_len;
	if (to < 0) {
		archive_set_error(a, EIO, "can't seek: %s", strerror(errno));
		return ARCHIVE_FATAL;
	}
	return to - in->start;
}

/* The formats and filters one by one: mtree and the like would claim plain text. */
static struct archive *new_archive(void)
{
	struct archive *a = archive_read_new();

	archive_read_support_filter_zstd(a);
	archive_read_support_filter_lz4(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_compress(a);
	archive_read_support_format_tar(a);
	archive_read_support_format_zip(a);
	archive_read_support_format_7zip(a);
	archive_read_support_format_rar(a);
	archive_read_support_format_rar5(a);
	archive_read_support_format_cpio(a);
	archive_read_support_format_ar(a);
	archive_read_support_format_raw(a);
	archive_read_support_format_empty(a);
	return a;
}

static void set_entry_name(struct input *in, struct archive_entry *entry)
{
	const char *path = archive_entry_pathname_utf8(entry);
	struct buf name = BUF_INIT;
	size_t len;

	if (!path)
		path = archive_entry_pathname(entry);
	mem_free(in->name);
	buf_printf(&name, "%s:%s", in->path, path ? path : "?");
	buf_put_byte(&name, 0);
	in->name = (char *)buf_take(&name, &len);
}

/* The next regular file.  1: there is one, 0: none. */
static int next_entry(struct input *in, struct error *e)
{
	struct archive_entry *entry;

	for (;;) {
		int status = archive_read_next_header(in->archive, &entry);

		if (status == ARCHIVE_EOF)
			return 0;
		if (status < ARCHIVE_WARN)
			return error_of_archive(in, e);
		in->has_entries = archive_format(in->archive) != ARCHIVE_FORMAT_RAW;
		if (archive_entry_is_encrypted(entry))
			return error_set(e, ERROR_DATA, "%s: %s is encrypted", in->path,
				archive_entry_pathname(entry));
		if (!in->has_entries || archive_entry_filetype(entry) == AE_IFREG)
			break;
	}
	if (in->has_entries)
		set_entry_name(in, entry);
	return 1;
}

static void free_gzip(struct input *in)
{
	if (in->gzip)
		inflateEnd(&in->gzip->z);
	mem_free(in->gzip);
	in->gzip = NULL;
}

/* What begins like an archive and isn't one is damaged, unless it may be text (BZh...). */
static int open_archive(struct input *in, struct error *e)
{
	bool is_text_magic = in->head[0] >= ' ' && in->head[0] < 0x7f;
	int found;

	free_gzip(in);
	if (memcmp(in->head, "\x1f\x8b", 2) == 0) {
		in->gzip = mem_zero(sizeof *in->gzip);
		MUST(inflateInit2(&in->gzip->z, 16 + MAX_WBITS) == Z_OK); /* 16: gzip, not zlib */
	}
	in->archive = new_archive();
	if (!in->chunk)
		in->chunk = mem_alloc(CHUNK_BYTES);
	archive_read_set_callback_data(in->archive, in);
	archive_read_set_read_callback(in->archive, feed);
	if (in->seekable && !in->gzip)
		archive_read_set_seek_callback(in->archive, feed_seek);
	if (archive_read_open1(in->archive) < ARCHIVE_WARN)
		return error_of_archive(in, e);
	found = next_entry(in, e);
	if (found < 0)
		return -1;
	in->is_over = !found;
	if (!found && in->has_entries)
		return error_set(e, ERROR_DATA, "%s: the archive holds no files", in->path);
	if (found && !in->has_entries && archive_filter_count(in->archive) == 1 && !is_text_magic &&
		!in->gzip)
		return error_set(e, ERROR_DATA,
			"%s: damaged: its first bytes are those of an archive or "
			"a compressed file, what follows isn't",
			in->name);
	return 0;
}

/* ---- opening ---- */

static int check_kind(struct input *in, struct error *e)
{
	struct stat st;

	if (fstat(in->fd, &st) < 0)
		return error_errno(e, "can't read %s", in->name);
	if (S_ISDIR(st.st_mode)) {
		error_set(e, ERROR_IO, "%s is a directory", in->name);
		return error_hint(e, "name the files in it: %s/*, or follow it: ssource --follow %s",
			in->path, in->path);
	}
	in->start = lseek(in->fd, 0, SEEK_CUR);
	in->seekable = S_ISREG(st.st_mode) && in->start >= 0;
	return 0;
}

static int open_what_it_is(struct input *in, struct error *e)
{
	const struct magic *m;

	if (read_head(in, e) < 0)
		return -1;
	m = magic_of(in);
	if (!m)
		return 0;
	if (m->needs_seeking && !in->seekable) {
		error_set(e, ERROR_USAGE,
			"%s: %s can't be read from a pipe, its table of contents "
			"stands at its end",
			in->name, m->needs_seeking);
		return error_hint(e, "save it to a file and give its path");
	}
	return open_archive(in, e);
}

int input_open_fd(int fd, const char *name, struct input **out, struct error *e)
{
	struct input *in = mem_zero(sizeof *in);

	in->path = mem_strdup(name);
	in->name = mem_strdup(name);
	in->fd = fd;
	if (check_kind(in, e) < 0 || open_what_it_is(in, e) < 0) {
		input_close(in);
		return -1;
	}
	*out = in;
	return 0;
}

int input_open_live(int fd, const char *name, struct input **out, struct error *e)
{
	struct input *in = mem_zero(sizeof *in);

	in->path = mem_strdup(name);
	in->name = mem_strdup(name);
	in->fd = fd;
	if (check_kind(in, e) < 0) {
		input_close(in);
		return -1;
	}
	*out = in;
	return 0;
}

bool input_looks_compressed(const uint8_t *bytes, size_t len)
{
	struct input in = {.head_len = len < HEAD_BYTES ? len : HEAD_BYTES};
	const struct magic *m;

	if (len)
		memcpy(in.head, bytes, in.head_len);
	m = magic_of(&in);
	return m && m->at == 0 && ((uint8_t)m->bytes[0] < ' ' || (uint8_t)m->bytes[1] > 0x7f);
}

int input_open(const char *path, struct input **out, struct error *e)
{
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(e, "can't open %s", path);
	return input_open_fd(fd, is_stdin ? "standard input" : path, out, e);
}

void input_close(struct input *in)
{
	if (!in)
		return;
	if (in->archive)
		archive_read_free(in->archive);
	free_gzip(in);
	if (in->fd > STDIN_FILENO)
		close(in->fd);
	mem_free(in->chunk);
	mem_free(in->path);
	mem_free(in->name);
	mem_free(in);
}

int input_look_fd(int fd, const char *name, struct input_facts *out, struct error *e)
{
	struct input in = {.fd = -1};
	struct stat st;
	ssize_t n;

	*out = (struct input_facts){.regular = false};
	if (fstat(fd, &st) < 0)
		return error_errno(e, "can't read %s", name);
	if (!S_ISREG(st.st_mode))
		return 0;
	out->regular = true;
	out->bytes = (uint64_t)st.st_size;
	n = pread(fd, in.head, HEAD_BYTES, 0);
	if (n < 0)
		return error_errno(e, "can't read %s", name);
	in.head_len = (size_t)n;
	out->packed = magic_of(&in) != NULL;
	return 0;
}

int input_look(const char *path, struct input_facts *out, struct error *e)
{
	struct stat st;
	int fd, status;

	*out = (struct input_facts){.regular = false};
	if (strcmp(path, "-") == 0)
		return 0;
	if (stat(path, &st) < 0)
		return error_errno(e, "can't open %s", path);
	if (!S_ISREG(st.st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "can't open %s", path);
	status = input_look_fd(fd, path, out, e);
	close(fd);
	return status;
}

bool input_is_packed(const struct input *in)
{
	return in->archive != NULL;
}

/* ---- reading ---- */

static int read_archive(struct input *in, void *bytes, size_t cap, size_t *got, struct error *e)
{
	la_ssize_t n;
	int more;

	if (in->is_over)
		return 1;
	n = archive_read_data(in->archive, bytes, cap);
	if (n < 0)
		return error_of_archive(in, e);
	if (n > 0) {
		*got = (size_t)n;
		in->at.offset += (size_t)n;
		return 0;
	}
	more = next_entry(in, e);
	if (more < 0)
		return -1;
	if (!more) {
		in->is_over = true;
		return 1;
	}
	in->at.entry++;
	in->at.offset = 0;
	return 2;
}

int input_read(struct input *in, void *bytes, size_t cap, size_t *got, struct error *e)
{
	size_t left = in->head_len - in->head_at;

	*got = 0;
	if (in->archive)
		return read_archive(in, bytes, cap, got, e);
	if (left) {
		*got = left < cap ? left : cap;
		memcpy(bytes, in->head + in->head_at, *got);
		in->head_at += *got;
	} else if (read_some(in, bytes, cap, got, e) < 0) {
		return -1;
	}
	in->at.offset += *got;
	return *got ? 0 : 1;
}

const char *input_name(const struct input *in)
{
	return in->name;
}

struct input_position input_position(const struct input *in)
{
	return in->at;
}

/* ---- going somewhere ---- */

/* Reads and drops up to the position, which must not lie behind. */
static int drop_until(struct input *in, struct input_position to, struct error *e)
{
	uint8_t *bytes = mem_alloc(DROP_BYTES);
	int status = 0;

	while (!status && (in->at.entry != to.entry || in->at.offset != to.offset)) {
		uint64_t left = in->at.entry == to.entry ? to.offset - in->at.offset : DROP_BYTES;
		size_t got;

		status = input_read(in, bytes, left < DROP_BYTES ? left : DROP_BYTES, &got, e);
		if (status == 1 || (status == 2 && in->at.entry > to.entry))
			status = error_set(e, ERROR_STATE,
				"%s is shorter than when it was left: it "
				"ends at byte %llu, the position is byte %llu",
				in->name, (unsigned long long)in->at.offset,
				(unsigned long long)to.offset);
		else if (status == 2)
			status = 0;
	}
	mem_free(bytes);
	return status;
}

static int rewind_archive(struct input *in, struct error *e)
{
	if (lseek(in->fd, in->start, SEEK_SET) < 0)
		return error_errno(e, "can't seek in %s", in->path);
	archive_read_free(in->archive);
	in->archive = NULL;
	in->head_len = in->head_at = 0;
	in->at = (struct input_position){0, 0};
	in->is_over = false;
	return open_archive(in, e);
}

int input_seek(struct input *in, struct input_position to, struct error *e)
{
	bool behind = to.entry < in->at.entry ||
		      (to.entry == in->at.entry && to.offset < in->at.offset);
	struct stat st;

	if (behind && !in->seekable)
		return error_set(e, ERROR_USAGE, "%s can't be read again from byte %llu", in->name,
			(unsigned long long)to.offset);
	if (in->archive || !in->seekable) {
		if (behind && rewind_archive(in, e) < 0)
			return -1;
		return drop_until(in, to, e);
	}
	if (fstat(in->fd, &st) < 0 || lseek(in->fd, in->start + (off_t)to.offset, SEEK_SET) < 0)
		return error_errno(e, "can't seek in %s", in->name);
	if (in->start + (off_t)to.offset > st.st_size)
		return error_set(e, ERROR_STATE,
			"%s is shorter than when it was left: it has %lld "
			"bytes, the position is byte %llu",
			in->name, (long long)(st.st_size - in->start),
			(unsigned long long)to.offset);
	in->head_at = in->head_len;
	in->at = to;
	return 0;
}

int input_fd(const struct input *in)
{
	/* libarchive reads ahead: a descriptor that is silent says nothing of what it holds. */
	return in->archive || in->head_at < in->head_len ? -1 : in->fd;
}
