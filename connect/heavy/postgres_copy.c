#include "connect/heavy/postgres_copy.h"

#include "connect/heavy/postgres_binary.h"

#include <sys/types.h>

enum {
	SIGNATURE_BYTES = 11,
	HEADER_BYTES = 19,
	EXTENSION_MAX = 1 << 20,
	FIELD_NULL = -1,
	CRITICAL_FLAGS =
		0x7fff0000, /* what a reader must know; bit 16: oids in front, as long ago */
};

enum row_status {
	ROW_TAKEN,
	ROW_CUT,  /* not whole yet */
	ROW_LAST, /* no row: the end */
	ROW_REFUSED,
	ROW_BROKEN,
};

void postgres_copy_clear(struct postgres_copy *c)
{
	buf_clear(&c->held);
}

static int broken(const struct postgres_copy *c, struct error *e, const char *what)
{
	return error_set(e, ERROR_DATA,
		"the rows that the server sends are malformed behind row %llu: %s",
		(unsigned long long)c->rows, what);
}

/* Bytes the header takes; 0: not whole yet; -1. */
static ssize_t take_header(
	const struct postgres_copy *c, const uint8_t *at, size_t len, struct error *e)
{
	uint32_t extension;

	if (memcmp(at, postgres_copy_header, len < SIGNATURE_BYTES ? len : SIGNATURE_BYTES) != 0)
		return broken(c, e, "no signature");
	if (len < HEADER_BYTES)
		return 0;
	if (take_u32(at + SIGNATURE_BYTES) & CRITICAL_FLAGS)
		return broken(c, e, "flags that aren't known");
	extension = take_u32(at + SIGNATURE_BYTES + 4);
	if (extension > EXTENSION_MAX)
		return broken(c, e, "a header too long");
	return len < HEADER_BYTES + (size_t)extension ? 0
						      : (ssize_t)(HEADER_BYTES + (size_t)extension);
}

/* Whether the row at `at` is whole, and how long. */
static enum row_status measure(const struct postgres_copy *c, const uint8_t *at, size_t len,
	size_t *row_bytes, struct error *e)
{
	size_t used = 2;
	int16_t fields;

	if (len < used)
		return ROW_CUT;
	fields = (int16_t)take_u16(at);
	*row_bytes = used;
	if (fields == -1)
		return ROW_LAST;
	if (fields < 0 || (size_t)fields != c->columns_len) {
		broken(c, e, "another number of fields");
		return ROW_BROKEN;
	}
	for (size_t i = 0; i < c->columns_len; i++) {
		int32_t field;

		if (len - used < 4)
			return ROW_CUT;
		field = (int32_t)take_u32(at + used);
		used += 4;
		if (field < FIELD_NULL || field > POSTGRES_ROW_MAX || used > POSTGRES_ROW_MAX) {
			broken(c, e, field < FIELD_NULL ? "a field's length" : "a row over 64 MiB");
			return ROW_BROKEN;
		}
		if (field == FIELD_NULL)
			continue;
		if (len - used < (size_t)field)
			return ROW_CUT;
		used += (size_t)field;
	}
	*row_bytes = used;
	return ROW_TAKEN;
}

static enum row_status refuse(struct postgres_copy *c, struct column_builder *out, size_t column,
	uint32_t rows, const char *why, struct error *e)
{
	for (size_t i = 0; i <= column; i++)
		builder_truncate(&out[i], rows);
	error_set(e, ERROR_DATA, "row %llu, column %s: %s", (unsigned long long)c->rows,
		c->schema->fields[column].name, why);
	return ROW_REFUSED;
}

static enum row_status take_row(
	struct postgres_copy *c, const uint8_t *at, struct column_builder *out, struct error *e)
{
	uint32_t rows = out->rows;
	const char *why;

	at += 2;
	c->rows++;
	for (size_t i = 0; i < c->columns_len; i++) {
		int32_t field = (int32_t)take_u32(at);

		at += 4;
		if (field == FIELD_NULL) {
			builder_put_null(&out[i]);
			if ((int)i == c->required)
				return refuse(c, out, i, rows, "null, but it is the event time", e);
			continue;
		}
		if (postgres_take_binary(&c->codecs[i], at, (size_t)field, &out[i], &why) < 0)
			return refuse(c, out, i, rows, why, e);
		at += field;
	}
	return ROW_TAKEN;
}

/* Everything that is whole.  *used: bytes that are done with. */
static int take_rows(struct postgres_copy *c, const uint8_t *at, size_t len,
	struct column_builder *out, size_t *used, struct error *e)
{
	*used = 0;
	if (!c->has_header) {
		ssize_t header = take_header(c, at, len, e);

		if (header <= 0)
			return (int)header;
		*used = (size_t)header;
		c->has_header = true;
	}
	while (!c->is_over && *used < len) {
		size_t row_bytes = 0;
		enum row_status status = measure(c, at + *used, len - *used, &row_bytes, e);

		if (status == ROW_BROKEN)
			return -1;
		if (status == ROW_CUT)
			return 0;
		c->is_over = status == ROW_LAST;
		if (status == ROW_TAKEN)
			status = take_row(c, at + *used, out, e);
		*used += row_bytes;
		if (status == ROW_REFUSED)
			return 1;
	}
	return c->is_over && *used < len ? broken(c, e, "something behind the last row") : 0;
}

int postgres_copy_take(struct postgres_copy *c, const uint8_t *bytes, size_t len,
	struct column_builder *out, struct error *e)
{
	size_t used;
	int status;

	if (!c->held.len) {
		if (!len)
			return 0;
		status = take_rows(c, bytes, len, out, &used, e);
		buf_put(&c->held, bytes + used, len - used);
		return status;
	}
	buf_put(&c->held, bytes, len);
	status = take_rows(c, c->held.data, c->held.len, out, &used, e);
	c->held.len -= used;
	memmove(c->held.data, c->held.data + used, c->held.len);
	return status;
}

int postgres_copy_end(const struct postgres_copy *c, struct error *e)
{
	return c->is_over && !c->held.len ? 0 : broken(c, e, "the end is missing");
}
