/* One output of a stage: gathers small batches, knows the schema ids, and deals rows out to the
 * channels of the subtasks behind. */
#ifndef RUNNEL_STAGE_OUTLET_H
#define RUNNEL_STAGE_OUTLET_H

#include "libcore/expr/expr.h"
#include "libcore/frame/channel.h"
#include "libcore/stage/stage.h"
#include "libcore/table/builder.h"

struct outlet {
	struct stage_output_plan plan;
	struct schema schema;          /* as the operator declared it */
	struct schema wire_schema;     /* as sent: a changelog split by an exchange drops its key */
	bool declared;
	uint32_t schema_id;            /* of the current schema; 0: none sent */
	struct schema *sent;           /* schemas sent so far, by id - 1 */
	size_t sent_len, sent_cap;
	struct batch_builder *pending; /* per channel: rows held back to fill a batch */
	uint64_t *rows;                /* per channel: sent, for END */
	struct program *key_program;   /* of the exchange, over the current schema */
	struct arena key_texts;        /* what was parsed for it */
	bool splits_updates;           /* -U and +U may go to different channels */
	size_t next_channel;           /* round robin */
	uint64_t rows_out;
	bool ended;
	struct buf scratch;
	struct arena arena;
};

void outlet_init(struct outlet *o, const struct stage_output_plan *plan);
void outlet_clear(struct outlet *o);
int outlet_declare(struct outlet *o, const struct schema *s, struct error *e);
int outlet_emit(struct outlet *o, const struct batch *b, struct error *e);

/* Hands a frame on as it came, to the only channel; rows: those in it, for END.  Not together with
 * outlet_emit: the ids of schemas are those of the stream it came in. */
int outlet_pass(struct outlet *o, const struct frame *f, uint32_t rows, struct error *e);

/* Sends held-back rows as batches. */
int outlet_flush_rows(struct outlet *o, struct error *e);

/* Sends control frames to every channel, behind the rows so far. */
int outlet_put(struct outlet *o, const struct buf *frames, struct error *e);
int outlet_put_end(struct outlet *o, struct error *e);

/* Rows and buffered frames go out now. */
int outlet_flush(struct outlet *o, struct error *e);
bool outlet_is_closed(const struct outlet *o);

#endif
