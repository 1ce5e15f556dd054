/* Options and rows on their way in: see intake.h. */
#include "cmd/swindow/intake.h"

#include <string.h>

int window_texts_check(const struct window_options *o, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct select_list list;
	struct expr *x;
	int status = 0;

	if (o->keys)
		status = select_parse(
			o->keys, o->keys_from ? o->keys_from : "-k", &arena, &list, e);
	if (status == 0 && o->list)
		status = select_parse(
			o->list, o->list_from ? o->list_from : "aggregates", &arena, &list, e);
	if (status == 0 && o->where)
		status = expr_parse(o->where, o->where_from ? o->where_from : "-w", &arena, &x, e);
	arena_clear(&arena);
	return status;
}

void plan_set_now(struct window_plan *p, int64_t now_us)
{
	if (p->where)
		program_set_now(p->where, now_us);
	program_set_now(p->inputs, now_us);
	program_set_now(p->results, now_us);
}

static void warn(const struct program *p, struct stage *stage)
{
	const char *text = program_warnings(p);

	while (*text) {
		size_t len = strcspn(text, "\n");

		stage_warn(stage, "%.*s", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

void plan_warn(const struct window_plan *p, struct stage *stage)
{
	warn(p->inputs, stage);
	warn(p->results, stage);
}

int plan_filter(const struct window_plan *p, const struct batch *in, struct arena *a,
	struct batch *out, struct error *e)
{
	uint32_t *pick, picked;

	*out = *in;
	if (!p->where)
		return 0;
	pick = arena_alloc(a, ((size_t)in->rows + 1) * sizeof *pick);
	if (program_filter(p->where, in, pick, &picked, NULL, e))
		return error_context(e, "-w");
	if (picked < in->rows)
		batch_gather(in, pick, picked, a, out);
	return 0;
}

int plan_times(const struct window_plan *p, const struct batch *b, int64_t *next_row,
	struct arena *a, const int64_t **out, struct error *e)
{
	int64_t *numbers;

	if (p->in.time_column >= 0)
		return batch_times(b, a, out, e);
	numbers = arena_alloc(a, ((size_t)b->rows + 1) * sizeof *numbers);
	for (uint32_t r = 0; r < b->rows; r++)
		numbers[r] = (*next_row)++;
	*out = numbers;
	return 0;
}
