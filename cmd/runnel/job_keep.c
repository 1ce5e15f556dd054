#include "cmd/runnel/job_private.h"

#include "libcore/base/clock.h"
#include "libcore/base/infile.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/outfile.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- checkpoints: what the coordinator wants kept ---- */

static int keep_begin(void *context, enum barrier_kind kind, uint64_t *id, char **directory,
	struct error *e)
{
	struct job *j = context;

	*id = j->next_id++;
	return checkpoints_begin(j->root, *id, directory, e);
}

static bool is_own(const struct job *j, const struct checkpoint *c)
{
	return !strncmp(c->directory, j->root, strlen(j->root));
}

/* The youngest checkpoint that is complete; 0: none. */
static uint64_t last_own(const struct job *j)
{
	if (j->last.id)
		return j->last.id;
	return j->has_restored && is_own(j, &j->restored) ? j->restored.id : 0;
}

/* ---- --drop-state: once.  The file "dropped" has the names of what has been let go, each behind the
 * number of the first checkpoint without it, so that a start with the same options (a service's)
 * doesn't let go what has grown since.  Written before that checkpoint's manifest: while there is
 * none as young as this, nothing has been dropped. ---- */

enum { DROPPED_BYTES_MAX = 1 << 20 };

static bool was_dropped(const char *text, const char *name, uint64_t newest)
{
	size_t len = strlen(name);

	for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		char *end;
		uint64_t id = strtoull(at, &end, 10);

		if (*end == ' ' && id <= newest && !strncmp(end + 1, name, len) && end[1 + len] == '\n')
			return true;
	}
	return false;
}

void job_read_dropped(struct job *j)
{
	char *path = state_path(j->state, "dropped");
	struct error ignored = ERROR_INIT;
	struct buf text = BUF_INIT;

	infile_read(path, DROPPED_BYTES_MAX, &text, &ignored); /* mostly there is none */
	mem_free(path);
	j->drop = mem_resize(j->drop, (j->o->drop_len + 1) * sizeof *j->drop);
	j->drop_len = 0;
	for (size_t i = 0; i < j->o->drop_len; i++) {
		if (!was_dropped(buf_cstr(&text), j->o->drop[i], last_own(j)))
			j->drop[j->drop_len++] = j->o->drop[i];
		else if (!j->restarts)
			job_say(j, "--drop-state %s: done at an earlier start", j->o->drop[i]);
	}
	buf_clear(&text);
}

static int write_dropped(struct job *j, uint64_t id, struct error *e)
{
	char *path = state_path(j->state, "dropped");
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600), status = 0;

	for (size_t i = 0; fd >= 0 && i < j->drop_len; i++) {
		if (dprintf(fd, "%" PRIu64 " %s\n", id, j->drop[i]) < 0)
			status = -1;
	}
	if (fd < 0 || status < 0 || fsync(fd) < 0)
		status = error_errno(e, "%s: can't write", path);
	if (fd >= 0)
		close(fd);
	if (status == 0)
		status = outfile_sync_directory(path, e);
	mem_free(path);
	return status;
}

static int keep_complete(void *context, const struct checkpoint *c, struct error *e)
{
	struct job *j = context;

	if (j->drop_len && write_dropped(j, c->id, e) < 0)
		return -1;
	if (checkpoints_complete(c, e) < 0)
		return -1;
	j->drop_len = 0;
	j->checkpoints++;
	j->last = (struct status_checkpoint){.id = c->id, .kind = barrier_kind_name(c->kind),
		.at_us = clock_wall_us(), .bytes = checkpoint_bytes(c),
		.duration_us = (uint64_t)(clock_mono_us() -
			coordinator_pending_since_us(j->attempt.coordinator))};
	for (size_t i = 0; i < j->attempt.tasks_len; i++) {
		uint64_t us = j->attempt.tasks[i].alignment_us;

		j->last.alignment_us = us > j->last.alignment_us ? us : j->last.alignment_us;
	}
	if (j->o->verbose)
		job_say(j, "%s %" PRIu64 ": %" PRIu64 " bytes in %.1f ms", barrier_kind_name(c->kind), c->id,
			j->last.bytes, (double)j->last.duration_us / 1e3);
	return 0;
}

static void remove_restored_savepoint(struct job *j)
{
	struct error ignored = ERROR_INIT;
	char *path = state_path(j->state, "restored");

	directory_remove(path, &ignored);
	mem_free(path);
}

static void keep_done(void *context, const struct checkpoint *c)
{
	struct job *j = context;
	uint64_t pinned;

	if (!is_own(j, c))
		return; /* a savepoint that was restored: nothing of it was to be committed */
	checkpoint_mark_committed(c);
	for (size_t i = j->waiting_len; i-- > 0;) {
		struct waiting *w = &j->waiting[i];

		if (w->kind == WAIT_CHECKPOINT && c->id > w->after)
			job_reply(j, i, 0, "checkpoint %" PRIu64 "\n", c->id);
		else if (w->kind == WAIT_SAVEPOINT && c->kind == BARRIER_SAVEPOINT && !w->writer &&
			c->id > w->after)
			job_start_savepoint(j, i, c);
	}
	pinned = job_pinned(j);
	checkpoints_remove_older(j->root, pinned && pinned < c->id ? pinned : c->id);
	remove_restored_savepoint(j);
}

static void keep_given_up(void *context, uint64_t id, const char *why)
{
	struct job *j = context;

	j->declined++;
	job_say(j, "warning: checkpoint %" PRIu64 " is given up: %s", id, why);
	checkpoints_empty_newer(j->root, last_own(j), id);
	for (size_t i = j->waiting_len; i-- > 0 && !j->stop_us;) { /* to stop, it is tried again */
		const struct waiting *w = &j->waiting[i];

		if (w->kind == WAIT_CHECKPOINT && id > w->after)
			job_reply(j, i, ERROR_IO, "checkpoint %" PRIu64 " was given up: %s\n", id, why);
		else if (w->kind == WAIT_SAVEPOINT && !w->writer && id > w->after &&
			!coordinator_wants(j->attempt.coordinator, BARRIER_SAVEPOINT))
			job_reply(j, i, ERROR_IO, "%s: savepoint %" PRIu64 " was given up: %s\n",
				w->path, id, why);
	}
}

struct coordinator_actions job_keeper(struct job *j)
{
	return (struct coordinator_actions){.context = j, .begin = keep_begin,
		.complete = keep_complete, .done = keep_done, .given_up = keep_given_up};
}
