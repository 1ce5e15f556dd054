#include "cmd/ssource/positions.h"

#include "cmd/ssource/split.h"

#include "libcore/base/memory.h"
#include "libcore/state/named_section.h"

#include <stdlib.h>
#include <string.h>

enum { PACKED_FACTOR = 4 }; /* about what compressed text grows to */

void positions_clear(struct positions *p)
{
	mem_free(p->items);
	mem_free(p->spec);
	*p = (struct positions)POSITIONS_INIT;
}

void positions_add(struct positions *p, struct position item)
{
	MEM_GROW(p->items, p->cap, p->len + 1);
	p->items[p->len++] = item;
}

void positions_begin(struct positions *p, size_t inputs_len)
{
	for (uint32_t i = 0; i < inputs_len; i++)
		positions_add(p, (struct position){.range = {.input = i, .end = RECORDS_TO_END},
					 .greatest_us = WATERMARK_NONE});
}

/* ---- division ---- */

static uint64_t bytes_left(const struct records_range *r, const struct input_facts *facts)
{
	uint64_t end = facts->bytes * (facts->packed ? PACKED_FACTOR : 1);

	if (r->end < end)
		end = r->end;
	return r->start < end ? end - r->start : 0;
}

static int look_at_items(const struct positions *p, bool can_cut, const char *const *inputs,
	struct split_item *items, struct error *e)
{
	struct input_facts facts = {.regular = false};
	uint32_t input = UINT32_MAX;

	for (size_t i = 0; i < p->len; i++) {
		const struct records_range *r = &p->items[i].range;

		if (r->input != input && input_look(inputs[r->input], &facts, e) < 0)
			return -1;
		input = r->input;
		if (!facts.regular)
			return error_set(e, ERROR_USAGE,
				"%s is no regular file: several subtasks can't read it",
				inputs[input]);
		items[i].bytes = bytes_left(r, &facts);
		items[i].can_cut = can_cut && !facts.packed;
	}
	return 0;
}

static struct position piece_of(
	const struct position *whole, struct split_piece piece, uint64_t bytes)
{
	struct position part = *whole;

	if (piece.from) {
		part.range.start += piece.from;
		part.range.is_begun = false;
		part.range.line = 0;
		part.rows = 0;
	}
	if (piece.to < bytes)
		part.range.end = whole->range.start + piece.to;
	return part;
}

int positions_share(struct positions *p, struct positions_way way, const struct records *r,
	const char *const *inputs, struct error *e)
{
	struct split_item *items = mem_zero((p->len + 1) * sizeof *items);
	struct split_piece *pieces = mem_alloc((p->len + 1) * sizeof *pieces);
	struct position *own = mem_alloc((p->len + 1) * sizeof *own);
	struct split_way split = {.subtask = way.subtask,
		.subtasks = way.subtasks,
		.cut_min_bytes = way.cut_min_bytes ? way.cut_min_bytes : SPLIT_CUT_MIN_BYTES};
	int status = look_at_items(p, records_is_divisible(r), inputs, items, e);
	size_t n = status < 0 ? 0 : split_share(items, p->len, split, pieces);

	for (size_t i = 0; i < n; i++)
		own[i] = piece_of(
			&p->items[pieces[i].item], pieces[i], items[pieces[i].item].bytes);
	mem_free(p->items);
	p->items = own;
	p->cap = p->len + 1;
	p->len = n;
	p->is_divided = true;
	mem_free(items);
	mem_free(pieces);
	return status;
}

/* ---- snapshots ---- */

enum {
	P_INPUT,
	P_ENTRY,
	P_OFFSET,
	P_BEGUN,
	P_END,
	P_LINE,
	P_ROWS,
	P_GREATEST,
	P_DIVIDED,
	P_SPEC,
	P_COLUMNS
};

static const struct named_column columns[P_COLUMNS] = {
	[P_INPUT] = {"input", TYPE_INT},
	[P_ENTRY] = {"entry", TYPE_INT},
	[P_OFFSET] = {"offset", TYPE_INT},
	[P_BEGUN] = {"begun", TYPE_BOOL},
	[P_END] = {"end", TYPE_INT},
	[P_LINE] = {"line", TYPE_INT},
	[P_ROWS] = {"rows", TYPE_INT},
	[P_GREATEST] = {"greatest_time", TYPE_TIMESTAMP},
	[P_DIVIDED] = {"divided", TYPE_BOOL},
	[P_SPEC] = {"schema", TYPE_STRING},
};

static void put_row(const struct positions *p, size_t i, struct column_builder *c)
{
	const struct position *x = &p->items[i];
	const struct records_range *r = &x->range;

	builder_put_int(&c[P_INPUT], r->input);
	builder_put_int(&c[P_ENTRY], r->entry);
	builder_put_int(&c[P_OFFSET], (int64_t)r->start);
	builder_put_bool(&c[P_BEGUN], r->is_begun);
	builder_put_int_unless(&c[P_END], r->end == RECORDS_TO_END, (int64_t)r->end);
	builder_put_int_unless(&c[P_LINE], !r->line, (int64_t)r->line);
	builder_put_int(&c[P_ROWS], (int64_t)x->rows);
	builder_put_int_unless(&c[P_GREATEST], x->greatest_us == WATERMARK_NONE, x->greatest_us);
	builder_put_bool(&c[P_DIVIDED], p->is_divided);
	builder_put_string(&c[P_SPEC], i ? NULL : p->spec);
}

int positions_put(const struct positions *p, struct snapshot_writer *w, struct error *e)
{
	struct named_section s;

	named_section_begin(&s, w, "position", columns, P_COLUMNS, e);
	for (size_t i = 0; i < p->len; i++) {
		put_row(p, i, s.columns);
		named_section_row(&s);
	}
	return named_section_end(&s);
}

static struct position read_row(const struct column *const *c, uint32_t row)
{
	struct position x = {.rows = (uint64_t)column_int_or(c[P_ROWS], row, 0),
		.greatest_us = column_int_or(c[P_GREATEST], row, WATERMARK_NONE)};

	x.range.input = (uint32_t)column_int_or(c[P_INPUT], row, UINT32_MAX);
	x.range.entry = (uint32_t)column_int_or(c[P_ENTRY], row, 0);
	x.range.start = (uint64_t)column_int_or(c[P_OFFSET], row, 0);
	x.range.is_begun = column_is_true(c[P_BEGUN], row);
	x.range.end = (uint64_t)column_int_or(c[P_END], row, (int64_t)RECORDS_TO_END);
	x.range.line = (uint64_t)column_int_or(c[P_LINE], row, 0);
	return x;
}

int positions_take(struct positions *p, const struct batch *b, struct error *e)
{
	const struct column *c[P_COLUMNS];

	if (named_section_find(b, columns, P_COLUMNS, c, e) < 0)
		return -1;
	for (uint32_t row = 0; row < b->rows; row++) {
		positions_add(p, read_row(c, row));
		p->is_divided |= column_is_true(c[P_DIVIDED], row);
		if (!p->spec)
			p->spec = column_strdup(c[P_SPEC], row);
	}
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct records_range *x = &((const struct position *)a)->range;
	const struct records_range *y = &((const struct position *)b)->range;

	if (x->input != y->input)
		return x->input < y->input ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

int positions_check(struct positions *p, size_t inputs_len, struct error *e)
{
	if (p->len)
		qsort(p->items, p->len, sizeof *p->items, by_place);
	for (size_t i = 0; i < p->len; i++) {
		const struct records_range *r = &p->items[i].range;

		if (r->input >= inputs_len)
			return error_set(e, ERROR_STATE,
				"the state is of input %u, but there are only %zu inputs",
				r->input + 1, inputs_len);
		if (i && r->input == p->items[i - 1].range.input &&
			r->start < p->items[i - 1].range.end)
			return error_set(e, ERROR_STATE,
				"the state holds bytes of input %u twice, from %llu on",
				r->input + 1, (unsigned long long)r->start);
	}
	return 0;
}

/* ---- which inputs they are of ---- */

static const char inputs_section[] = "inputs";

static const struct named_column input_columns[] = {{"number", TYPE_INT}, {"path", TYPE_STRING}};

int inputs_put(const char *const *inputs, size_t len, struct snapshot_writer *w, struct error *e)
{
	struct named_section s;

	named_section_begin(&s, w, inputs_section, input_columns, 2, e);
	for (size_t i = 0; i < len; i++) {
		builder_put_int(&s.columns[0], (int64_t)i);
		builder_put_string(&s.columns[1], inputs[i]);
		named_section_row(&s);
	}
	return named_section_end(&s);
}

static bool is_path(struct text_view t, const char *path)
{
	return strlen(path) == t.len && memcmp(path, t.text, t.len) == 0;
}

static int inputs_changed(const char *how, struct text_view path, struct error *e)
{
	error_set(e, ERROR_STATE, "the inputs have changed: %.*s %s", (int)path.len, path.text, how);
	return error_hint(e, "name the same ones in the same order, or begin anew: --drop-state and this stage's name");
}

int inputs_check_known(const char *const *inputs, size_t len, size_t known, struct error *e)
{
	/* 0: an older snapshot, which doesn't say. */
	if (!known || known == len)
		return 0;
	return inputs_changed("is new", (struct text_view){inputs[known], strlen(inputs[known])}, e);
}

int inputs_check(const struct batch *b, const char *const *inputs, size_t len, size_t *known,
	struct error *e)
{
	const struct column *c[2];

	if (named_section_find(b, input_columns, 2, c, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		size_t i = (size_t)column_int(c[0], r);
		struct text_view was = column_text(c[1], r);

		if (i >= len)
			return inputs_changed("is no longer among them", was, e);
		*known = i >= *known ? i + 1 : *known;
		if (is_path(was, inputs[i]))
			continue;
		for (size_t k = 0; k < len; k++) {
			if (is_path(was, inputs[k]))
				return inputs_changed("stands in another place", was, e);
		}
	}
	return 0;
}
