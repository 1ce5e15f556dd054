/* One Avro record to a row of columns: a plan made of a schema and of what is wanted, and its run.
 *
 * Columns are found by name (a.b: in a record within), so a plan is made for every schema that
 * comes, and what a schema lacks is null.  Numbers widen; a timestamp takes a logical one, an
 * integer in the unit asked for, or ISO text; any takes everything. */
#ifndef RUNNEL_CONNECT_HEAVY_AVRO_VALUE_H
#define RUNNEL_CONNECT_HEAVY_AVRO_VALUE_H

#include "connect/heavy/avro_schema.h"
#include "formats/reader.h"

struct avro_plan;

/* columns are borrowed for the plan's life.  A column of a type that no value of the schema could
 * have is ERROR_USAGE. */
int avro_plan_new(const struct avro_node *schema, const struct wanted_column *columns, size_t n,
	struct avro_plan **out, struct error *e);
void avro_plan_free(struct avro_plan *p);

enum avro_status {
	AVRO_ROW = 0,
	AVRO_BAD_VALUE = 1, /* *at is behind the record all the same; no row was appended */
	AVRO_BROKEN = 2,    /* nobody knows where the record ends */
};

/* The record at *at, which moves behind it, as a row of the builders.  reason: what was wrong. */
enum avro_status avro_take(struct avro_plan *p, const uint8_t **at, const uint8_t *end,
	struct column_builder *builders, struct buf *reason);

/* A record passed over, as msgpack (for who wants to show it); false: broken. */
bool avro_to_msgpack(
	const struct avro_node *n, const uint8_t **at, const uint8_t *end, struct buf *out);

/* Variable-length integers, zigzag.  False: the bytes end, or it is none. */
bool avro_read_long(const uint8_t **at, const uint8_t *end, int64_t *out);
void avro_put_long(struct buf *out, int64_t v);

#endif
