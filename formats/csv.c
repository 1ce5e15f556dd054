#include "formats/csv_index.h"
#include "formats/csv_record.h"
#include "formats/infer.h"
#include "formats/reader.h"
#include "formats/value.h"
#include "libcore/base/digits.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/utf8.h"

#include <inttypes.h>
#include <stdio.h>

enum {
	/* A row larger than a frame (64 MiB, with what frames it) could not travel. */
	RECORD_BYTES_MAX = (64 << 20) - (256 << 10),
	BAD_RECORD_BYTES = 64 << 10, /* of a malformed record are shown */
	GROUP_ROWS_MIN = 8,          /* tried at once where values keep failing */
	COPY_BYTES = 16,
};

struct csv_column {
	struct wanted_column wanted; /* path isn't kept: name, path_name are what is used */
	char *name, *path_name;
	uint32_t field;
};

struct csv {
	struct reader base;
	struct csv_dialect dialect;
	const char *const *nulls;
	size_t nulls_len;
	bool null_first[256]; /* a spelling of null starts with this byte */
	struct csv_index index;
	struct csv_record record;
	struct buf scratch, reason;

	struct csv_column *columns;
	size_t columns_len;
	struct csv_names names;                                   /* of this input's fields */
	enum { HEADER_UNSETTLED, HEADER_IS, HEADER_ISNT } header; /* the first input settles it */
	bool at_start;       /* of an input: byte order mark and header not yet taken */
	bool discarding;     /* the rest of a record that was too long */
	uint32_t fields;     /* of every record of this input */
	uint32_t group_rows; /* tried at once now */

	char *input, *first_input;
	uint64_t line; /* of the next record's first byte */
};

struct pass { /* one call of parse */
	struct csv *c;
	const uint8_t *bytes;
	size_t len;
	bool last;
	struct column_builder *builders;
	const struct bad_sink *bad;
	struct error *e;
	size_t at; /* of the next record */
	uint32_t rows_left;
};

struct group { /* records of the index that all have c->fields fields */
	struct csv *c;
	const uint8_t *bytes, *limit; /* limit: behind the last byte that may be read */
	const uint32_t *ends;         /* of the first record's first field */
	uint32_t rows;
};

static struct csv *csv_of(struct reader *r)
{
	return (struct csv *)r;
}

/* ---- values ---- */

static bool is_null(const struct csv *c, const char *text, size_t len)
{
	if (!c->null_first[len ? (uint8_t)text[0] : 0])
		return false;
	for (size_t i = 0; i < c->nulls_len; i++) {
		if (strlen(c->nulls[i]) == len && memcmp(c->nulls[i], text, len) == 0)
			return true;
	}
	return false;
}

/* Text in quotes is what it says where text is wanted; elsewhere a null's spelling stays one. */
static bool text_is_null(
	const struct csv *c, struct type type, const char *text, size_t len, bool quoted)
{
	return (!quoted && !len) || ((!quoted || !type_is_text(type)) && is_null(c, text, len));
}

static enum number_status put_text(struct csv *c, const struct csv_column *column,
	struct column_builder *b, const char *text, size_t len, bool quoted)
{
	if (text_is_null(c, b->type, text, len, quoted)) {
		if (column->wanted.required)
			return NUMBER_MALFORMED;
		builder_put_null(b);
		return NUMBER_OK;
	}
	return value_put(b, column->wanted.unit, text, len);
}

static inline const uint8_t *field_begin(const struct group *g, uint32_t field, uint32_t row)
{
	/* ends[-1] + 1 wraps to 0: the first field of all */
	return g->bytes +
	       (uint32_t)(g->ends[(ptrdiff_t)((size_t)row * g->c->fields + field) - 1] + 1);
}

static inline const uint8_t *field_end(const struct group *g, uint32_t field, uint32_t row)
{
	const uint8_t *end = g->bytes + g->ends[(size_t)row * g->c->fields + field];

	if (field + 1 == g->c->fields && end > field_begin(g, field, row) && end[-1] == '\r')
		end--;
	return end;
}

/* Any field, whatever is in it. */
static bool put_field(const struct group *g, const struct csv_column *column,
	struct column_builder *b, uint32_t row)
{
	const uint8_t *begin = field_begin(g, column->field, row);
	const uint8_t *end = field_end(g, column->field, row);
	bool quoted = begin < end && *begin == '"';
	size_t len;
	const char *text;
	struct csv_field f;

	if (!quoted)
		return !put_text(
			g->c, column, b, (const char *)begin, (size_t)(end - begin), false);
	f = (struct csv_field){.begin = 0, .end = (size_t)(end - begin) - 2, .quoted = true};
	f.escaped = memchr(begin + 1, '"', f.end) != NULL;
	text = csv_field_text(&f, begin + 1, &g->c->scratch, &len);
	return !put_text(g->c, column, b, text, len, true);
}

static inline void set_valid(struct column_builder *b, uint32_t row)
{
	if (b->nulls) /* else there is no bitmap, or an old one */
		b->valid[row >> 3] = (uint8_t)(b->valid[row >> 3] | 1u << (row & 7));
}

/* Up to 16 digits with a sign, of which the 16 bytes at text may be read.  False: not that plain.
 */
static inline bool short_int(const uint8_t *at, size_t len, int64_t *out)
{
	bool negative = *at == '-';
	const char *text = (const char *)at + negative;
	uint64_t head = digits_load8(text), value;

	len -= negative;
	if (len - 1 < 8) {
		if (digits_leading(head) < len)
			return false;
		value = digits_value(head, (unsigned)len);
	} else if (len - 1 < 15) {
		static const uint32_t power[] = {
			1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
		uint64_t tail = digits_load8(text + 8);
		unsigned n = (unsigned)len - 8;

		if (digits_others(head) || digits_leading(tail) < n)
			return false;
		value = (uint64_t)digits_value8(head) * power[n] + digits_value(tail, n);
	} else {
		return false;
	}
	*out = negative ? -(int64_t)value : (int64_t)value;
	return true;
}

/* Up to 8 bytes of digits with a point among them and a sign in front; the 9 bytes at `at` may be
 * read.  Whole and power are exact doubles, so their quotient is the nearest double (Clinger,
 * 1990). */
static inline bool short_float(const uint8_t *at, size_t len, double *out)
{
	static const double power[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
	bool negative = *at == '-';
	uint64_t w = digits_load8((const char *)at + negative), others, below;
	unsigned n = (unsigned)len - negative, digits = n, point;
	double v;

	if (n - 1 >= 8)
		return false;
	others = digits_others(w) & (~UINT64_C(0) >> (64 - 8 * n));
	point = others ? (unsigned)__builtin_ctzll(others) >> 3 : n;
	if (others) { /* takes the point out */
		if ((others & (others - 1)) || (uint8_t)(w >> 8 * point) != '.' || n == 1)
			return false;
		below = (UINT64_C(1) << 8 * point) - 1;
		w = (w & below) | (w >> 8 & ~below);
		digits--;
		point++;
	}
	v = digits_value(w, digits) / power[n - point];
	*out = negative ? -v : v;
	return true;
}

/* Quotes taken off a field that is nothing but one quoted text. */
static inline void unquote(const uint8_t **begin, const uint8_t **end)
{
	if (**begin == '"') {
		++*begin;
		--*end;
	}
}

/* INT, and TIMESTAMP from integers; rows that could be put before the first failure. */
static uint32_t put_ints(
	const struct group *g, const struct csv_column *column, struct column_builder *b)
{
	int64_t factor = b->type.kind == TYPE_INT ? 1
						  : 1000000 / time_unit_ticks(column->wanted.unit);
	uint32_t first = b->rows;
	int64_t *data = (int64_t *)(void *)b->data;

	for (uint32_t r = 0; r < g->rows; r++) {
		const uint8_t *begin = field_begin(g, column->field, r);
		const uint8_t *end = field_end(g, column->field, r);
		int64_t v;

		if (end > begin)
			unquote(&begin, &end);
		if (end > begin && g->limit - begin >= 2 * 8 + 1 && !g->c->null_first[*begin] &&
			short_int(begin, (size_t)(end - begin), &v) &&
			!__builtin_mul_overflow(v, factor, &v)) {
			data[first + r] = v;
			set_valid(b, first + r);
			continue;
		}
		b->rows = first + r;
		if (!put_field(g, column, b, r))
			return r;
		data = (int64_t *)(void *)b->data;
	}
	b->rows = first + g->rows;
	return g->rows;
}

static uint32_t put_floats(
	const struct group *g, const struct csv_column *column, struct column_builder *b)
{
	uint32_t first = b->rows;
	double *data = (double *)(void *)b->data;

	for (uint32_t r = 0; r < g->rows; r++) {
		const uint8_t *begin = field_begin(g, column->field, r);
		const uint8_t *end = field_end(g, column->field, r);

		if (end > begin)
			unquote(&begin, &end);
		if (end > begin && g->limit - begin >= 8 + 1 && !g->c->null_first[*begin] &&
			short_float(begin, (size_t)(end - begin), &data[first + r])) {
			set_valid(b, first + r);
			continue;
		}
		b->rows = first + r;
		if (!put_field(g, column, b, r))
			return r;
		data = (double *)(void *)b->data;
	}
	b->rows = first + g->rows;
	return g->rows;
}

static inline void copy_text(uint8_t *to, const uint8_t *from, size_t len, const uint8_t *limit)
{
	if ((size_t)(limit - from) < len + COPY_BYTES) {
		memcpy(to, from, len);
		return;
	}
	for (size_t i = 0; i < len; i += COPY_BYTES)
		memcpy(to + i, from + i, COPY_BYTES);
}

static uint32_t put_texts(
	const struct group *g, const struct csv_column *column, struct column_builder *b)
{
	const uint8_t *end_of_all = field_end(g, column->field, g->rows - 1);
	bool plain = g->c->index.ascii || b->type.kind == TYPE_BYTES;
	uint32_t first = b->rows;

	buf_reserve(&b->bytes, (size_t)(end_of_all - field_begin(g, column->field, 0)) + 64);
	for (uint32_t r = 0; r < g->rows; r++) {
		const uint8_t *begin = field_begin(g, column->field, r);
		size_t len = (size_t)(field_end(g, column->field, r) - begin);
		bool simple = plain && len;

		if (simple && *begin == '"') {
			simple = !memchr(begin + 1, '"', len - 2);
			begin++;
			len -= 2;
		} else if (simple) {
			simple = !g->c->null_first[*begin];
		}
		if (simple) {
			copy_text(b->bytes.data + b->bytes.len, begin, len, g->limit);
			b->bytes.len += len;
			b->offsets[first + r + 1] = (uint32_t)b->bytes.len;
			set_valid(b, first + r);
			continue;
		}
		b->rows = first + r;
		if (!put_field(g, column, b, r))
			return r;
	}
	b->rows = first + g->rows;
	return g->rows;
}

static uint32_t put_others(
	const struct group *g, const struct csv_column *column, struct column_builder *b)
{
	for (uint32_t r = 0; r < g->rows; r++) {
		if (!put_field(g, column, b, r))
			return r;
	}
	return g->rows;
}

static uint32_t put_column(
	const struct group *g, const struct csv_column *column, struct column_builder *b)
{
	builder_reserve(b, g->rows);
	switch ((enum type_kind)b->type.kind) {
	case TYPE_INT: return put_ints(g, column, b);
	case TYPE_TIMESTAMP:
		if (column->wanted.unit == TIME_ISO || column->wanted.unit == TIME_NS)
			return put_others(g, column, b);
		return put_ints(g, column, b);
	case TYPE_STRING:
	case TYPE_BYTES: return put_texts(g, column, b);
	case TYPE_FLOAT: return put_floats(g, column, b);
	case TYPE_BOOL:
	case TYPE_DECIMAL:
	case TYPE_DATE:
	case TYPE_DURATION:
	case TYPE_ANY: break;
	}
	return put_others(g, column, b);
}

/* Column by column; all builders end with the rows before the first value that doesn't fit. */
static uint32_t put_group(struct group g, struct column_builder *builders)
{
	struct csv *c = g.c;
	uint32_t before = c->columns_len ? builders[0].rows : 0;

	for (size_t i = 0; i < c->columns_len && g.rows; i++)
		g.rows = put_column(&g, &c->columns[i], &builders[i]);
	for (size_t i = 0; i < c->columns_len; i++) {
		if (builders[i].rows > before + g.rows)
			builder_truncate(&builders[i], before + g.rows);
	}
	return g.rows;
}

/* ---- malformed records ---- */

static uint32_t count_newlines(const uint8_t *bytes, size_t len)
{
	uint32_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += bytes[i] == '\n';
	return n;
}

/* Line and column of `at`, in the record that starts at `from` on line c->line. */
static void locate(const struct pass *p, size_t from, size_t at, uint64_t *line, uint32_t *column)
{
	const uint8_t *newline;

	if (at > p->len)
		at = p->len;
	newline = memrchr(p->bytes + from, '\n', at - from);
	*line = p->c->line + count_newlines(p->bytes + from, at - from);
	*column = (uint32_t)(at - (newline ? (size_t)(newline - p->bytes) + 1 : from) + 1);
}

/* Reports the record [p->at, next) and passes over it. */
static int refuse(struct pass *p, size_t at, size_t next, const char *reason)
{
	size_t end = next;
	struct bad_record bad = {.input = p->c->input, .reason = reason};

	locate(p, p->at, at, &bad.line, &bad.column);
	while (end > p->at && (p->bytes[end - 1] == '\n' || p->bytes[end - 1] == '\r'))
		end--;
	bad.record = (const char *)p->bytes + p->at;
	bad.record_len = end - p->at > BAD_RECORD_BYTES ? BAD_RECORD_BYTES : end - p->at;
	if (!p->bad || !p->bad->take)
		return error_set(p->e, ERROR_DATA, "%s:%" PRIu64 ":%" PRIu32 ": %s", bad.input,
			bad.line, bad.column, reason);
	if (p->bad->take(p->bad->context, &bad, p->e) < 0)
		return -1;
	p->c->line += count_newlines(p->bytes + p->at, next - p->at);
	p->at = next;
	return 1;
}

static int refuse_count(struct pass *p)
{
	struct csv *c = p->c;
	size_t n = c->record.len;
	const struct csv_field *last =
		&c->record.fields[(n < CSV_FIELDS_MAX ? n : CSV_FIELDS_MAX) - 1];

	buf_reset(&c->reason);
	buf_printf(&c->reason, "%zu field%s where the %s has %" PRIu32, n, n == 1 ? "" : "s",
		c->header == HEADER_IS ? "header" : "first record", c->fields);
	return refuse(p, n > c->fields ? c->record.fields[c->fields].at : last->at, c->record.next,
		buf_cstr(&c->reason));
}

/* The values of the record in c->record, one by one.  1 good or passed over, -1. */
static int take_values(struct pass *p)
{
	struct csv *c = p->c;
	enum number_status status = NUMBER_OK;
	const struct csv_field *f = NULL;
	const char *text = NULL;
	size_t len = 0, done;
	int result;

	for (done = 0; done < c->columns_len; done++) {
		f = &c->record.fields[c->columns[done].field];
		text = csv_field_text(f, p->bytes, &c->scratch, &len);
		status = put_text(c, &c->columns[done], &p->builders[done], text, len, f->quoted);
		if (status)
			break;
	}
	if (done == c->columns_len) {
		c->line += count_newlines(p->bytes + p->at, c->record.next - p->at);
		p->at = c->record.next;
		p->rows_left--;
		return 1;
	}
	for (size_t i = 0; i < done; i++)
		builder_truncate(&p->builders[i], p->builders[i].rows - 1);
	buf_reset(&c->reason);
	if (text_is_null(c, c->columns[done].wanted.type, text, len, f->quoted))
		buf_printf(&c->reason, "no event time (column %s)", c->columns[done].name);
	else
		value_explain(&c->reason, &c->columns[done].wanted, text, len, status);
	result = refuse(p, f->at, c->record.next, buf_cstr(&c->reason));
	return result;
}

static int refuse_too_long(struct pass *p)
{
	const uint8_t *newline = memchr(p->bytes + p->at, '\n', p->len - p->at);
	size_t next = newline ? (size_t)(newline - p->bytes) + 1 : p->len;

	p->c->discarding = !newline;
	return refuse(p, p->at, next, "the record is longer than 64 MiB; is a quote never closed?");
}

/* The record at p->at by a closer look.  1: passed, 0: more bytes are needed, -1. */
static int take_record(struct pass *p)
{
	struct csv *c = p->c;

	switch (csv_record_scan(&c->record, p->bytes, p->len, p->at, p->last, c->dialect)) {
	case CSV_RECORD_MORE: return p->len - p->at > RECORD_BYTES_MAX ? refuse_too_long(p) : 0;
	case CSV_RECORD_BAD:
		return refuse(p, c->record.reason_at, c->record.next, c->record.reason);
	case CSV_RECORD_OK: break;
	}
	if (c->record.next - p->at > RECORD_BYTES_MAX)
		return refuse(p, p->at, c->record.next, "the record is longer than 64 MiB");
	if (csv_record_is_blank(&c->record) && c->fields > 1) {
		p->at = c->record.next;
		c->line++;
		return 1;
	}
	return c->record.len == c->fields ? take_values(p) : refuse_count(p);
}

/* ---- records ---- */

static uint32_t row_bytes(const struct csv_index *x, uint32_t row)
{
	uint32_t begin = row ? x->ends[x->rows[row - 1] - 1] + 1 : 0;

	return x->ends[x->rows[row] - 1] - begin;
}

static uint32_t fields_of(const struct csv_index *x, uint32_t row)
{
	return x->rows[row] - (row ? x->rows[row - 1] : 0);
}

/* Whether a record of the index can be taken with others. */
static inline bool is_plain(const struct pass *p, uint32_t row)
{
	const struct csv_index *x = &p->c->index;

	if (p->len > RECORD_BYTES_MAX && row_bytes(x, row) > RECORD_BYTES_MAX)
		return false;
	return fields_of(x, row) == p->c->fields;
}

/* Where the row behind `row` begins, counted from the index's first byte. */
static size_t next_row(const struct pass *p, size_t base, uint32_t row)
{
	size_t next = base + p->c->index.ends[p->c->index.rows[row] - 1] + 1;

	return next < p->len ? next : p->len; /* the last may have no newline */
}

/* Uses what the index found from p->at on. */
static int take_rows(struct pass *p)
{
	struct csv *c = p->c;
	const struct csv_index *x = &c->index;
	size_t base = p->at;
	uint32_t r = 0;

	while (r < x->rows_len && p->rows_left) {
		uint32_t limit = p->rows_left < c->group_rows ? p->rows_left : c->group_rows;
		uint32_t n = 0, good;
		int status;

		while (n < limit && r + n < x->rows_len && is_plain(p, r + n))
			n++;
		good = n ? put_group((struct group){c, p->bytes + base, p->bytes + p->len,
					     x->ends + (r ? x->rows[r - 1] : 0), n},
				   p->builders)
			 : 0;
		if (good) {
			size_t next = next_row(p, base, r + good - 1);

			c->line += x->inner_newlines
					   ? count_newlines(p->bytes + p->at, next - p->at)
					   : good;
			p->at = next;
			p->rows_left -= good;
			r += good;
		}
		if (good && good == n) {
			c->group_rows = c->group_rows < CSV_INDEX_ROWS ? c->group_rows * 2
								       : CSV_INDEX_ROWS;
			continue;
		}
		c->group_rows = GROUP_ROWS_MIN;
		if ((status = take_record(p)) <= 0)
			return status;
		if (p->at != next_row(p, base, r++))
			return 1; /* it went on elsewhere: look from there */
	}
	return 1;
}

static void discard(struct pass *p)
{
	const uint8_t *newline = memchr(p->bytes + p->at, '\n', p->len - p->at);

	p->at = newline ? (size_t)(newline - p->bytes) + 1 : p->len;
	p->c->line += newline != NULL;
	p->c->discarding = !newline && !p->last;
}

/* 1: go on, 0: more bytes are needed, -1. */
static int take_some(struct pass *p)
{
	struct csv *c = p->c;

	if (c->discarding) {
		discard(p);
		return 1;
	}
	csv_index_scan(
		&c->index, p->bytes + p->at, p->len - p->at, p->last, c->dialect, p->rows_left);
	if (c->index.rows_len)
		return take_rows(p);
	if (c->index.broken || p->len - p->at > RECORD_BYTES_MAX)
		return take_record(p);
	return 0;
}

/* ---- header ---- */

/* Without a word from the user: a header unless a value stands in the first record. */
static bool looks_like_header(const struct csv_record *r, const uint8_t *bytes)
{
	for (size_t i = 0; i < r->len && i < CSV_FIELDS_MAX; i++) {
		const struct csv_field *f = &r->fields[i];
		bool says_much;

		if (f->end > f->begin && infer_text_kinds((const char *)bytes + f->begin,
						 f->end - f->begin, &says_much) != INFER_TEXT)
			return false;
	}
	return true;
}

/* Takes byte order mark, blank lines and header: names and the number of fields.  1 done, with
 * *at behind them; 0 more bytes are needed; 2 the input is empty; -1. */
static int take_start(
	struct csv *c, const uint8_t *bytes, size_t len, bool last, size_t *at, struct error *e)
{
	size_t from = len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	uint64_t line = 1;

	if (len < 3 && !last)
		return 0;
	for (;; from = c->record.next, line++) {
		if (from == len)
			return last ? 2 : 0;
		switch (csv_record_scan(&c->record, bytes, len, from, last, c->dialect)) {
		case CSV_RECORD_MORE:
			if (len - from > RECORD_BYTES_MAX)
				return error_set(e, ERROR_DATA,
					"%s:%" PRIu64 ":1: the first record is "
					"longer than 64 MiB",
					c->input, line);
			return 0;
		case CSV_RECORD_BAD:
			return error_set(e, ERROR_DATA, "%s:%" PRIu64 ":%zu: %s", c->input, line,
				c->record.reason_at - from + 1, c->record.reason);
		case CSV_RECORD_OK: break;
		}
		if (!csv_record_is_blank(&c->record))
			break;
	}
	if (c->header == HEADER_UNSETTLED)
		c->header = looks_like_header(&c->record, bytes) ? HEADER_IS : HEADER_ISNT;
	if (csv_names_set(&c->names, &c->record, bytes, c->header == HEADER_IS, e) < 0)
		return error_context(e, "%s:%" PRIu64, c->input, line);
	c->fields = (uint32_t)c->record.len;
	*at = from;
	if (c->header == HEADER_IS) {
		*at = c->record.next;
		line += count_newlines(bytes + from, c->record.next - from);
	}
	c->line = line;
	return 1;
}

/* "c12": a column by its place. */
static bool is_place(const char *name)
{
	size_t digits = name[0] == 'c' ? strspn(name + 1, "0123456789") : 0;

	return digits && !name[1 + digits];
}

static int missing_column(const struct csv *c, const char *name, struct error *e)
{
	if (c->first_input && strcmp(c->first_input, c->input) != 0)
		return error_set(e, ERROR_DATA, "%s has no column '%s', which %s has", c->input,
			name, c->first_input);
	error_set(e, ERROR_USAGE, "%s has no column '%s'", c->input, name);
	if (c->header == HEADER_ISNT)
		return error_hint(e, "without a header the columns are c1 to c%" PRIu32, c->fields);
	error_hint(e, "the columns are:");
	for (size_t i = 0; i < c->names.len; i++) {
		size_t used = strlen(e->text);

		snprintf(e->text + used, sizeof e->text - used, "%s %s", i ? "," : "",
			c->names.items[i]);
	}
	return -1;
}

/* Which field each column is: by name, or by place where the first record holds none. */
static int find_columns(struct csv *c, struct error *e)
{
	bool places = c->header == HEADER_ISNT;

	for (size_t i = 0; i < c->columns_len; i++)
		places &= !is_place(c->columns[i].path_name);
	for (size_t i = 0; i < c->columns_len; i++) {
		struct csv_column *column = &c->columns[i];
		int field = column->wanted.position;

		if (field < 0)
			field = places ? (int)i : csv_names_find(&c->names, column->path_name);
		if (field < 0 || (uint32_t)field >= c->fields)
			return missing_column(c, column->path_name, e);
		column->field = (uint32_t)field;
	}
	return 0;
}

/* ---- the reader ---- */

static int csv_parse(struct reader *r, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	size_t *consumed, struct error *e)
{
	struct csv *c = csv_of(r);
	struct pass p = {c, bytes, len, last, builders, bad, e, 0, rows_max};
	int status = 1;

	*consumed = 0;
	if (c->at_start) {
		status = take_start(c, bytes, len, last, &p.at, e);
		if (status == 2) {
			*consumed = len;
			return 0;
		}
		if (status <= 0)
			return status;
		if (find_columns(c, e) < 0)
			return -1;
		c->at_start = false;
	}
	while (status > 0 && p.rows_left && p.at < len)
		status = take_some(&p);
	*consumed = p.at;
	return status < 0 ? -1 : 0;
}

static void infer_record(struct csv *c, const uint8_t *bytes, struct infer *columns)
{
	for (uint32_t i = 0; i < c->fields; i++) {
		const struct csv_field *f = &c->record.fields[i];
		size_t len;
		const char *text = csv_field_text(f, bytes, &c->scratch, &len);

		if ((len || f->quoted) && !is_null(c, text, len))
			infer_text(&columns[i], text, len);
	}
}

/* Malformed records say nothing of types; parse will tell of them. */
static int csv_infer(struct reader *r, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct schema *names_types, struct error *e)
{
	struct csv *c = csv_of(r);
	struct infer *columns;
	size_t at = 0;
	int status = take_start(c, bytes, len, last, &at, e);

	if (status < 0)
		return -1;
	if (status == 0)
		return error_set(e, ERROR_DATA,
			"%s:1:1: the first record is longer than the sample "
			"that types are inferred from; give -s",
			c->input);
	if (status == 2)
		return error_set(e, ERROR_DATA,
			"%s is empty: there is nothing to take columns from; "
			"give them with -s",
			c->input);
	columns = mem_zero(c->fields * sizeof *columns);
	for (uint32_t i = 0; i < c->fields; i++)
		columns[i] = (struct infer)INFER_INIT;
	for (uint32_t n = 0; n < rows_max && at < len; n++, at = c->record.next) {
		enum csv_record_status found = csv_record_scan(
			&c->record, bytes, len, at, last, c->dialect);

		if (found == CSV_RECORD_MORE)
			break;
		if (found == CSV_RECORD_OK && c->record.len == c->fields)
			infer_record(c, bytes, columns);
	}
	for (uint32_t i = 0; i < c->fields; i++)
		schema_add(names_types, c->names.items[i], strlen(c->names.items[i]),
			infer_type(&columns[i]));
	mem_free(columns);
	return 0;
}

static void columns_clear(struct csv *c)
{
	for (size_t i = 0; i < c->columns_len; i++) {
		mem_free(c->columns[i].name);
		mem_free(c->columns[i].path_name);
	}
	mem_free(c->columns);
	c->columns = NULL;
	c->columns_len = 0;
}

/* A path of several names is, in a flat format, the name with the dots in it. */
static char *join_path(const struct wanted_column *w)
{
	struct buf b = BUF_INIT;
	size_t len;

	for (size_t i = 0; i < w->path_len; i++) {
		if (i)
			buf_put_byte(&b, '.');
		buf_put_text(&b, w->path[i]);
	}
	buf_put_byte(&b, 0);
	return (char *)buf_take(&b, &len);
}

static int csv_want(
	struct reader *r, const struct wanted_column *columns, size_t n, struct error *e)
{
	struct csv *c = csv_of(r);

	columns_clear(c);
	c->columns = mem_zero(n * sizeof *c->columns);
	for (size_t i = 0; i < n; i++) {
		struct csv_column *to = &c->columns[i];

		if (columns[i].type.kind == TYPE_ANY)
			return error_set(e, ERROR_USAGE,
				"column %s: csv has no nested values; take it as "
				"string",
				columns[i].name);
		to->wanted = columns[i];
		to->wanted.name = to->name = mem_strdup(columns[i].name);
		to->path_name = join_path(&columns[i]);
		to->wanted.path = NULL;
		c->columns_len = i + 1;
	}
	return c->at_start || !c->fields ? 0 : find_columns(c, e);
}

static void csv_start(struct reader *r, const char *input_name)
{
	struct csv *c = csv_of(r);
	char *name = mem_strdup(input_name);

	mem_free(c->input);
	c->input = name;
	if (!c->first_input)
		c->first_input = mem_strdup(name);
	c->at_start = true;
	c->discarding = false;
	c->line = 1;
	c->group_rows = CSV_INDEX_ROWS;
}

static bool csv_needs_start(const struct reader *r)
{
	return ((const struct csv *)r)->at_start;
}

static uint64_t csv_line(const struct reader *r)
{
	return ((const struct csv *)r)->line;
}

static void csv_resume(struct reader *r, uint64_t line)
{
	csv_of(r)->at_start = false;
	csv_of(r)->line = line;
}

static void csv_free(struct reader *r)
{
	struct csv *c = csv_of(r);

	columns_clear(c);
	csv_index_clear(&c->index);
	csv_record_clear(&c->record);
	csv_names_clear(&c->names);
	buf_clear(&c->scratch);
	buf_clear(&c->reason);
	mem_free(c->input);
	mem_free(c->first_input);
	mem_free(c);
}

static int csv_header(const struct reader *r)
{
	const struct csv *c = (const struct csv *)r;

	return c->header == HEADER_IS ? HEADER_YES : c->header == HEADER_ISNT ? HEADER_NO : HEADER_AUTO;
}

static const struct reader_ops csv_ops = {
	.name = "csv",
	.free = csv_free,
	.infer = csv_infer,
	.want = csv_want,
	.start = csv_start,
	.needs_start = csv_needs_start,
	.parse = csv_parse,
	.line = csv_line,
	.resume = csv_resume,
	.header = csv_header,
};

struct reader *csv_reader_new(const struct reader_options *o)
{
	struct csv *c = mem_zero(sizeof *c);

	c->base.ops = &csv_ops;
	c->dialect.delimiter = o->delimiter ? o->delimiter : ',';
	c->dialect.quoted_newlines = o->quoted_newlines;
	c->nulls = o->nulls;
	c->nulls_len = o->nulls_len;
	for (size_t i = 0; i < o->nulls_len; i++)
		c->null_first[(uint8_t)o->nulls[i][0]] = true;
	c->header = o->header == HEADER_AUTO  ? HEADER_UNSETTLED
		    : o->header == HEADER_YES ? HEADER_IS
					      : HEADER_ISNT;
	csv_index_init(&c->index);
	csv_start(&c->base, o->input ? o->input : "input");
	if (!o->input) {
		mem_free(c->first_input);
		c->first_input = NULL;
	}
	return &c->base;
}
