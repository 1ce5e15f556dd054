/* Records of a known shape: the hot path.  ndjson_avx2.c and ndjson_portable.c include this after
 * defining
 *
 *   FAST_NAME                       the function's name
 *   KERNEL                          attributes of every function
 *   is_literal(p, step)             whether the first 32 bytes of the step's literal are at p
 *   copy_text(b, p, last)           appends the plain text at p to b->bytes; returns the quote's
 *                                   place, or NULL if another special byte comes first, or `last`
 *                                   is passed
 *   pass_text(p, last)              the same without copying; bytes above 0x7f are plain
 *   find_newline(p, end)            or NULL
 *
 * All of them may read NDJSON_MARGIN bytes at any place up to `last`.  Builders have room for the
 * row (builder_reserve); text grows as it comes. */

static const uint32_t pow10_small[8] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};

static inline __attribute__((always_inline)) void put_valid(struct column_builder *b, uint32_t row)
{
	if (b->nulls) /* without, the bitmap is not kept */
		b->valid[row >> 3] |= (uint8_t)(1u << (row & 7));
}

static inline __attribute__((always_inline)) void put_i64(struct column_builder *b, int64_t v)
{
	uint32_t row = b->rows;

	memcpy(b->data + (size_t)row * 8, &v, 8);
	put_valid(b, row);
	b->rows = row + 1;
}

/* Up to 15 digits; NULL for all else (more digits, leading zeros, no number). */
static inline __attribute__((always_inline)) const uint8_t *read_int(const uint8_t *p, int64_t *out)
{
	bool negative = *p == '-';
	const uint8_t *first = p += negative;
	uint64_t w = digits_load8((const char *)p);
	unsigned n = digits_leading(w);
	int64_t v;

	if (n - 1 < 7) {
		v = digits_value(w, n);
		p += n;
	} else {
		if (n == 0)
			return NULL;
		v = digits_value8(w);
		p += 8;
		w = digits_load8((const char *)p);
		n = digits_leading(w);
		if (n == 8)
			return NULL;
		if (n)
			v = v * pow10_small[n] + digits_value(w, n);
		p += n;
	}
	if (*first == '0' && p - first > 1)
		return NULL;
	*out = negative ? -v : v;
	return p;
}

/* "2026-01-01T10:00:00[.fraction][Z]", the hours by eight bytes in a register; the day is usually
 * that of the record before. */
static inline __attribute__((always_inline)) const uint8_t *read_timestamp(
	const uint8_t *p, struct ndjson_column *column, int64_t *out)
{
	uint64_t x, day, day_before;
	uint16_t tail, tail_before;
	int64_t us;

	memcpy(&day, p + 1, 8);
	memcpy(&tail, p + 9, 2);
	memcpy(&day_before, column->day, 8);
	memcpy(&tail_before, column->day + 8, 2);
	if (*p != '"' || (p[11] != 'T' && p[11] != ' '))
		return NULL;
	if (day != day_before || tail != tail_before) {
		int32_t days;

		if (date_parse((const char *)p + 1, 10, &days) != NUMBER_OK)
			return NULL;
		memcpy(column->day, p + 1, 10);
		column->day_us = days * CIVIL_US_DAY;
	}
	/* hh:mm:ss: digits must be 0..9 over '0', colons exactly colons. */
	x = digits_load8((const char *)p + 12) ^ UINT64_C(0x30303a30303a3030);
	if ((((x & DIGITS_EACH(0x7f)) + UINT64_C(0x76767f76767f7676)) | x) & DIGITS_EACH(0x80))
		return NULL;
	x = x * 10 + (x >> 8);
	if ((x & 0xff) > 23 || (x >> 24 & 0xff) > 59 || (x >> 48 & 0xff) > 59)
		return NULL;
	us = ((int64_t)((x & 0xff) * 3600 + (x >> 24 & 0xff) * 60 + (x >> 48 & 0xff))) *
	     CIVIL_US_SECOND;
	p += 20;
	if (*p == '.') {
		uint64_t w = digits_load8((const char *)++p);
		unsigned n = digits_leading(w);

		if (n - 1 > 5)
			return NULL;
		us += (int64_t)digits_value(w, n) * pow10_small[6 - n];
		p += n;
	}
	p += *p == 'Z';
	*out = column->day_us + us;
	return *p == '"' ? p + 1 : NULL;
}

/* The general way to take a value, from within the fast one. */
static const uint8_t *take_other(
	struct ndjson *r, const uint8_t *p, const uint8_t *end, struct ndjson_column *column)
{
	struct ndjson_cursor c = {.p = p,
		.end = end,
		.reason = r->reason,
		.options = &r->options,
		.scratch = &r->text};

	return ndjson_take(&c, column) ? NULL : c.p;
}

KERNEL static const uint8_t *skip_value(struct ndjson *r, const uint8_t *p, const uint8_t *end)
{
	struct ndjson_cursor c = {.p = p,
		.end = end,
		.reason = r->reason,
		.options = &r->options,
		.scratch = &r->text};
	const uint8_t *q = NULL;
	int64_t unused;

	if (*p == '"') {
		q = pass_text(p + 1, end - NDJSON_MARGIN);
		if (q)
			return q + 1;
	} else {
		q = read_int(p, &unused);
		if (q && (*q == ',' || *q == '}'))
			return q;
	}
	return ndjson_skip(&c) ? NULL : c.p;
}

KERNEL static inline __attribute__((always_inline)) const uint8_t *take_value(
	struct ndjson *r, const struct ndjson_step *s, const uint8_t *p, const uint8_t *end)
{
	struct ndjson_column *column = s->column;
	struct column_builder *b;
	const uint8_t *q = NULL;
	int64_t v;

	if (s->kind == STEP_SKIP)
		return skip_value(r, p, end);
	b = column->builder;
	switch (s->kind) {
	case STEP_STRING:
		if (*p == '"') {
			q = copy_text(b, p + 1, end - NDJSON_MARGIN);
			if (q) {
				put_valid(b, b->rows);
				b->offsets[++b->rows] = (uint32_t)b->bytes.len;
				return q + 1;
			}
		}
		break;
	case STEP_INT:
		q = read_int(p, &v);
		/* A fraction or exponent may still make an int: 1e3, 2.0. */
		if (q && *q != '.' && (*q | 0x20) != 'e') {
			put_i64(b, v);
			return q;
		}
		break;
	case STEP_TIMESTAMP:
		q = read_timestamp(p, column, &v);
		if (q) {
			put_i64(b, v);
			return q;
		}
		break;
	case STEP_TICKS:
		q = read_int(p, &v);
		if (q && *q != '.' && (*q | 0x20) != 'e' &&
			timestamp_from_ticks(v, column->ticks, &v) == NUMBER_OK) {
			put_i64(b, v);
			return q;
		}
		break;
	case STEP_FLOAT: {
		double d;
		ssize_t n = float_scan((const char *)p, (size_t)(end - p), FLOAT_JSON, &d);

		if (n > 0) {
			memcpy(&v, &d, 8);
			put_i64(b, v);
			return p + n;
		}
		break;
	}
	case STEP_BOOL:
		if (!memcmp(p, "true", 4) || !memcmp(p, "false", 5)) {
			bool is = *p == 't';

			b->data[b->rows] = is;
			put_valid(b, b->rows++);
			return p + 5 - is;
		}
		break;
	case STEP_SKIP:
	case STEP_OTHER: break;
	}
	return take_other(r, p, end, column);
}

KERNEL static inline __attribute__((always_inline)) bool is_next(
	const struct ndjson_step *s, const uint8_t *p, const uint8_t *end)
{
	if (!is_literal(p, s))
		return false;
	if (s->literal_len <= sizeof(s->literal))
		return true;
	return (size_t)(end - p) >= s->literal_len + NDJSON_MARGIN &&
	       !memcmp(p + sizeof(s->literal), s->rest, s->literal_len - sizeof(s->literal));
}

/* Where the record behind the one at p starts, or NULL; columns may have got a row then. */
KERNEL static const uint8_t *take_record(
	struct ndjson *r, const struct ndjson_shape *shape, const uint8_t *p, const uint8_t *end)
{
	const struct ndjson_step *s = shape->steps, *steps_end = s + shape->steps_len;
	const uint8_t *last = end - NDJSON_MARGIN, *newline;

	for (; s < steps_end; s++) {
		if (p > last || !is_next(s, p, end))
			return NULL;
		p += s->literal_len;
		if (p > last)
			return NULL;
		p = take_value(r, s, p, end);
		if (!p)
			return NULL;
	}
	if (p > last)
		return NULL;
	if (shape->missing_len || !shape->steps_len) {
		if (!is_next(&shape->tail, p, end))
			return NULL;
		for (size_t i = 0; i < shape->missing_len; i++)
			builder_put_null(shape->missing[i]->builder);
		p += shape->tail.literal_len;
		return p <= last ? p : NULL;
	}
	if (p[0] == '}' && p[1] == '\n')
		return p + 2;
	if (p[0] != ',' && p[0] != '}')
		return NULL;
	newline = find_newline(p, end);
	if (!newline || newline > last)
		return NULL;
	if (newline[-1] == '}')
		return newline + 1;
	return newline[-1] == '\r' && newline[-2] == '}' ? newline + 1 : NULL;
}

/* Records jump through memory too irregularly for the processor's own prefetching: asking for the
 * bytes a kilobyte ahead makes 1.4 GB/s 4.5 where they aren't in cache yet. */
static inline __attribute__((always_inline)) void prefetch(const uint8_t *p, const uint8_t *next)
{
	uintptr_t at = (uintptr_t)p + 1024, end = (uintptr_t)next + 1024;

	for (; at < end; at += 64)
		__builtin_prefetch((const void *)at);
}

KERNEL const uint8_t *FAST_NAME(
	struct ndjson *r, const uint8_t *p, const uint8_t *end, uint32_t *rows)
{
	uint32_t row = r->columns[0].builder->rows;

	if (end - p < 2 * NDJSON_MARGIN)
		return p;
	for (; *rows; --*rows) {
		const uint8_t *next = NULL;

		for (size_t i = 0; i < NDJSON_SHAPES; i++) {
			size_t which = (r->shape_now + i) % NDJSON_SHAPES;

			if (!r->shapes[which].steps)
				continue;
			next = take_record(r, &r->shapes[which], p, end);
			if (next) {
				r->shape_now = which;
				break;
			}
			ndjson_undo(r, row);
		}
		if (!next)
			break;
		prefetch(p, next);
		p = next;
		row++;
		r->line++;
	}
	return p;
}
