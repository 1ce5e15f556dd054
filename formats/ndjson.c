/* NDJSON to columns: one JSON object (RFC 8259) a line.
 *
 *   A key that isn't there is null; of a key that comes twice the first counts.  a.b reaches into
 *   nested objects, and is null where a is none.
 *   string    takes the text of numbers, true and false as well; not what is nested
 *   int       also 1e3 and 2.0, which JSON can't tell from 1000 and 2
 *   others    also come as strings: "12", "1.5", "nan", "true"
 *   timestamp ISO 8601 text, or numbers in its unit, with a fraction in s and ms
 *   duration  text (1h30m) or microseconds; bytes: base64; any: whatever is there, as msgpack
 *
 * Empty lines are no records.  A byte order mark and CRLF are taken.  ndjson_parts.h tells how it
 * is done, and what is checked. */
#include "formats/ndjson_parts.h"
#include "formats/value.h"
#include "libcore/base/cpu.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

enum { BAD_RECORD_BYTES = 64 << 10 };

static struct ndjson *self(struct reader *reader)
{
	return (struct ndjson *)reader; /* its first member */
}

/* ---- what to take ---- */

static struct ndjson_node *node_child(
	struct ndjson *r, struct ndjson_node *parent, const char *name)
{
	struct ndjson_node **at = &parent->children, *n;

	for (; *at; at = &(*at)->next)
		if (!strcmp((*at)->name, name))
			return *at;
	n = ARENA_NEW(&r->wanted, struct ndjson_node);
	n->name = arena_strdup(&r->wanted, name);
	n->name_len = strlen(name);
	*at = n;
	return n;
}

static enum ndjson_step_kind step_kind(const struct wanted_column *w)
{
	switch ((enum type_kind)w->type.kind) {
	case TYPE_BOOL: return STEP_BOOL;
	case TYPE_INT: return STEP_INT;
	case TYPE_FLOAT: return STEP_FLOAT;
	case TYPE_TIMESTAMP: return w->unit == TIME_ISO ? STEP_TIMESTAMP : STEP_TICKS;
	case TYPE_STRING: return STEP_STRING;
	case TYPE_DECIMAL:
	case TYPE_DATE:
	case TYPE_DURATION:
	case TYPE_BYTES:
	case TYPE_ANY: return STEP_OTHER;
	}
	return STEP_OTHER;
}

static bool has_overlap(const struct ndjson_node *n)
{
	for (const struct ndjson_node *child = n->children; child; child = child->next)
		if ((child->column && (child->children || child->column->same_path)) ||
			has_overlap(child))
			return true;
	return false;
}

static int ndjson_want(
	struct reader *reader, const struct wanted_column *columns, size_t n, struct error *e)
{
	struct ndjson *r = self(reader);

	ndjson_forget(r);
	arena_reset(&r->wanted);
	r->root = (struct ndjson_node){.name = ""};
	r->columns = ARENA_ARRAY(&r->wanted, struct ndjson_column, n + 1);
	r->missing = ARENA_ARRAY(&r->wanted, struct ndjson_column *, n + 1);
	r->columns_len = n;
	for (size_t i = 0; i < n; i++) {
		const struct wanted_column *w = &columns[i];
		struct ndjson_column *c = &r->columns[i];
		struct ndjson_node *at = &r->root;

		if (!w->path_len)
			return error_set(e, ERROR_USAGE,
				"column '%s' is taken by position; ndjson has names only", w->name);
		*c = (struct ndjson_column){
			.wanted = *w, .kind = step_kind(w), .ticks = time_unit_ticks(w->unit)};
		c->wanted.name = arena_strdup(&r->wanted, w->name);
		c->wanted.path = NULL;
		memcpy(c->day, "1970-01-01", sizeof(c->day));
		for (size_t k = 0; k < w->path_len; k++)
			at = node_child(r, at, w->path[k]);
		c->same_path = at->column;
		at->column = c;
	}
	r->learns = n && !r->options.nulls_len && !has_overlap(&r->root);
	return 0;
}

static void ndjson_start(struct reader *reader, const char *input_name)
{
	struct ndjson *r = self(reader);

	mem_free(r->input);
	r->input = mem_strdup(input_name ? input_name : "input");
	r->line = 1;
	r->too_long = false;
}

/* ---- parsing ---- */

/* Tells the sink of the record [p, end) that is wrong at `at` (NULL: as a whole). */
static int refuse(struct ndjson *r, const struct bad_sink *bad, const uint8_t *p,
	const uint8_t *end, const uint8_t *at, struct error *e)
{
	size_t len = (size_t)(end - p);
	struct bad_record b = {.input = r->input,
		.line = r->line,
		.column = at ? (uint32_t)(at - p) + 1 : 0,
		.reason = r->reason,
		.record = (const char *)p,
		.record_len = len < BAD_RECORD_BYTES ? len : BAD_RECORD_BYTES};

	if (bad && bad->take)
		return bad->take(bad->context, &b, e);
	return error_set(e, ERROR_DATA, "%s:%llu:%u: %s", b.input, (unsigned long long)b.line,
		b.column, b.reason);
}

/* The record [p, end), near the end of the bytes, by the fast path in a copy with a margin. */
static bool take_padded(struct ndjson *r, const uint8_t *p, const uint8_t *end, bool avx2)
{
	size_t len = (size_t)(end - p);
	const uint8_t *copy;
	uint32_t rows = 1;

	buf_reset(&r->padded);
	buf_reserve(&r->padded, len + 1 + 2 * NDJSON_MARGIN);
	buf_put(&r->padded, p, len);
	buf_put_byte(&r->padded, '\n');
	memset(r->padded.data + r->padded.len, 0, 2 * NDJSON_MARGIN);
	copy = r->padded.data;
	if (avx2)
		ndjson_fast_avx2(r, copy, copy + len + 1 + 2 * NDJSON_MARGIN, &rows);
	else
		ndjson_fast_portable(r, copy, copy + len + 1 + 2 * NDJSON_MARGIN, &rows);
	return !rows;
}

/* One record that the fast path left, [p, end) without its newline.  Counts its line and row. */
static int take_one(struct ndjson *r, const uint8_t *p, const uint8_t *end, bool is_near_end,
	bool avx2, const struct bad_sink *bad, uint32_t *rows, struct error *e)
{
	const uint8_t *text = p, *at;

	if (r->line == 1 && end - text >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		text += 3;
	while (text < end && (*text == ' ' || *text == '\t' || *text == '\r'))
		text++;
	if (text == end) { /* an empty line is no record */
		r->line++;
		return 0;
	}
	if (is_near_end && r->learns && text == p && take_padded(r, p, end, avx2)) {
		--*rows;
		return 0; /* it counted the line */
	}
	if (!ndjson_record(r, text, end, &at)) {
		--*rows;
	} else if (refuse(r, bad, p, end, at, e)) {
		return -1;
	}
	r->line++;
	return 0;
}

static int refuse_too_long(struct ndjson *r, const struct bad_sink *bad, const uint8_t *p,
	const uint8_t *end, struct error *e)
{
	struct ndjson_cursor c = {.reason = r->reason};

	ndjson_fail(&c, "a record longer than %d MiB", NDJSON_RECORD_MAX >> 20);
	return refuse(r, bad, p, end, NULL, e);
}

/* Behind a record without end in sight: to its newline, if that is there. */
static const uint8_t *pass_too_long(
	struct ndjson *r, const uint8_t *p, const uint8_t *end, bool last)
{
	const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));

	if (!newline && !last)
		return end;
	r->too_long = false;
	r->line++;
	return newline ? newline + 1 : end;
}

static void bind(struct ndjson *r, struct column_builder *builders, uint32_t rows)
{
	for (size_t i = 0; i < r->columns_len; i++) {
		MUST(type_equal(builders[i].type, r->columns[i].wanted.type));
		builder_reserve(&builders[i], rows);
		r->columns[i].builder = &builders[i];
	}
}

static int ndjson_parse(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	size_t *consumed, struct error *e)
{
	struct ndjson *r = self(reader);
	const uint8_t *p = bytes, *end = bytes + len;
	/* The shortest record is {} and a newline. */
	uint32_t rows = rows_max < len / 3 + 1 ? rows_max : (uint32_t)(len / 3 + 1);
	bool avx2 = cpu_has_avx2();
	int failed = 0;

	bind(r, builders, rows);
	if (r->too_long)
		p = pass_too_long(r, p, end, last);
	while (rows && p < end && !failed) {
		const uint8_t *newline, *stop;

		if (r->learns)
			p = avx2 ? ndjson_fast_avx2(r, p, end, &rows)
				 : ndjson_fast_portable(r, p, end, &rows);
		if (!rows || p == end)
			break;
		newline = memchr(p, '\n', (size_t)(end - p));
		stop = newline ? newline : end;
		if (stop - p > NDJSON_RECORD_MAX) {
			failed = refuse_too_long(r, bad, p, stop, e);
			r->too_long = true;
			p = pass_too_long(r, p, end, last);
			continue;
		}
		if (!newline && !last)
			break;
		failed = take_one(r, p, stop, end - stop <= NDJSON_MARGIN, avx2, bad, &rows, e);
		p = newline ? newline + 1 : end;
	}
	*consumed = (size_t)(p - bytes);
	return failed;
}

static uint64_t ndjson_line(const struct reader *reader)
{
	const struct ndjson *r = (const struct ndjson *)reader;

	return r->line;
}

static void ndjson_resume(struct reader *reader, uint64_t line)
{
	self(reader)->line = line;
}

static int infer(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct schema *names_types, struct error *e)
{
	return ndjson_infer(self(reader), bytes, len, last, rows_max, names_types, e);
}

static void ndjson_free(struct reader *reader)
{
	struct ndjson *r = self(reader);

	ndjson_forget(r);
	arena_clear(&r->own);
	arena_clear(&r->wanted);
	buf_clear(&r->padded);
	buf_clear(&r->text);
	buf_clear(&r->steps);
	mem_free(r->input);
	mem_free(r);
}

static const struct reader_ops ops = {
	.name = "ndjson",
	.free = ndjson_free,
	.infer = infer,
	.want = ndjson_want,
	.start = ndjson_start,
	.parse = ndjson_parse,
	.line = ndjson_line,
	.resume = ndjson_resume,
};

struct reader *ndjson_reader_new(const struct reader_options *o)
{
	struct ndjson *r = mem_zero(sizeof(*r));
	const char **nulls;

	r->reader.ops = &ops;
	r->options = *o;
	nulls = ARENA_ARRAY(&r->own, const char *, o->nulls_len + 1);
	for (size_t i = 0; i < o->nulls_len; i++)
		nulls[i] = arena_strdup(&r->own, o->nulls[i]);
	r->options.nulls = nulls;
	ndjson_start(&r->reader, o->input);
	return &r->reader;
}
