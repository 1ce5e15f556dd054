#include "formats/writer_impl.h"

#include "libcore/base/civil.h"
#include "libcore/base/digits.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"
#include "libcore/base/suggest.h"

#include <math.h>

static const struct writer_ops *const all[] = {&writer_csv, &writer_tsv, &writer_ndjson,
	&writer_json, &writer_msgpack, &writer_lines, &writer_table,
	&writer_debezium, &writer_avro};

enum { WRITERS = sizeof all / sizeof *all };

int writer_new(const char *format, const struct writer_options *o, struct writer **out,
	struct error *e)
{
	const char *names[WRITERS];
	struct writer *w;
	size_t len = 0;
	int near;

	for (size_t i = 0; i < WRITERS; i++) {
		if (!all[i])
			continue;
		names[len++] = all[i]->name;
		if (strcmp(all[i]->name, format) != 0)
			continue;
		w = mem_zero(sizeof *w);
		w->ops = all[i];
		w->o = *o;
		schema_init(&w->schema);
		*out = w;
		return 0;
	}
	near = suggest(format, strlen(format), names, len);
	error_set(e, ERROR_USAGE, "unknown output format '%s'", format);
	if (near >= 0)
		return error_hint(e, "did you mean %s?", names[near]);
	return error_hint(e, "there are csv, tsv, ndjson, json, msgpack, lines, table, debezium-json, avro, frames");
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	if (w->ops->clear)
		w->ops->clear(w);
	schema_clear(&w->schema);
	buf_clear(&w->prefixes);
	mem_free(w->prefix_at);
	mem_free(w);
}

bool writer_has_avro(void)
{
	return &writer_avro != NULL;
}

uint32_t writer_mark(const struct writer *w)
{
	return w->ops->mark ? w->ops->mark(w) : 0;
}

int writer_schema(struct writer *w, const struct schema *s, struct buf *out, struct error *e)
{
	int status;

	if (w->has_schema && schema_equal(&w->schema, s))
		return 0;
	status = w->ops->schema(w, s, out, e);
	if (status < 0)
		return -1;
	schema_clear(&w->schema);
	schema_copy(&w->schema, s);
	w->has_schema = true;
	return 0;
}

int writer_resume(struct writer *w, const struct schema *s, bool has_rows, struct error *e)
{
	struct buf dropped = BUF_INIT;
	int status = writer_schema(w, s, &dropped, e);

	buf_clear(&dropped);
	w->has_rows = has_rows;
	return status;
}

int writer_rows(struct writer *w, const struct batch *b, struct buf *out, struct error *e)
{
	MUST(w->has_schema);
	return b->rows ? w->ops->rows(w, b, out, e) : 0;
}

int writer_end(struct writer *w, struct buf *out, struct error *e)
{
	bool has = w->ops->end && (w->has_schema || w->ops->ends_without_schema);

	return has ? w->ops->end(w, out, e) : 0;
}

const char *writer_op_name(uint8_t op)
{
	static const char *const names[] = {"+I", "-U", "+U", "-D"};

	return names[op & 3];
}

/* ---- values ---- */

static size_t in_quotes(bool quoted, char *out, size_t len)
{
	if (!quoted)
		return len;
	memmove(out + 1, out, len);
	out[0] = '"';
	out[len + 1] = '"';
	return len + 2;
}

static size_t put_word(char *out, const char *word)
{
	size_t len = strlen(word);

	memcpy(out, word, len);
	return len;
}

static void put_pair(char *out, uint32_t n)
{
	memcpy(out, digits_pairs + (size_t)2 * n, 2);
}

/* What timestamp_put writes; the calendar is asked once a day. */
static size_t put_timestamp(int64_t us, struct day_text *d, char *out)
{
	int64_t day = us / CIVIL_US_DAY - (us % CIVIL_US_DAY < 0);
	int64_t within = us % CIVIL_US_DAY + (us % CIVIL_US_DAY < 0 ? CIVIL_US_DAY : 0);
	uint32_t second = (uint32_t)(within / CIVIL_US_SECOND);
	uint32_t fraction = (uint32_t)(within % CIVIL_US_SECOND);
	uint32_t minute = second / 60, thousandths = fraction / 1000;

	if (!d->known || d->day != day) {
		size_t len = timestamp_put(out, us);

		d->known = out[sizeof d->text - 1] == 'T';
		d->day = day;
		memcpy(d->text, out, sizeof d->text);
		return len;
	}
	memcpy(out, d->text, sizeof d->text);
	put_pair(out + 11, minute / 60);
	out[13] = ':';
	put_pair(out + 14, minute % 60);
	out[16] = ':';
	put_pair(out + 17, second % 60);
	out[19] = fraction ? '.' : 'Z';
	if (!fraction)
		return 20;
	out[20] = (char)('0' + thousandths / 100);
	put_pair(out + 21, thousandths % 100);
	out[23] = 'Z';
	if (fraction % 1000 == 0)
		return 24;
	out[23] = (char)('0' + fraction % 1000 / 100);
	put_pair(out + 24, fraction % 100);
	out[26] = 'Z';
	return 27;
}

size_t writer_put_value(const struct column *c, uint32_t row, bool quoted, struct day_text *day,
	char *out)
{
	double real;
	size_t len;

	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: return put_word(out, column_bool(c, row) ? "true" : "false");
	case TYPE_INT: return int_put(out, column_int(c, row));
	case TYPE_FLOAT:
		real = column_float(c, row);
		return quoted && !isfinite(real) ? put_word(out, "null") : float_put(out, real, 0);
	case TYPE_DECIMAL: return decimal_put(out, column_decimal(c, row), c->type.scale);
	case TYPE_DATE: return in_quotes(quoted, out, date_put(out, column_date(c, row)));
	case TYPE_TIMESTAMP:
		if (!quoted)
			return put_timestamp(column_int(c, row), day, out);
		out[0] = '"';
		len = put_timestamp(column_int(c, row), day, out + 1);
		out[len + 1] = '"';
		return len + 2;
	case TYPE_DURATION: return in_quotes(quoted, out, duration_put(out, column_int(c, row)));
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	MUST(!"a value of fixed width");
	return 0;
}
