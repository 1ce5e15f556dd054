/* What all sources do with time: event time and its watermarks, the pace of --rate, TICKs. */
#ifndef RUNNEL_CMD_SSOURCE_CLOCKWORK_H
#define RUNNEL_CMD_SSOURCE_CLOCKWORK_H

#include "cmd/ssource/source.h"

struct clockwork {
	const struct source_options *o;
	int time_column;       /* in the stream's schema; -1: none */
	int64_t time_offset_us;
	uint64_t rows;         /* emitted so far, all runs together */
	int64_t greatest_us;   /* event time seen; WATERMARK_NONE: none */
	uint32_t subtasks;     /* that share --rate */
	uint64_t paced_rows;   /* emitted by this process, and since when */
	int64_t paced_from_us;
	int64_t ticked_us;
};

void clockwork_init(struct clockwork *c, const struct source_options *o);

/* Resolves -t in the schema and sets its time column; ERROR_USAGE with what to write instead. */
int clockwork_set_schema(struct clockwork *c, struct schema *s, struct error *e);

/* Rows that may be emitted before the next watermark is due or the limit is reached; 0: the limit. */
uint32_t clockwork_rows_max(const struct clockwork *c);

/* Microseconds until --rate allows more rows; 0: now. */
int64_t clockwork_wait_us(struct clockwork *c);

/* Whether it places watermarks: only then is greatest_us kept. */
bool clockwork_places(const struct clockwork *c);

/* The greatest event time of rows [first, first + n), or the one before if that is greater. */
int64_t clockwork_greatest(const struct clockwork *c, const struct batch *b, uint32_t first,
	uint32_t n, int64_t before_us);

/* Emits the rows alone. */
int clockwork_send(struct clockwork *c, struct stage *st, const struct batch *b, struct error *e);

/* Microseconds until the next TICK is due. */
int64_t clockwork_until_tick(const struct clockwork *c);

/* Emits the rows, and the watermark that is due behind them: by the times of these rows, and of
 * those that gave greatest_us. */
int clockwork_emit(struct clockwork *c, struct stage *st, const struct batch *b, struct error *e);

/* A TICK, at the start and then once a second. */
int clockwork_tick(struct clockwork *c, struct stage *st, struct error *e);

#endif
