/* The operator of ssort: what it is asked for, and the ways it does it.
 *
 *   full      everything, at the end of a bounded stream                (full.c, sorter.h)
 *   head      the first rows as they come, overall or per key           (head.c)
 *   top       the first rows of an order, overall or per key            (top.c)
 *   by time   in event-time order, as the watermark allows              (by_time.c)
 *
 * Which one it is shows with the schema: a way is made then, and told of rows and watermarks. */
#ifndef RUNNEL_SSORT_SSORT_H
#define RUNNEL_SSORT_SSORT_H

#include "cmd/ssort/order.h"
#include "libcore/stage/operator.h"

struct sort_options {
	const char *order, *order_what; /* NULL: none */
	const char *keys, *keys_what;   /* NULL: none */
	int64_t limit;                  /* -n; 0: not given */
	bool ties;
	const char *number; /* name of a column; NULL: none */
	bool by_time;
	bool late_output;     /* output 1 takes late rows */
	int64_t memory_bytes; /* of what can't be spilled; 0: no cap */
	int64_t sort_bytes;   /* of what can; 0: nothing is spilled */
	const char *temporary;
};

/* Texts are borrowed for as long as the operator lives. */
int sort_operator_new(const struct sort_options *o, struct operator** out, struct error *e);

/* ---- inside ---- */

struct ssort;
struct way; /* the state of a way, its own */

struct way_ops {
	/* Declares the outputs.  s->in is the schema of the rows to come. */
	int (*open)(struct ssort *s, struct error *e);
	void (*close)(struct ssort *s);
	int (*batch)(struct ssort *s, const struct batch *b, struct error *e);
	int (*watermark)(struct ssort *s, int64_t in_us, int64_t *out_us, struct error *e);
	int (*save)(struct ssort *s, struct snapshot_writer *w, struct error *e);
	int (*load)(struct ssort *s, const struct batch *saved, struct error *e); /* one batch */
	int (*load_end)(struct ssort *s, struct error *e); /* after the last */
};

extern const struct way_ops full_way, head_way, top_way, by_time_way;

struct ssort {
	struct operator op;
	struct sort_options o;
	struct arena texts;
	struct order_list order_list;
	struct select_list key_list;
	const struct way_ops *way; /* NULL: no schema yet */
	struct way *state;
	struct schema in; /* as announced */
	struct schema out;
	struct order order;       /* over in */
	struct spill_run **saved; /* restored sections, until the schema is known */
	size_t saved_len, saved_cap;
};

/* The keys of -k over a batch: columns (in the arena or the program's), hashes. */
struct sort_keys {
	struct program *program;
	struct type *types;
	struct column *columns;
	const struct column **pointers;
	size_t len;
};

int sort_keys_compile(struct sort_keys *k, const struct ssort *s, struct error *e);
void sort_keys_clear(struct sort_keys *k);
int sort_keys_run(struct sort_keys *k, const struct batch *b, uint64_t *hashes, struct error *e);

/* Emits rows with the number column behind them, if one is asked for. */
int ssort_emit(struct ssort *s, const struct batch *rows, const int64_t *numbers, struct error *e);

#endif
