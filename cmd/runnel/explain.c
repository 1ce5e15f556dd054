#include "cmd/runnel/explain.h"

#include "cmd/runnel/launch.h"
#include "cmd/runnel/savepoint.h"
#include "libcore/base/infile.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOG_BYTES_MAX = 64 << 10 };

/* ---- one stage ---- */

/* What it wrote to standard error: warnings about what is new. */
static void put_log(const char *log, struct buf *out)
{
	struct error ignored = ERROR_INIT;

	infile_read(log, LOG_BYTES_MAX, out, &ignored);
	unlink(log);
}

/* READY, or why not. */
static int hear_verdict(struct process *x, const struct plan_stage *s, struct error *e)
{
	for (;;) {
		struct line_message m;

		if (line_read(x->line, true, &m, e) != LINE_MESSAGE)
			return error_set(e, ERROR_IO, "%s ended without a word", s->name);
		if (m.kind == LINE_READY)
			return 0;
		if (m.kind == LINE_FAILED)
			return error_set(e, (enum error_code)m.status, "%s: %s", s->name, m.text);
	}
}

static int check_stage(const struct restore *r, size_t stage, const char *log, struct buf *out,
	struct error *e)
{
	const struct plan_stage *s = &r->plan->stages[stage];
	struct process_options options = {.log = log};
	struct line_plan *p = mem_zero(sizeof *p);
	struct arena arena = ARENA_INIT;
	struct process x = {.pid = 0};
	struct error ignored = ERROR_INIT;
	int status;

	p->name = s->name;
	p->subtasks = s->subtasks;
	p->job = r->from->job;
	p->lock_fd = -1;
	p->outputs_len = s->d.outputs;
	p->snapshots = "/nowhere"; /* it is never asked for one */
	p->check = true;
	status = restore_task(r, stage, 0, &arena, p, e);
	if (status == 0 && p->restore_len) {
		status = launch(s, &options, &x, e);
		if (status == 0 && line_send_plan(x.line, p, e) == 0)
			status = hear_verdict(&x, s, e);
	}
	if (x.line) {
		line_send(x.line, &(struct line_message){.kind = LINE_STOP}, &ignored);
		line_free(x.line);
		waitpid(x.pid, NULL, 0);
		if (status == 0)
			put_log(log, out);
		else
			unlink(log);
	}
	arena_clear(&arena);
	mem_free(p);
	return status;
}

/* ---- all of them ---- */

static int check_stages(const struct restore *r, struct buf *out, struct error *e)
{
	char log[] = "/tmp/runnel-plan-XXXXXX";
	int fd = mkstemp(log), status = 0;

	if (fd < 0)
		return error_errno(e, "%s: can't make a file", log);
	close(fd);
	for (size_t i = 0; i < r->plan->stages_len && status == 0; i++)
		status = check_stage(r, i, log, out, e);
	unlink(log);
	return status;
}

static int explain_checkpoint(const struct explain_options *o, const char *directory,
	struct buf *out, struct error *e)
{
	struct checkpoint c = {.id = 0};
	struct restore r = {.plan = o->plan, .from = &c, .drop = o->drop, .drop_len = o->drop_len,
		.commit = true};
	int status = checkpoint_read(directory, &c, e);

	if (status == 1)
		return error_set(e, ERROR_STATE, "%s holds no manifest: it is no savepoint",
			o->from ? o->from : directory);
	if (status < 0)
		return -1;
	buf_printf(out, "goes on from %s %" PRIu64 "\n", barrier_kind_name(c.kind), c.id);
	status = checkpoint_verify(&c, e) < 0 || restore_fit(&r, out, e) < 0 ? -1 :
		check_stages(&r, out, e);
	checkpoint_clear(&c);
	return status;
}

static int explain_savepoint(const struct explain_options *o, struct buf *out, struct error *e)
{
	char directory[] = "/tmp/runnel-XXXXXX";
	struct error ignored = ERROR_INIT;
	int status;

	if (!mkdtemp(directory))
		return error_errno(e, "%s: can't make a directory", directory);
	status = savepoint_read(o->from, directory, e);
	if (status == 0)
		status = explain_checkpoint(o, directory, out, e);
	directory_remove(directory, &ignored);
	return status;
}

int explain(const struct explain_options *o, struct buf *out, struct error *e)
{
	struct checkpoint own = {.id = 0};
	uint64_t greatest;
	char *root;
	int status;

	if (o->from)
		return explain_savepoint(o, out, e);
	root = mem_printf("%s/checkpoints", o->directory);
	status = access(root, F_OK) < 0 ? 1 : checkpoints_newest(root, &own, &greatest, e);
	if (status == 0)
		status = explain_checkpoint(o, own.directory, out, e);
	checkpoint_clear(&own);
	mem_free(root);
	return status < 0 ? -1 : 0;
}
