#include "cmd/ssource/follow_parts.h"

#include "connect/net.h"
#include "libcore/base/memory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Every input may be a file that is open. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* A generation of a path that a snapshot tells of: it may be called otherwise by now. */
static int find_again(struct follow *f, struct followed *x, struct error *e)
{
	struct stat st;

	x->fd = follow_open_renamed(f, x, &(struct copied){x->range.start, x->changed_us});
	if (x->fd < 0 || fstat(x->fd, &st) < 0)
		return follow_lose(f, x, e);
	x->identity.device = st.st_dev;
	x->identity.inode = st.st_ino;
	x->bytes = (uint64_t)st.st_size;
	x->changed_us = follow_changed_us(&st);
	if (x->bytes < x->range.start)
		return follow_lose(f, x, e);
	follow_take_up(f, x);
	x->watch = watch_file(&f->watch, x->fd);
	return 0;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* What a connection had spooled: the connection is gone. */
static int find_spooled(struct follow *f, struct followed *x, struct error *e)
{
	struct stat st;

	x->is_spooled = true;
	x->fd = x->over ? -1 : open(x->path, O_RDONLY | O_CLOEXEC);
	if (x->fd < 0 && !x->over)
		return follow_lose(f, x, e);
	if (x->fd >= 0 && fstat(x->fd, &st) == 0)
		x->bytes = (uint64_t)st.st_size;
	follow_take_up(f, x);
	x->partition->over = x->over;
	x->replaced = x->is_old = true;
	return 0;
}

/* Files of a snapshot, before anything new is looked at. */
static int start_restored(struct follow *f, struct error *e)
{
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];
		struct follow_input *in = follow_input_of(f, x);

		if (in->kind == FOLLOW_FOREIGN) {
			x->removed = true;
			continue;
		}
		if (in->kind == FOLLOW_SOCKET) {
			if (find_spooled(f, x, e) < 0)
				return -1;
			continue;
		}
		if (f->o.follows && is_directory(f->o.inputs[x->input]))
			continue; /* it is met when the directory is read */
		if (f->o.follows && !x->is_stream) {
			if (find_again(f, x, e) < 0)
				return -1;
		} else if (x->over) {
			follow_take_up(f, x);
		}
	}
	for (size_t i = 0; i < f->files_len; i++) { /* all but the newest were replaced */
		struct followed *x = f->files[i];

		if (f->o.follows && !x->is_restored && !x->is_spooled && follow_newest(f, x->input) != x) {
			follow_replace(f, x);
			x->is_old = true;
		}
	}
	follow_forget_dropped(f);
	return 0;
}

/* Without --follow a path is the same file as ever: what was over stays so, what wasn't goes on. */
static int start_bounded(struct follow *f, uint32_t input, struct error *e)
{
	struct followed *known = follow_newest(f, input);
	struct records_range range = {.input = input, .end = RECORDS_TO_END};

	if (known && known->over)
		return 0;
	if (known) {
		range = known->range;
		follow_restore_time(f, f->inputs[input].partition, known);
		known->over = known->removed = true;
	}
	if (follow_look_at_input(f, input, e) < 0)
		return -1;
	known = follow_newest(f, input);
	if (known && !known->is_stream)
		known->range = range;
	return 0;
}

static int start_input(struct follow *f, uint32_t input, struct error *e)
{
	struct follow_input *in = &f->inputs[input];
	const char *path = f->o.inputs[input];
	struct followed *known = follow_newest(f, input), *x;
	struct stat st;

	if (in->kind == FOLLOW_FOREIGN || in->kind == FOLLOW_SOCKET)
		return 0;
	if (strcmp(path, "-") == 0) {
		if (known)
			follow_drop(f, known);
		if (fstat(STDIN_FILENO, &st) < 0)
			return error_errno(e, "can't read standard input");
		in->kind = FOLLOW_STREAM;
		follow_add_stream(f, input, path, STDIN_FILENO, &st);
		return 0;
	}
	if (!f->o.follows)
		return start_bounded(f, input, e);
	follow_watch_parent(f, input);
	if (follow_look_at_input(f, input, e) < 0)
		return -1;
	x = follow_newest(f, input);
	if (f->is_restored || !f->o.from_end || !x || x->is_stream || in->kind == FOLLOW_DIRECTORY)
		return 0;
	if (follow_begin_at_end(x, e) < 0)
		return -1;
	in->files_len -= x->over;
	return 0;
}

/* Of a directory's files that a snapshot tells of, those that nobody met: with several subtasks,
 * others' too. */
static int settle_restored(struct follow *f, struct error *e)
{
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];
		struct stat st = {.st_dev = x->identity.device, .st_ino = x->identity.inode};

		if (!x->is_restored || x->removed)
			continue;
		if (!follow_is_own(f, &st))
			x->removed = true;
		else if (follow_lose(f, x, e) < 0)
			return -1;
	}
	follow_forget_dropped(f);
	return 0;
}

int follow_start(struct follow *f, const struct follow_options *o, struct timeline *t,
	int64_t mono_us, struct error *e)
{
	f->o = *o;
	f->timeline = t;
	f->now_us = mono_us;
	f->inputs = mem_zero(o->inputs_len * sizeof *f->inputs);
	raise_descriptors();
	if (watch_open(&f->watch, o->polls || !o->follows, e) < 0)
		return -1;
	f->is_open = true;
	f->look_us = f->watch.inotify < 0 ? FOLLOW_POLL_US : FOLLOW_LOOK_US;
	for (uint32_t i = 0; i < o->inputs_len; i++) {
		struct follow_input *in = &f->inputs[i];
		bool is_shared = o->follows && is_directory(o->inputs[i]);

		in->watch = -1;
		if (!is_shared && i % o->subtasks != o->subtask)
			in->kind = FOLLOW_FOREIGN;
		else if (i && !o->follows && !o->merges)
			in->partition = f->inputs[0].partition;
		else
			in->partition = timeline_add(t, mono_us);
		if (in->kind != FOLLOW_FOREIGN && net_is(o->inputs[i])) {
			in->kind = FOLLOW_SOCKET;
			in->partition->over = true; /* its connections have their own */
		}
	}
	if (start_restored(f, e) < 0)
		return -1;
	for (uint32_t i = 0; i < o->inputs_len; i++) {
		if (start_input(f, i, e) < 0)
			return -1;
	}
	return settle_restored(f, e);
}
