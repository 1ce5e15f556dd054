#include "cmd/runnel/restore.h"

#include <stdio.h>
#include <string.h>

static bool is_dropped(const struct restore *r, const char *stage)
{
	for (size_t i = 0; i < r->drop_len; i++) {
		if (!strcmp(r->drop[i], stage))
			return true;
	}
	return false;
}

/* The part that "stage:part" names, if it is of this stage; else NULL. */
static const char *dropped_part(const char *drop, const char *stage)
{
	size_t len = strlen(stage);

	return strncmp(drop, stage, len) == 0 && drop[len] == ':' ? drop + len + 1 : NULL;
}

static const struct checkpoint_task *first_of(const struct checkpoint *c, const char *stage)
{
	for (size_t i = 0; i < c->tasks_len; i++) {
		if (!strcmp(c->tasks[i].stage, stage))
			return &c->tasks[i];
	}
	return NULL;
}

/* ---- does it fit ---- */

static int check_dropped(const struct restore *r, struct error *e)
{
	for (size_t i = 0; i < r->drop_len; i++) {
		const char *colon = strchr(r->drop[i], ':');
		char stage[80];
		struct buf names = BUF_INIT;

		snprintf(stage, sizeof stage, "%.*s",
			colon ? (int)(colon - r->drop[i]) : (int)strlen(r->drop[i]), r->drop[i]);
		if (first_of(r->from, stage))
			continue;
		for (size_t t = 0; t < r->from->tasks_len; t++) {
			if (first_of(r->from, r->from->tasks[t].stage) == &r->from->tasks[t])
				buf_printf(&names, "%s%s", names.len ? ", " : "", r->from->tasks[t].stage);
		}
		error_set(e, ERROR_USAGE, "--drop-state %s: there is no state of a stage of that name\n"
			"there is state of %s", r->drop[i], buf_cstr(&names));
		buf_clear(&names);
		return -1;
	}
	return 0;
}

/* Whether any of its subtasks has prepared what nobody has committed yet. */
static bool has_handles(const struct restore *r, const char *stage)
{
	for (size_t i = 0; r->commit && i < r->from->tasks_len; i++) {
		if (!strcmp(r->from->tasks[i].stage, stage) && r->from->tasks[i].handle.len)
			return true;
	}
	return false;
}

/* One stage's state against the plan; what is wrong goes to misfits. */
static void compare(const struct restore *r, const struct checkpoint_task *t, struct buf *report,
	struct buf *misfits)
{
	int stage = plan_find(r->plan, t->stage);
	bool same = stage >= 0 && !strcmp(r->plan->stages[stage].d.type, t->type);

	if (same && !is_dropped(r, t->stage))
		return;
	if (is_dropped(r, t->stage)) {
		buf_printf(report, "%s: its state is dropped (%s)\n", t->stage,
			t->keeps ? t->keeps : "nothing to miss");
		return;
	}
	if (!t->keeps && !has_handles(r, t->stage)) {
		buf_printf(report, "%s: not in the pipeline any more; it kept nothing\n", t->stage);
		return;
	}
	if (stage >= 0)
		buf_printf(misfits, "\n%s: the state is %s's, the stage is now %s", t->stage, t->type,
			r->plan->stages[stage].d.type);
	else
		buf_printf(misfits, "\n%s: no stage has this name; it kept %s", t->stage,
			t->keeps ? t->keeps : "rows that are not committed yet");
}

int restore_fit(const struct restore *r, struct buf *report, struct error *e)
{
	struct buf misfits = BUF_INIT;
	int status = check_dropped(r, e);

	for (size_t i = 0; status == 0 && i < r->from->tasks_len; i++) {
		const struct checkpoint_task *t = &r->from->tasks[i];

		if (first_of(r->from, t->stage) == t)
			compare(r, t, report, &misfits);
	}
	for (size_t i = 0; i < r->plan->stages_len; i++) {
		const struct plan_stage *s = &r->plan->stages[i];

		if (!first_of(r->from, s->name))
			buf_printf(report, "%s: new; it starts %s\n", s->name,
				plan_is_source(s) ? "at the beginning of its input" : "empty");
	}
	if (status == 0 && misfits.len) {
		status = error_set(e, ERROR_STATE, "%s %llu doesn't fit the pipeline:%s\n"
			"give the stage its old name (--name), or let the state go: --drop-state NAME",
			barrier_kind_name(r->from->kind),
			(unsigned long long)r->from->id, buf_cstr(&misfits));
	}
	buf_clear(&misfits);
	return status;
}

/* ---- who gets what ---- */

/* Whether a former subtask's part is for this subtask.  With as many subtasks as before everyone
 * takes up his own; else all see all, and pick their key groups, their share of a source's input. */
static bool is_mine(const struct plan_stage *s, const struct checkpoint_task *t, uint32_t subtask)
{
	return t->subtasks != s->subtasks || t->subtask == subtask;
}

bool restore_finished(const struct restore *r, size_t stage, uint32_t subtask)
{
	const struct plan_stage *s = &r->plan->stages[stage];
	bool all = true;

	if (!first_of(r->from, s->name) || is_dropped(r, s->name))
		return false;
	for (size_t i = 0; i < r->from->tasks_len; i++) {
		const struct checkpoint_task *t = &r->from->tasks[i];

		if (!strcmp(t->stage, s->name) && is_mine(s, t, subtask))
			all &= t->finished;
	}
	return all;
}

static int add_file(const struct restore *r, const struct checkpoint_task *t, struct arena *a,
	struct line_plan *out, struct error *e)
{
	if (out->restore_len == LINE_FILES_MAX)
		return error_set(e, ERROR_STATE, "%s: more than %d state files", t->stage, LINE_FILES_MAX);
	out->restore[out->restore_len++] = arena_printf(a, "%s/%s", r->from->directory, t->file);
	return 0;
}

static int add_commit(const struct restore *r, const struct checkpoint_task *t,
	struct line_plan *out, struct error *e)
{
	if (out->commits_len == LINE_FILES_MAX)
		return error_set(e, ERROR_STATE, "%s: more than %d epochs to commit", t->stage,
			LINE_FILES_MAX);
	out->commits[out->commits_len++] = (struct line_handle){r->from->id, t->handle.data,
		t->handle.len};
	return 0;
}

int restore_task(const struct restore *r, size_t stage, uint32_t subtask, struct arena *a,
	struct line_plan *out, struct error *e)
{
	const struct plan_stage *s = &r->plan->stages[stage];

	if (!first_of(r->from, s->name))
		return 0;
	out->finished = restore_finished(r, stage, subtask);
	for (size_t i = 0; i < r->drop_len; i++) {
		const char *part = dropped_part(r->drop[i], s->name);

		if (part && out->drops_len < LINE_DROPS_MAX)
			out->drops[out->drops_len++] = part;
	}
	for (size_t i = 0; i < r->from->tasks_len; i++) {
		const struct checkpoint_task *t = &r->from->tasks[i];

		if (strcmp(t->stage, s->name) != 0 || !is_mine(s, t, subtask))
			continue;
		/* What was complete is committed, also if the state behind it is let go. */
		if (t->file && !is_dropped(r, s->name) && add_file(r, t, a, out, e) < 0)
			return -1;
		if (r->commit && t->handle.len && t->subtask % s->subtasks == subtask &&
			add_commit(r, t, out, e) < 0)
			return -1;
	}
	return 0;
}
