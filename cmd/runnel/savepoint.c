/* The archive's members by libarchive, zstd by libzstd itself: libarchive's filter writes no
 * checksum of the content, and leaves what follows tar's end unread, so that a cut or a flipped bit
 * there would go unseen. */
#include "cmd/runnel/savepoint.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/outfile.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

enum {
	CHUNK_BYTES = 128 << 10,
	LEVEL = 1,           /* a job waits for its savepoint: fast before small */
	FILES_MAX = 1 << 20, /* far above stages times subtasks; a hostile archive ends here */
	FILE_MODE = 0600,    /* state is the user's data */
};

static bool is_plain_name(const char *name)
{
	return *name && strlen(name) <= NAME_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

static int read_some(
	int fd, const char *path, void *bytes, size_t cap, size_t *got, struct error *e)
{
	ssize_t n;

	do {
		n = read(fd, bytes, cap);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_errno(e, "can't read %s", path);
	*got = (size_t)n;
	return 0;
}

/* ---- writing ---- */

struct writer {
	struct outfile out;
	struct archive *archive;
	struct archive_entry *entry;
	ZSTD_CCtx *zstd;
	uint8_t *chunk;  /* of a file that is read */
	uint8_t *packed; /* what zstd gives */
	const char *path;
	struct error *e;
};

static int pack(struct writer *w, const void *bytes, size_t len, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = {bytes, len, 0};
	size_t left;

	do {
		ZSTD_outBuffer out = {w->packed, CHUNK_BYTES, 0};

		left = ZSTD_compressStream2(w->zstd, &out, &in, end);
		if (ZSTD_isError(left))
			return error_set(w->e, ERROR_IO, "%s: can't compress: %s", w->path,
				ZSTD_getErrorName(left));
		if (outfile_write(&w->out, w->packed, out.pos, w->e) < 0)
			return -1;
	} while (in.pos < len || (end == ZSTD_e_end && left));
	return 0;
}

/* An error is kept in *e and the rest swallowed: of a writer whose callback has failed libarchive
 * (3.6) never frees all. */
static la_ssize_t pack_block(struct archive *a, void *context, const void *bytes, size_t len)
{
	struct writer *w = context;

	if (w->e->code == ERROR_NONE)
		pack(w, bytes, len, ZSTD_e_continue);
	return (la_ssize_t)len;
}

static int archive_refused(struct writer *w)
{
	const char *why = archive_error_string(w->archive);

	if (w->e->code != ERROR_NONE)
		return -1;
	return error_set(w->e, ERROR_IO, "%s: can't write: %s", w->path,
		why ? why : "libarchive gives no reason");
}

static int put_bytes(struct writer *w, const void *bytes, size_t len)
{
	if (len && archive_write_data(w->archive, bytes, len) != (la_ssize_t)len)
		return archive_refused(w);
	return w->e->code == ERROR_NONE ? 0 : -1;
}

/* Neither owner nor time: the same state gives the same bytes. */
static int put_header(struct writer *w, const char *name, uint64_t bytes)
{
	archive_entry_clear(w->entry);
	archive_entry_set_pathname(w->entry, name);
	archive_entry_set_filetype(w->entry, AE_IFREG);
	archive_entry_set_perm(w->entry, FILE_MODE);
	archive_entry_set_uid(w->entry, 0);
	archive_entry_set_gid(w->entry, 0);
	archive_entry_set_mtime(w->entry, 0, 0);
	archive_entry_set_size(w->entry, (la_int64_t)bytes);
	return archive_write_header(w->archive, w->entry) == ARCHIVE_OK ? 0 : archive_refused(w);
}

static int put_content(struct writer *w, int fd, const char *path, uint64_t bytes)
{
	while (bytes) {
		size_t want = bytes < CHUNK_BYTES ? (size_t)bytes : CHUNK_BYTES, got = 0;

		if (read_some(fd, path, w->chunk, want, &got, w->e) < 0)
			return -1;
		if (!got)
			return error_set(
				w->e, ERROR_IO, "%s: became shorter while it was read", path);
		if (put_bytes(w, w->chunk, got) < 0)
			return -1;
		bytes -= got;
	}
	return 0;
}

static int put_path(struct writer *w, const struct savepoint_file *file)
{
	int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), status = -1;
	struct stat st;

	if (fd < 0)
		return error_errno(w->e, "can't open %s", file->path);
	if (fstat(fd, &st) < 0)
		error_errno(w->e, "can't read %s", file->path);
	else if (!S_ISREG(st.st_mode))
		error_set(w->e, ERROR_IO, "%s: not a plain file", file->path);
	else if (put_header(w, file->name, (uint64_t)st.st_size) == 0)
		status = put_content(w, fd, file->path, (uint64_t)st.st_size);
	close(fd);
	return status;
}

static int put_file(struct writer *w, const struct savepoint_file *file)
{
	if (file->path)
		return put_path(w, file);
	if (put_header(w, file->name, file->len) < 0)
		return -1;
	return put_bytes(w, file->bytes, file->len);
}

/* Extended headers only where ustar's don't reach.  Names are bytes, whatever the locale: said only
 * if there is one that isn't ASCII, as GNU tar complains of the word. */
static int set_format(struct writer *w, const struct savepoint_file *files, size_t files_len)
{
	bool ascii = true;

	for (size_t i = 0; i < files_len; i++) {
		for (const char *c = files[i].name; *c; c++)
			ascii &= (unsigned char)*c < 0x80;
	}
	if (archive_write_set_format_pax_restricted(w->archive) != ARCHIVE_OK)
		return archive_refused(w);
	if (!ascii && archive_write_set_options(w->archive, "hdrcharset=BINARY") != ARCHIVE_OK)
		return archive_refused(w);
	if (archive_write_open(w->archive, w, NULL, pack_block, NULL) != ARCHIVE_OK)
		return archive_refused(w);
	return 0;
}

static int writer_open(struct writer *w)
{
	if (outfile_open(&w->out, w->path, w->e) < 0)
		return -1;
	if (!w->out.direct && fchmod(w->out.fd, FILE_MODE) < 0)
		return error_errno(w->e, "%s: can't set its mode", w->path);
	w->archive = archive_write_new();
	w->entry = archive_entry_new();
	w->zstd = ZSTD_createCCtx();
	w->chunk = mem_alloc(CHUNK_BYTES);
	w->packed = mem_alloc(CHUNK_BYTES);
	if (!w->archive || !w->entry || !w->zstd)
		return error_set(w->e, ERROR_IO, "%s: out of memory", w->path);
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
	return 0;
}

static void writer_close(struct writer *w)
{
	if (w->archive)
		archive_write_free(w->archive);
	archive_entry_free(w->entry);
	ZSTD_freeCCtx(w->zstd);
	mem_free(w->chunk);
	mem_free(w->packed);
	outfile_abort(&w->out);
}

int savepoint_write(
	const char *path, const struct savepoint_file *files, size_t files_len, struct error *e)
{
	struct error local = ERROR_INIT;
	struct writer w = {.out = OUTFILE_INIT, .path = path, .e = &local};
	int status = -1;

	for (size_t i = 0; i < files_len; i++) {
		MUST(is_plain_name(files[i].name));
		for (size_t j = 0; j < i; j++)
			MUST(strcmp(files[i].name, files[j].name) != 0);
	}
	if (writer_open(&w) < 0 || set_format(&w, files, files_len) < 0)
		goto out;
	for (size_t i = 0; i < files_len; i++) {
		if (put_file(&w, &files[i]) < 0)
			goto out;
	}
	if (archive_write_close(w.archive) != ARCHIVE_OK) {
		archive_refused(&w);
		goto out;
	}
	if (local.code != ERROR_NONE || pack(&w, NULL, 0, ZSTD_e_end) < 0)
		goto out;
	status = outfile_commit(&w.out, true, &local);
out:
	writer_close(&w);
	if (status < 0)
		*e = local;
	return status;
}

/* ---- reading ---- */

struct reader {
	const char *path;
	const char *directory;
	int fd, directory_fd;
	struct archive *archive;
	ZSTD_DCtx *zstd;
	uint8_t *packed, *chunk, *content;
	ZSTD_inBuffer in;
	bool in_frame; /* a zstd frame has begun and isn't complete */
	bool any;      /* something was unpacked: the file does begin as zstd does */
	bool is_over;  /* the end of the file has been met */
	char **names;  /* what was unpacked so far, for a retreat */
	size_t names_len, names_cap;
	struct error *e;
};

static int not_a_savepoint(struct reader *r)
{
	return error_set(r->e, ERROR_STATE, "%s: not a savepoint", r->path);
}

static int ends_early(struct reader *r)
{
	return error_set(r->e, ERROR_STATE, "%s: a savepoint that ends early", r->path);
}

static int damaged(struct reader *r, const char *why)
{
	return error_set(r->e, ERROR_STATE, "%s: a damaged savepoint: %s", r->path,
		why ? why : "unreadable");
}

static int unpack_error(struct reader *r, size_t status)
{
	if (ZSTD_getErrorCode(status) == ZSTD_error_prefix_unknown && !r->any)
		return not_a_savepoint(r);
	return damaged(r, ZSTD_getErrorName(status));
}

/* The next bytes of the tar archive; *got 0 is the end of the file, behind a whole frame. */
static int unpack(struct reader *r, size_t *got)
{
	ZSTD_outBuffer out = {r->chunk, CHUNK_BYTES, 0};

	*got = 0;
	while (!out.pos) {
		size_t status, before;

		if (r->in.pos == r->in.size && !r->is_over) {
			if (read_some(r->fd, r->path, r->packed, CHUNK_BYTES, &r->in.size, r->e) <
				0)
				return -1;
			r->in.pos = 0;
			r->is_over = r->in.size == 0;
		}
		if (r->is_over && !r->in_frame)
			return r->any ? 0 : not_a_savepoint(r);
		before = r->in.pos;
		status = ZSTD_decompressStream(r->zstd, &out, &r->in);
		if (ZSTD_isError(status))
			return unpack_error(r, status);
		r->in_frame = status != 0;
		r->any |= out.pos > 0;
		if (r->is_over && r->in.pos == before && !out.pos && r->in_frame)
			return ends_early(r);
	}
	*got = out.pos;
	return 0;
}

static la_ssize_t feed(struct archive *a, void *context, const void **bytes)
{
	struct reader *r = context;
	size_t got;

	*bytes = r->chunk;
	/* Tar says itself where it ends, so nobody asks for more than there is. */
	if (unpack(r, &got) == 0 && got)
		return (la_ssize_t)got;
	if (r->e->code == ERROR_NONE)
		ends_early(r);
	archive_set_error(a, EIO, "can't be read");
	return -1;
}

/* What went wrong in feed is in *e already. */
static int archive_refused_reading(struct reader *r)
{
	return r->e->code != ERROR_NONE ? -1 : damaged(r, archive_error_string(r->archive));
}

static int check_entry(struct reader *r, struct archive_entry *entry, const char *name)
{
	if (!name || !*name)
		return damaged(r, "an entry without a name");
	if (!is_plain_name(name))
		return error_set(r->e, ERROR_STATE,
			"%s: a savepoint holds no directories, but there is an entry \"%s\"",
			r->path, name);
	if (archive_entry_hardlink(entry) || archive_entry_symlink(entry) ||
		archive_entry_filetype(entry) != AE_IFREG || archive_entry_sparse_count(entry))
		return error_set(r->e, ERROR_STATE,
			"%s: a savepoint holds plain files only, and \"%s\" is none", r->path,
			name);
	if (r->names_len == FILES_MAX)
		return error_set(r->e, ERROR_STATE, "%s: more than %d files", r->path, FILES_MAX);
	return 0;
}

static bool was_unpacked(const struct reader *r, const char *name)
{
	for (size_t i = 0; i < r->names_len; i++) {
		if (strcmp(r->names[i], name) == 0)
			return true;
	}
	return false;
}

static int create_file(struct reader *r, const char *name)
{
	int fd = openat(r->directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		FILE_MODE);

	if (fd < 0 && errno == EEXIST && was_unpacked(r, name))
		return error_set(r->e, ERROR_STATE, "%s: \"%s\" is in it twice", r->path, name);
	if (fd < 0)
		return error_errno(r->e, "%s/%s: can't create", r->directory, name);
	MEM_GROW(r->names, r->names_cap, r->names_len + 1);
	r->names[r->names_len++] = mem_strdup(name);
	return fd;
}

static int copy_content(struct reader *r, int fd, const char *name)
{
	la_ssize_t n;

	while ((n = archive_read_data(r->archive, r->content, CHUNK_BYTES)) > 0) {
		if (fd_write_all(fd, name, r->content, (size_t)n, r->e) < 0)
			return error_context(r->e, "%s", r->directory);
	}
	return n < 0 ? archive_refused_reading(r) : 0;
}

static int take_entry(struct reader *r, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry);
	int fd, status;

	if (!name)
		name = archive_entry_pathname_utf8(entry);
	if (check_entry(r, entry, name) < 0)
		return -1;
	fd = create_file(r, name);
	if (fd < 0)
		return -1;
	status = copy_content(r, fd, name);
	if (status == 0 && fsync(fd) < 0)
		status = error_errno(r->e, "%s/%s: can't sync", r->directory, name);
	close(fd);
	return status;
}

static int take_entries(struct reader *r)
{
	struct archive_entry *entry;
	int status;

	/* A warning is a header that was understood in part only. */
	while ((status = archive_read_next_header(r->archive, &entry)) == ARCHIVE_OK) {
		if (take_entry(r, entry) < 0)
			return -1;
	}
	if (status == ARCHIVE_EOF)
		return r->e->code == ERROR_NONE ? 0 : -1;
	return archive_refused_reading(r);
}

/* What is behind tar's end belongs to the frame, whose checksum is at its end. */
static int drain(struct reader *r)
{
	size_t got;

	do {
		if (unpack(r, &got) < 0)
			return -1;
	} while (got);
	return 0;
}

static int reader_open(struct reader *r)
{
	r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (r->fd < 0)
		return error_errno(r->e, "can't open the savepoint %s", r->path);
	r->directory_fd = open(r->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->directory_fd < 0)
		return error_errno(r->e, "can't open the directory %s", r->directory);
	r->archive = archive_read_new();
	r->zstd = ZSTD_createDCtx();
	r->packed = mem_alloc(CHUNK_BYTES);
	r->chunk = mem_alloc(CHUNK_BYTES);
	r->content = mem_alloc(CHUNK_BYTES);
	r->in.src = r->packed;
	if (!r->archive || !r->zstd)
		return error_set(r->e, ERROR_IO, "%s: out of memory", r->path);
	archive_read_support_format_tar(r->archive);
	/* Sees by the first block what it is. */
	if (archive_read_open(r->archive, r, NULL, feed, NULL) != ARCHIVE_OK)
		return r->e->code != ERROR_NONE ? -1 : not_a_savepoint(r);
	return 0;
}

static void reader_close(struct reader *r)
{
	archive_read_free(r->archive);
	ZSTD_freeDCtx(r->zstd);
	mem_free(r->packed);
	mem_free(r->chunk);
	mem_free(r->content);
	for (size_t i = 0; i < r->names_len; i++)
		mem_free(r->names[i]);
	mem_free(r->names);
	if (r->fd >= 0)
		close(r->fd);
	if (r->directory_fd >= 0)
		close(r->directory_fd);
}

int savepoint_read(const char *path, const char *directory, struct error *e)
{
	struct error local = ERROR_INIT;
	struct reader r = {
		.path = path, .directory = directory, .fd = -1, .directory_fd = -1, .e = &local};
	int status = -1;

	if (reader_open(&r) < 0 || take_entries(&r) < 0 || drain(&r) < 0)
		goto out;
	if (fsync(r.directory_fd) < 0) {
		error_errno(&local, "%s: can't sync the directory", directory);
		goto out;
	}
	status = 0;
out:
	if (status < 0) {
		for (size_t i = 0; i < r.names_len; i++)
			unlinkat(r.directory_fd, r.names[i], 0);
		*e = local;
	}
	reader_close(&r);
	return status;
}
