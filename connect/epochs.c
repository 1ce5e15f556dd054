#include "connect/epochs.h"

#include "connect/spool.h"
#include "libcore/base/memory.h"
#include "libcore/base/outfile.h"
#include "libcore/frame/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_BYTES = 256 << 10, NAME_BYTES = 128 };

/* The newest epoch of a stage's subtask. */
struct mark {
	struct epoch_note note;
};

struct file {
	uint64_t number;
	char *path;
	struct epoch_note note;
};

struct epoch_receipt {
	struct epochs *epochs;
	struct epoch_receipt *next;
	struct epoch_note note;
	struct spool_file *file;
	struct buf pending;
	uint64_t bytes;
};

struct epochs {
	char *directory, *marks_path;
	struct spool *spool;
	struct mark *marks;
	size_t marks_len, marks_cap;
	struct file *files; /* by number, without a gap */
	size_t files_len, files_cap;
	struct epoch_receipt *receipts; /* the newest first */
};

/* ---- which epochs were here ---- */

static bool is_same(const struct epoch_note *a, const struct epoch_note *b)
{
	return a->subtask == b->subtask && strcmp(a->job, b->job) == 0 &&
		strcmp(a->stage, b->stage) == 0;
}

static struct mark *find_mark(const struct epochs *s, const struct epoch_note *n)
{
	for (size_t i = 0; i < s->marks_len; i++) {
		if (is_same(&s->marks[i].note, n))
			return &s->marks[i];
	}
	return NULL;
}

uint64_t epochs_have(const struct epochs *s, const struct epoch_note *n)
{
	const struct mark *m = find_mark(s, n);

	return m ? m->note.number : 0;
}

static void set_mark(struct epochs *s, const struct epoch_note *n)
{
	struct mark *m;

	if (strcmp(n->job, EPOCHS_NO_JOB) == 0)
		return;
	m = find_mark(s, n);
	if (!m) {
		MEM_GROW(s->marks, s->marks_cap, s->marks_len + 1);
		m = &s->marks[s->marks_len++];
		*m = (struct mark){.note = *n};
	}
	if (n->number > m->note.number)
		m->note.number = n->number;
}

/* "next N", then "job subtask number stage", a line each. */
static int write_marks(struct epochs *s, struct error *e)
{
	struct outfile file = OUTFILE_INIT;
	struct buf text = BUF_INIT;
	int status;

	buf_printf(&text, "next %" PRIu64 "\n", epochs_next(s));
	for (size_t i = 0; i < s->marks_len; i++) {
		const struct epoch_note *n = &s->marks[i].note;

		buf_printf(&text, "%s %" PRIu64 " %" PRIu64 " %s\n", n->job, n->subtask, n->number,
			n->stage);
	}
	status = outfile_open(&file, s->marks_path, e);
	if (status == 0)
		status = fd_write_all(file.fd, s->marks_path, text.data, text.len, e);
	if (status == 0)
		status = outfile_commit(&file, true, e);
	else
		outfile_abort(&file);
	buf_clear(&text);
	return status;
}

static bool take_mark(struct epochs *s, const char *line)
{
	struct epoch_note n = {.verb = EPOCH_BEGIN};
	int end = 0;

	if (sscanf(line, "%32[0-9a-f] %" SCNu64 " %" SCNu64 " %n", n.job, &n.subtask, &n.number,
			&end) < 3 || strlen(n.job) != EPOCH_JOB_BYTES - 1 || !end ||
		!line[end] || strlen(line + end) >= EPOCH_STAGE_BYTES)
		return false;
	memcpy(n.stage, line + end, strlen(line + end) + 1);
	set_mark(s, &n);
	return true;
}

static int read_marks(struct epochs *s, struct error *e)
{
	FILE *f = fopen(s->marks_path, "re");
	char *line = NULL;
	size_t cap = 0;
	uint64_t next = 0;
	bool good = f != NULL;

	if (!f)
		return errno == ENOENT ? 0 : error_errno(e, "%s: can't read", s->marks_path);
	good = getline(&line, &cap, f) > 0 && sscanf(line, "next %" SCNu64, &next) == 1 && next > 0;
	while (good && getline(&line, &cap, f) > 0) {
		line[strcspn(line, "\n")] = 0;
		good = take_mark(s, line);
	}
	free(line); /* of getline */
	fclose(f);
	if (!good)
		return error_set(e, ERROR_STATE, "%s is damaged", s->marks_path);
	spool_number_after(s->spool, next - 1);
	return 0;
}

/* ---- files ---- */

/* Whose epoch it is, by its second frame. */
static int read_note(const char *path, struct epoch_note *out, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct channel_reader *r;
	bool found = false;
	struct frame f;

	if (fd < 0)
		return error_errno(e, "%s: can't open", path);
	r = channel_reader_new(fd, path);
	for (int i = 0; i < 2 && !found && channel_read(r, true, &f, e) == CHANNEL_FRAME; i++)
		found = f.kind == FRAME_EPOCH && frame_read_epoch(&f, out, e) == 0;
	channel_reader_free(r);
	close(fd);
	if (found)
		return 0;
	error_clear(e);
	return error_set(e, ERROR_STATE, "%s is no kept epoch; move it out of the spool's directory",
		path);
}

static void add_file(struct epochs *s, const char *path, const struct epoch_note *n)
{
	MEM_GROW(s->files, s->files_cap, s->files_len + 1);
	s->files[s->files_len++] = (struct file){.number = strtoull(strrchr(path, '/') + 1, NULL, 10),
		.path = mem_strdup(path),
		.note = *n};
	set_mark(s, n);
}

static int take_left(struct epochs *s, struct error *e)
{
	const char *path;

	for (size_t i = 0; (path = spool_left(s->spool, i)); i++) {
		struct epoch_note n;

		if (read_note(path, &n, e) < 0)
			return -1;
		add_file(s, path, &n);
	}
	return 0;
}

int epochs_open(const char *directory, uint64_t bytes_max, struct epochs **out, struct error *e)
{
	struct epochs *s = mem_zero(sizeof *s);
	int status;

	s->directory = mem_strdup(directory);
	s->marks_path = mem_printf("%s/.epochs", directory);
	status = spool_open(directory, bytes_max, &s->spool, e);
	if (status == 0)
		status = read_marks(s, e);
	if (status == 0)
		status = take_left(s, e);
	if (status < 0)
		epochs_close(s);
	else
		*out = s;
	return status;
}

void epochs_close(struct epochs *s)
{
	if (!s)
		return;
	while (s->receipts)
		epochs_drop(s->receipts);
	for (size_t i = 0; i < s->files_len; i++)
		mem_free(s->files[i].path);
	mem_free(s->files);
	mem_free(s->marks);
	spool_close(s->spool);
	mem_free(s->directory);
	mem_free(s->marks_path);
	mem_free(s);
}

/* ---- receiving ---- */

static void free_receipt(struct epoch_receipt *r)
{
	struct epoch_receipt **at = &r->epochs->receipts;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	buf_clear(&r->pending);
	mem_free(r);
}

int epochs_begin(struct epochs *s, const struct epoch_note *n, struct epoch_receipt **out,
	struct error *e)
{
	struct epoch_receipt *r = mem_zero(sizeof *r);
	struct hello hello = {.version = FRAME_VERSION, .bounded = true};

	*r = (struct epoch_receipt){.epochs = s, .next = s->receipts, .note = *n};
	r->note.verb = EPOCH_BEGIN;
	s->receipts = r;
	if (spool_begin_hidden(s->spool, &r->file, e) < 0) {
		free_receipt(r);
		return -1;
	}
	memcpy(hello.stage, n->stage, sizeof n->stage);
	frame_put_hello(&r->pending, &hello);
	frame_put_epoch(&r->pending, &r->note);
	*out = r;
	return 0;
}

static int flush(struct epoch_receipt *r, struct error *e)
{
	int status = spool_append(r->file, r->pending.data, r->pending.len, e);

	buf_reset(&r->pending);
	return status;
}

int epochs_put_bytes(struct epoch_receipt *r, const struct buf *frames, struct error *e)
{
	buf_put(&r->pending, frames->data, frames->len);
	r->bytes += frames->len;
	return r->pending.len < CHUNK_BYTES ? 0 : flush(r, e);
}

int epochs_put(struct epoch_receipt *r, const struct frame *f, struct error *e)
{
	frame_put(&r->pending, f);
	r->bytes += FRAME_HEADER_BYTES + f->body_bytes;
	return r->pending.len < CHUNK_BYTES ? 0 : flush(r, e);
}

uint64_t epochs_receipt_bytes(const struct epoch_receipt *r)
{
	return r->bytes;
}

int epochs_complete(struct epoch_receipt *r, uint64_t rows, struct error *e)
{
	struct epochs *s = r->epochs;
	struct epoch_note note = r->note;
	char name[NAME_BYTES];
	int status;

	if (strcmp(note.job, EPOCHS_NO_JOB) != 0 && epochs_have(s, &note) >= note.number) {
		epochs_drop(r);
		return 0;
	}
	snprintf(name, sizeof name, "%s-%" PRIu64 "-%" PRIu64, note.stage, note.subtask, note.number);
	note.verb = EPOCH_COMPLETE;
	note.count = rows;
	frame_put_epoch(&r->pending, &note);
	frame_put_end(&r->pending, rows);
	status = flush(r, e);
	if (status == 0)
		status = spool_seal(r->file, name, e);
	if (status < 0) {
		epochs_drop(r);
		return -1;
	}
	add_file(s, spool_path(r->file), &r->note);
	free_receipt(r);
	return 0;
}

void epochs_drop(struct epoch_receipt *r)
{
	spool_drop(r->file);
	free_receipt(r);
}

bool epochs_has_room(const struct epochs *s, const struct epoch_receipt *r)
{
	return spool_has_room(s->spool) || (!s->files_len && r && !r->next);
}

/* ---- reading ---- */

uint64_t epochs_next(const struct epochs *s)
{
	return spool_number(s->spool) + 1;
}

uint64_t epochs_first(const struct epochs *s)
{
	return s->files_len ? s->files[0].number : epochs_next(s);
}

const char *epochs_path(const struct epochs *s, uint64_t number)
{
	for (size_t i = 0; i < s->files_len; i++) {
		if (s->files[i].number == number)
			return s->files[i].path;
	}
	return NULL;
}

int epochs_remove_before(struct epochs *s, uint64_t number, struct error *e)
{
	size_t n = 0;

	while (n < s->files_len && s->files[n].number < number)
		n++;
	/* That they were here has to be on disk before they are gone. */
	if (!n || write_marks(s, e) < 0)
		return n ? -1 : 0;
	for (size_t i = 0; i < n; i++) {
		if (spool_remove(s->spool, s->files[i].path, e) < 0)
			return -1;
		mem_free(s->files[i].path);
	}
	s->files_len -= n;
	memmove(s->files, s->files + n, s->files_len * sizeof *s->files);
	return 0;
}
