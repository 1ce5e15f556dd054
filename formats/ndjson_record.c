#include "formats/ndjson_parts.h"
#include "libcore/base/must.h"

#include <stdio.h>

/* The state of one record's walk. */
struct walk {
	struct ndjson *r;
	struct ndjson_cursor c;
	uint32_t row;        /* rows every builder had before it */
	size_t remaining;    /* columns not found yet */
	const uint8_t *from; /* where the last value of the shape ended */
	bool done;           /* all found: the rest is only looked at for its end */
	unsigned depth;      /* ... of the object that the last of them stands in */
	bool odd;            /* no shape would say what this record says */
	size_t missing_len;  /* of r->missing */
};

static void mark_value(struct walk *w, const uint8_t *value, struct ndjson_column *column)
{
	struct ndjson_mark m = {.from = w->from, .value = value, .column = column};

	if (w->r->learns)
		buf_put(&w->r->steps, &m, sizeof(m));
	w->from = w->c.p;
}

static struct ndjson_node *find_child(const struct ndjson_node *parent, struct text_view key)
{
	struct ndjson_node *n = parent->children;

	while (n && (n->name_len != key.len || (key.len && memcmp(n->name, key.text, key.len))))
		n = n->next;
	return n;
}

static int walk_object(struct walk *w, const struct ndjson_node *node, unsigned depth);

/* All columns of one path take the same value; only the first may be new to this record. */
static int take_columns(struct walk *w, const struct ndjson_node *node)
{
	const uint8_t *value = w->c.p;

	for (struct ndjson_column *col = node->column; col; col = col->same_path) {
		if (col->builder->rows > w->row)
			continue;
		w->c.p = value;
		if (ndjson_take(&w->c, col))
			return -1;
		w->remaining--;
	}
	return 0;
}

static int walk_value(struct walk *w, const struct ndjson_node *node, unsigned depth)
{
	const uint8_t *value = w->c.p;
	bool fresh = node && node->column && node->column->builder->rows == w->row;

	if (fresh && take_columns(w, node))
		return -1;
	if (node && node->children && value < w->c.end && *value == '{') {
		w->c.p = value;
		return walk_object(w, node, depth + 1);
	}
	/* A shape that skips this value would skip an object with wanted columns in it as well. */
	w->odd = w->odd || (node && node->children);
	if (!fresh && ndjson_skip(&w->c))
		return -1;
	mark_value(w, value, fresh ? node->column : NULL);
	return 0;
}

/* A member: key, colon, value. */
static int walk_member(struct walk *w, const struct ndjson_node *node, unsigned depth)
{
	struct ndjson_cursor *c = &w->c;
	struct ndjson_node *child;
	struct text_view key;

	if (c->p == c->end || *c->p != '"')
		return ndjson_fail(c, c->p == c->end
					      ? "the record ends within an object; one record "
						"must be on one line"
					      : "a key in double quotes should be here");
	if (ndjson_string(c, &key))
		return -1;
	child = find_child(node, key);
	ndjson_space(c);
	if (c->p == c->end || *c->p != ':')
		return ndjson_fail(c, "a colon should follow the key");
	c->p++;
	ndjson_space(c);
	return walk_value(w, child, depth);
}

static int walk_object(struct walk *w, const struct ndjson_node *node, unsigned depth)
{
	struct ndjson_cursor *c = &w->c;

	if (depth > NDJSON_DEPTH_MAX)
		return ndjson_fail(c, "nested deeper than %d", NDJSON_DEPTH_MAX);
	c->p++;
	ndjson_space(c);
	if (c->p < c->end && *c->p == '}') {
		c->p++;
		return 0;
	}
	for (;;) {
		if (walk_member(w, node, depth))
			return -1;
		if (!w->done && !w->remaining) {
			w->done = true;
			w->depth = depth;
		}
		if (w->done)
			return 0;
		ndjson_space(c);
		if (c->p == c->end)
			return ndjson_fail(c, "the record ends within an object");
		if (*c->p == '}') {
			c->p++;
			return 0;
		}
		if (*c->p != ',')
			return ndjson_fail(c, "a comma or } should follow the value");
		c->p++;
		ndjson_space(c);
	}
}

/* All columns are there.  Behind a comma the line must end as an object does; where the objects that
 * they stand in end at once, so must the line. */
static int check_end(struct walk *w)
{
	struct ndjson_cursor *c = &w->c;
	const uint8_t *p = c->end;

	for (unsigned depth = w->depth;; depth--) {
		ndjson_space(c);
		if (!depth && c->p < c->end)
			return ndjson_fail(c, "more behind the record's end; one record must be on one line");
		if (!depth)
			return 0;
		if (c->p == c->end || (*c->p != ',' && *c->p != '}'))
			return ndjson_fail(c, "a comma or } should follow the value");
		if (*c->p == ',')
			break;
		c->p++;
	}
	while (p > w->c.p && (p[-1] == ' ' || p[-1] == '\t' || p[-1] == '\r'))
		p--;
	if (p > w->c.p && p[-1] == '}')
		return 0;
	w->c.p = p;
	return ndjson_fail(&w->c, "the line doesn't end with the record's }");
}

/* A key that isn't there is null. */
static int miss_columns(struct walk *w)
{
	for (size_t i = 0; i < w->r->columns_len; i++) {
		struct ndjson_column *col = &w->r->columns[i];

		if (col->builder->rows > w->row)
			continue;
		if (col->wanted.required)
			return ndjson_fail(&w->c, "no event time (column %s)", col->wanted.name);
		builder_put_null(col->builder);
		w->r->missing[w->missing_len++] = col;
	}
	return 0;
}

static int walk_record(struct walk *w)
{
	struct ndjson_cursor *c = &w->c;

	ndjson_space(c);
	if (c->p < c->end && *c->p == '[')
		return ndjson_fail(c,
			"a record must be an object; an array's elements come one a line "
			"with jq -c '.[]'");
	if (c->p == c->end || *c->p != '{')
		return ndjson_fail(c, "a record must be an object");
	if (walk_object(w, &w->r->root, 1))
		return -1;
	if (w->done)
		return check_end(w);
	ndjson_space(c);
	if (c->p < c->end)
		return ndjson_fail(
			c, "more behind the record's end; one record must be on one line");
	return miss_columns(w);
}

/* ---- shapes ---- */

static bool set_literal(struct ndjson_step *s, const uint8_t *from, size_t len, struct arena *a)
{
	size_t head = len < sizeof(s->literal) ? len : sizeof(s->literal);

	if (len > NDJSON_LITERAL_MAX)
		return false;
	memset(s->literal, 0, sizeof(s->literal));
	memcpy(s->literal, from, head);
	s->mask = head == 32 ? UINT32_MAX : (1u << head) - 1;
	s->literal_len = (uint32_t)len;
	s->rest = NULL;
	if (len > head) {
		uint8_t *rest = arena_alloc(a, len - head);

		memcpy(rest, from + head, len - head);
		s->rest = rest;
	}
	return true;
}

static bool step_equal(const struct ndjson_step *a, const struct ndjson_step *b)
{
	return a->literal_len == b->literal_len && a->column == b->column &&
	       !memcmp(a->literal, b->literal, sizeof(a->literal)) &&
	       (!a->rest || !memcmp(a->rest, b->rest, a->literal_len - sizeof(a->literal)));
}

static bool shape_equal(const struct ndjson_shape *a, const struct ndjson_shape *b)
{
	if (!a->steps || a->steps_len != b->steps_len || a->missing_len != b->missing_len)
		return false;
	for (size_t i = 0; i < a->steps_len; i++)
		if (!step_equal(&a->steps[i], &b->steps[i]))
			return false;
	return !b->missing_len || step_equal(&a->tail, &b->tail);
}

/* Fills shape from the marks of the record; false if it isn't worth learning. */
static bool fill_shape(
	struct ndjson *r, const struct walk *w, const uint8_t *newline, struct ndjson_shape *shape)
{
	size_t n = r->steps.len / sizeof(struct ndjson_mark), tail_len;
	uint8_t tail[NDJSON_LITERAL_MAX];

	if (n > NDJSON_STEPS_MAX || w->depth > NDJSON_SHAPE_DEPTH_MAX)
		return false;
	shape->depth = w->depth;
	shape->steps = ARENA_ARRAY(&shape->arena, struct ndjson_step, n + 1);
	shape->steps_len = n;
	for (size_t i = 0; i < n; i++) {
		struct ndjson_step *s = &shape->steps[i];
		struct ndjson_mark m;

		memcpy(&m, r->steps.data + i * sizeof(m), sizeof(m));
		if (!set_literal(s, m.from, (size_t)(m.value - m.from), &shape->arena))
			return false;
		s->column = m.column;
		s->kind = m.column ? m.column->kind : STEP_SKIP;
	}
	if (!w->missing_len)
		return true;
	shape->missing_len = w->missing_len;
	shape->missing = ARENA_ARRAY(&shape->arena, struct ndjson_column *, w->missing_len);
	memcpy(shape->missing, r->missing, w->missing_len * sizeof(*shape->missing));
	/* The tail takes the newline in, which may be missing behind the last record of a file. */
	tail_len = (size_t)(newline - w->from);
	if (tail_len >= NDJSON_LITERAL_MAX)
		return false;
	memcpy(tail, w->from, tail_len);
	tail[tail_len++] = '\n';
	return set_literal(&shape->tail, tail, tail_len, &shape->arena);
}

static void learn(struct ndjson *r, const struct walk *w, const uint8_t *newline)
{
	struct ndjson_shape fresh = {.arena = ARENA_INIT}, *old;

	if (!fill_shape(r, w, newline, &fresh))
		goto forget;
	for (size_t i = 0; i < NDJSON_SHAPES; i++)
		if (shape_equal(&r->shapes[i], &fresh))
			goto forget;
	old = &r->shapes[r->shape_next];
	arena_clear(&old->arena);
	*old = fresh;
	r->shape_now = r->shape_next;
	r->shape_next = (r->shape_next + 1) % NDJSON_SHAPES;
	return;
forget:
	arena_clear(&fresh.arena);
}

void ndjson_forget(struct ndjson *r)
{
	for (size_t i = 0; i < NDJSON_SHAPES; i++) {
		arena_clear(&r->shapes[i].arena);
		r->shapes[i] = (struct ndjson_shape){.arena = ARENA_INIT};
	}
	r->shape_now = r->shape_next = 0;
}

void ndjson_undo(struct ndjson *r, uint32_t rows)
{
	for (size_t i = 0; i < r->columns_len; i++)
		if (r->columns[i].builder->rows > rows)
			builder_truncate(r->columns[i].builder, rows);
}

int ndjson_record(struct ndjson *r, const uint8_t *p, const uint8_t *end, const uint8_t **fail_at)
{
	struct walk w = {
		.r = r,
		.c = {.p = p,
			.end = end,
			.reason = r->reason,
			.options = &r->options,
			.scratch = &r->text},
		.row = r->columns_len ? r->columns[0].builder->rows : 0,
		.remaining = r->columns_len,
		.from = p,
	};

	buf_reset(&r->steps);
	if (walk_record(&w)) {
		ndjson_undo(r, w.row);
		*fail_at = w.c.p;
		return -1;
	}
	if (r->learns && !w.odd)
		learn(r, &w, end);
	return 0;
}
