#include "cmd/ssource/follow_parts.h"

#include "libcore/base/memory.h"
#include "libcore/stage/operator.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { SCAN_US = 10000000 }; /* a directory that is watched is read again so often, to be sure */

/* ---- looking ---- */

static int64_t look_every_us(const struct follow *f, const struct follow_input *in)
{
	return in->kind == FOLLOW_DIRECTORY && in->watch >= 0 ? SCAN_US : f->look_us;
}

int follow_look_at_input(struct follow *f, uint32_t input, struct error *e)
{
	struct follow_input *in = &f->inputs[input];
	int status = 0;

	in->look = false;
	switch (in->kind) {
	case FOLLOW_FOREIGN:
	case FOLLOW_SOCKET:
	case FOLLOW_STREAM: break;
	case FOLLOW_UNKNOWN:
	case FOLLOW_FILE: status = follow_look_at_path(f, input, e); break;
	case FOLLOW_DIRECTORY: status = follow_look_at_directory(f, input, e); break;
	}
	in->looked_us = f->now_us;
	return status;
}

/* Where the path's name comes and goes. */
void follow_watch_parent(struct follow *f, uint32_t input)
{
	const char *path = f->o.inputs[input], *slash = strrchr(path, '/');
	char *parent = slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path))
			     : mem_strdup(".");

	f->inputs[input].watch = watch_directory(&f->watch, parent, false);
	mem_free(parent);
}

static bool is_name_of(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash ? slash + 1 : path, name) == 0;
}

static int hear_of_entry(
	struct follow *f, uint32_t input, const struct watch_event *event, struct error *e)
{
	const char *directory = f->o.inputs[input];
	struct followed *x;
	int status = 0;
	char *path;

	if (!*event->name || follow_is_temporary(event->name)) {
		f->inputs[input].look |= event->gone || event->appeared;
		return 0;
	}
	path = follow_path_in(directory, event->name);
	if (event->gone)
		f->inputs[input].look = true; /* moved within it, or away */
	else
		status = follow_look_at_entry(f, NULL, input, path, e);
	x = event->closed && !status ? follow_find_path(f, f->files_len, input, path) : NULL;
	if (x) {
		x->closed = true;
		x->dirty = !x->over;
	}
	mem_free(path);
	return status;
}

static int hear(void *context, const struct watch_event *event, struct error *e)
{
	struct follow *f = context;
	bool lost = event->number < 0 && !event->ready;

	if (event->ready) {
		*event->ready = true;
		return 0;
	}
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];

		if (!lost && (x->watch != event->number || *event->name))
			continue;
		x->dirty |= !x->over && !x->is_stream;
		x->closed |= event->closed;
		f->inputs[x->input].look = true; /* it may have been cut to nothing */
	}
	for (uint32_t i = 0; i < f->o.inputs_len; i++) {
		struct follow_input *in = &f->inputs[i];

		if (lost)
			in->look = true;
		if (in->watch != event->number)
			continue;
		if (in->kind != FOLLOW_DIRECTORY)
			in->look |= is_name_of(f->o.inputs[i], event->name);
		else if (hear_of_entry(f, i, event, e) < 0)
			return -1;
		if (event->gone && !*event->name)
			in->watch = -1;
	}
	return 0;
}

/* Of what is looked for by polling: whether the open file has grown. */
static void look_for_growth(struct follow *f)
{
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];
		struct stat st;

		if (x->due_us && x->due_us <= f->now_us) {
			x->dirty = !x->over;
			x->due_us = 0;
		}
		if (x->dirty || x->over || x->is_stream || x->fd < 0 || x->watch >= 0)
			continue;
		if (f->inputs[x->input].kind == FOLLOW_DIRECTORY && f->inputs[x->input].watch >= 0)
			continue;
		x->dirty = fstat(x->fd, &st) == 0 && (uint64_t)st.st_size > follow_bytes_read(x);
	}
}

int follow_collect(struct follow *f, int64_t mono_us, struct error *e)
{
	f->now_us = mono_us;
	follow_forget_dropped(f);
	if (watch_collect(&f->watch, hear, f, e) < 0)
		return -1;
	for (uint32_t i = 0; f->o.follows && i < f->o.inputs_len; i++) {
		struct follow_input *in = &f->inputs[i];

		if ((in->look || mono_us - in->looked_us >= look_every_us(f, in)) &&
			follow_look_at_input(f, i, e) < 0)
			return -1;
	}
	look_for_growth(f);
	return 0;
}

void follow_look(struct follow *f)
{
	for (uint32_t i = 0; i < f->o.inputs_len; i++)
		f->inputs[i].look = true;
}

/* ---- reading ---- */

/* At its end, with nothing held back: what comes behind it needn't wait. */
static bool lingers(const struct followed *x)
{
	return x->replaced && !x->is_old && !x->dirty &&
	       !(x->records && records_holds_part(x->records));
}

static bool may_read(const struct follow *f, size_t i)
{
	const struct followed *x = f->files[i];
	bool in_order = !f->o.follows && !f->o.merges;

	if (x->over || !x->dirty)
		return false;
	if (!in_order && (f->inputs[x->input].kind == FOLLOW_DIRECTORY ||
				 f->inputs[x->input].kind == FOLLOW_SOCKET || f->inputs[x->input].files_len < 2))
		return true;
	for (size_t k = 0; k < i; k++) {
		const struct followed *y = f->files[k];

		if ((in_order || y->input == x->input) && !y->over && !lingers(y))
			return false;
	}
	return true;
}

static bool is_before(const struct partition *a, const struct partition *b)
{
	return a->greatest_us != b->greatest_us ? a->greatest_us < b->greatest_us
						: a->turn < b->turn;
}

struct followed *follow_next(struct follow *f)
{
	struct followed *next = NULL;

	for (size_t i = 0; i < f->files_len; i++) {
		if ((!next || is_before(f->files[i]->partition, next->partition)) && may_read(f, i))
			next = f->files[i];
	}
	if (next)
		next->turn = next->partition->turn = ++f->turns;
	return next;
}

int follow_open(struct follow *f, struct followed *x, struct error *e)
{
	struct stat st;

	if (x->fd >= 0)
		return 0;
	x->fd = open(x->path, O_RDONLY | O_CLOEXEC);
	if (x->fd < 0 && errno != ENOENT)
		return error_errno(e, "can't open %s", x->path);
	if (x->fd >= 0 && (fstat(x->fd, &st) < 0 || !identity_is_inode(&x->identity, &st))) {
		close(x->fd);
		x->fd = -1;
	}
	if (x->fd < 0 && x->replaced && f->inputs[x->input].kind == FOLLOW_FILE)
		x->fd = follow_open_renamed(f, x, NULL);
	if (x->fd >= 0) {
		identity_extend(&x->identity, x->fd);
		return 0;
	}
	if (x->replaced) { /* deleted before it was read */
		if (x->bytes > x->range.start)
			stage_warn(f->o.stage, "%s is gone before it was read to its end", x->name);
		follow_drop(f, x);
	} else {
		x->dirty = false;
		f->inputs[x->input].look = true; /* renamed */
	}
	return 1;
}

/* Of the files of directories only so many stay open: those that had something last. */
static void close_eldest(struct follow *f)
{
	struct followed *eldest = NULL;

	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];

		if (x->records && !x->dirty && !x->replaced &&
			f->inputs[x->input].kind == FOLLOW_DIRECTORY &&
			(!eldest || x->turn < eldest->turn))
			eldest = x;
	}
	if (eldest)
		follow_close_file(f, eldest);
}

void follow_opened(struct follow *f, struct followed *x)
{
	f->open_len += f->inputs[x->input].kind == FOLLOW_DIRECTORY;
}

bool follow_rest(struct follow *f, struct followed *x)
{
	const struct followed *newest = follow_newest(f, x->input);
	int64_t linger_us = x->replaced_us + FOLLOW_LINGER_US;

	x->dirty = false;
	if (f->files_len > FOLLOW_READY_MAX && x->records && !x->is_stream)
		records_rest(x->records);
	if (f->open_len > FOLLOW_OPEN_MAX)
		close_eldest(f);
	if (x->is_cut)
		return true;
	if (!x->replaced || x->is_stream)
		return false;
	if (x->is_old)
		return true;
	if (newest->bytes && f->now_us >= linger_us)
		return true;
	x->due_us = f->now_us < linger_us ? linger_us : f->now_us + FOLLOW_LINGER_US;
	return false;
}

void follow_close(struct follow *f, struct followed *x)
{
	records_close(x->opening);
	x->opening = NULL;
	if (!x->records)
		return;
	if (!records_left(x->records, 0, &x->range))
		x->range.start = x->range.end = x->bytes;
	records_close(x->records);
	x->records = NULL;
	if (f->inputs[x->input].kind == FOLLOW_DIRECTORY)
		f->open_len--;
}

/* A named pipe may get another writer. */
static bool opens_again(const struct follow *f, const struct followed *x)
{
	struct stat st;

	return f->o.follows && x->is_stream && lstat(x->path, &st) == 0 && S_ISFIFO(st.st_mode);
}

int follow_end(struct follow *f, struct followed *x, struct error *e)
{
	struct follow_input *in = follow_input_of(f, x);

	follow_close_file(f, x);
	x->range.end = RECORDS_TO_END;
	x->over = true;
	x->dirty = false;
	in->files_len--;
	if (in->kind != FOLLOW_SOCKET && opens_again(f, x)) {
		x->removed = true;
		return follow_look_at_path(f, x->input, e);
	}
	x->removed = in->kind == FOLLOW_SOCKET ? !x->is_spooled : x->replaced;
	if (follow_has_own_partition(f, x) || (f->o.follows ? x->is_stream : f->o.merges))
		x->partition->over = true;
	return 0;
}

bool follow_is_over(const struct follow *f)
{
	for (uint32_t i = 0; i < f->o.inputs_len; i++) {
		const struct follow_input *in = &f->inputs[i];

		if (in->kind == FOLLOW_FOREIGN)
			continue;
		if (in->files_len || (f->o.follows && in->kind != FOLLOW_STREAM && !in->is_over))
			return false;
	}
	return true;
}

int follow_fd(const struct follow *f)
{
	return f->watch.epoll;
}

int64_t follow_wait_us(const struct follow *f, int64_t mono_us)
{
	int64_t least = -1;

	for (size_t i = 0; i < f->files_len; i++) {
		int64_t left = f->files[i]->due_us > mono_us ? f->files[i]->due_us - mono_us : 0;

		if (f->files[i]->due_us && (least < 0 || left < least))
			least = left;
	}
	for (uint32_t i = 0; f->o.follows && i < f->o.inputs_len; i++) {
		int64_t left = f->inputs[i].looked_us + look_every_us(f, &f->inputs[i]) - mono_us;

		left = left < 0 ? 0 : left;
		if (f->inputs[i].kind != FOLLOW_FOREIGN && f->inputs[i].kind != FOLLOW_SOCKET && (least < 0 || left < least))
			least = left;
	}
	return least;
}
