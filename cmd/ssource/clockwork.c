#include "cmd/ssource/clockwork.h"

#include "libcore/base/clock.h"

enum { TICK_US = 1000000, RATE_SLICES = 50 };

void clockwork_init(struct clockwork *c, const struct source_options *o)
{
	*c = (struct clockwork){.o = o,
		.time_column = -1,
		.greatest_us = WATERMARK_NONE,
		.subtasks = 1,
		.ticked_us = WATERMARK_NONE};
}

int clockwork_set_schema(struct clockwork *c, struct schema *s, struct error *e)
{
	const char *name = c->o->time_column;
	struct buf type = BUF_INIT;
	int column;

	if (!name) {
		c->time_column = s->time_column;
		c->time_offset_us = s->time_offset_us;
		return 0;
	}
	column = schema_require(s, name, strlen(name), "the input", e);
	if (column < 0)
		return error_context(e, "-t");
	if (s->fields[column].type.kind != TYPE_TIMESTAMP) {
		type_put(s->fields[column].type, &type);
		error_set(e, ERROR_USAGE, "-t %s: the column is %s; an event time is a timestamp",
			name, buf_cstr(&type));
		buf_clear(&type);
		return error_hint(e, "if it holds %s, say -s '*, %s %s'",
			s->fields[column].type.kind == TYPE_INT ? "milliseconds since 1970"
								: "times",
			name,
			s->fields[column].type.kind == TYPE_INT ? "timestamp(ms)" : "timestamp");
	}
	c->time_column = s->time_column = column;
	c->time_offset_us = s->time_offset_us = 0;
	return 0;
}

bool clockwork_places(const struct clockwork *c)
{
	return c->time_column >= 0 && c->o->has_delay;
}

static uint64_t slice_of_rate(const struct clockwork *c)
{
	uint64_t slice = (uint64_t)c->o->rate / c->subtasks / RATE_SLICES;

	return slice ? slice : 1;
}

uint32_t clockwork_rows_max(const struct clockwork *c)
{
	uint64_t n = SOURCE_WATERMARK_ROWS - c->rows % SOURCE_WATERMARK_ROWS;

	if (c->o->rate && n > slice_of_rate(c))
		n = slice_of_rate(c);
	if (c->o->limit >= 0) {
		uint64_t left = c->rows < (uint64_t)c->o->limit ? (uint64_t)c->o->limit - c->rows
								: 0;

		n = n < left ? n : left;
	}
	return (uint32_t)n;
}

int64_t clockwork_wait_us(struct clockwork *c)
{
	int64_t now, due;

	if (!c->o->rate)
		return 0;
	now = clock_mono_us();
	if (!c->paced_rows)
		c->paced_from_us = now;
	due = c->paced_from_us +
	      (int64_t)((double)c->paced_rows * c->subtasks * 1e6 / (double)c->o->rate);
	return due > now ? due - now : 0;
}

int64_t clockwork_greatest(const struct clockwork *c, const struct batch *b, uint32_t first,
	uint32_t n, int64_t before_us)
{
	const struct column *times = &b->columns[c->time_column];
	int64_t greatest_us = before_us;

	for (uint32_t r = first; r < first + n; r++) {
		int64_t us;

		if (column_is_valid(times, r) &&
			!__builtin_add_overflow(column_int(times, r), c->time_offset_us, &us) &&
			us > greatest_us)
			greatest_us = us;
	}
	return greatest_us;
}

static int64_t subtract(int64_t a, int64_t b)
{
	int64_t out;

	return __builtin_sub_overflow(a, b, &out) ? INT64_MIN + 1 : out;
}

int clockwork_send(struct clockwork *c, struct stage *st, const struct batch *b, struct error *e)
{
	if (stage_emit(st, 0, b, e) < 0)
		return -1;
	c->rows += b->rows;
	c->paced_rows += b->rows;
	return 0;
}

int clockwork_emit(struct clockwork *c, struct stage *st, const struct batch *b, struct error *e)
{
	uint64_t before = c->rows;

	if (!b->rows)
		return 0;
	if (clockwork_places(c))
		c->greatest_us = clockwork_greatest(c, b, 0, b->rows, c->greatest_us);
	if (clockwork_send(c, st, b, e) < 0)
		return -1;
	if (!clockwork_places(c) || c->rows / SOURCE_WATERMARK_ROWS == before / SOURCE_WATERMARK_ROWS ||
		c->greatest_us == WATERMARK_NONE)
		return 0;
	return stage_emit_watermark(st, subtract(subtract(c->greatest_us, c->o->delay_us), 1), e);
}

int clockwork_tick(struct clockwork *c, struct stage *st, struct error *e)
{
	int64_t now = clock_wall_us();

	if (c->ticked_us != WATERMARK_NONE && now - c->ticked_us < TICK_US)
		return 0;
	c->ticked_us = now;
	return stage_emit_tick(st, now, e);
}

int64_t clockwork_until_tick(const struct clockwork *c)
{
	int64_t left = c->ticked_us + TICK_US - clock_wall_us();

	return c->ticked_us == WATERMARK_NONE || left < 0 ? 0 : left;
}
