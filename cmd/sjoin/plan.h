/* What the two schemas make of the options: keys and their common types, the columns of a pair, the
 * output, the condition.
 *
 *   pair   left columns, right columns without the key, window_start, window_end
 *   out    the same; right and full joins: a key column has the common type
 *          semi and anti joins: left columns, window_start, window_end
 *
 * The output is a changelog where LEFT is one, and where both sides are streams (but an inner join
 * of rows that stay).  It has a key where both sides are changelogs that have one, and two output
 * rows of one key can't be.
 *
 * A window join replaces columns of its inputs that are called window_start or window_end by its
 * own.  It knows nothing of rows that are kept, nor of the runtime. */
#ifndef RUNNEL_SJOIN_PLAN_H
#define RUNNEL_SJOIN_PLAN_H

#include "libcore/expr/expr.h"
#include "libcore/table/keys.h"

enum join_kind { JOIN_INNER, JOIN_LEFT, JOIN_RIGHT, JOIN_FULL, JOIN_SEMI, JOIN_ANTI };

enum join_by {
	JOIN_BY_KEY, /* RIGHT is read first and kept */
	JOIN_BY_WINDOW,
	JOIN_BY_INTERVAL,
	JOIN_BY_LATEST, /* --as-of */
	JOIN_BY_LOOKUP, /* RIGHT lies elsewhere and is asked for */
};

struct lookup;

struct join_options {
	enum join_by by;
	enum join_kind kind;
	bool is_static; /* --static was said: for messages */
	bool cross;     /* no keys: everything meets everything */
	bool has_late;  /* late rows go to side output 1 */
	bool has_tolerance;
	bool cumulate;                       /* windows grow by step up to size */
	const char *keys, *where, *prefix;   /* NULL: none; prefix "right_" */
	const char *where_what;              /* names where in messages; NULL: "-w" */
	int64_t size_us, step_us, offset_us; /* windows: tumbling if step is size */
	int64_t low_us, high_us;             /* right time - left time */
	int64_t tolerance_us;
	int64_t ttl_us;        /* streams: how long rows are kept; 0: for ever */
	int64_t memory_bytes;  /* 0: no cap */
	const char *temporary; /* directory for rows beyond memory_bytes; NULL: none */
	struct lookup *lookup;  /* taken over; who is asked */
	size_t lookup_cache;    /* keys and rows that are kept; 0: none */
	int64_t lookup_ttl_us;  /* ... for so long; 0: for ever */
	int64_t (*clock_us)(void); /* by this clock */
	uint32_t slack_rows;   /* rowstore.h; 0: its default */
	uint32_t spill_rows;   /* most rows in a batch on disk, where tests want few; 0: many */
};

struct key_names {
	const char *left, *right;
};

enum { PLAN_WINDOW_START = -1, PLAN_WINDOW_END = -2 };

struct plan_column { /* where a column of a pair comes from */
	unsigned side;
	int column; /* of that side's schema, or PLAN_WINDOW_* */
};

struct plan {
	const struct join_options *options;
	struct arena arena;
	struct key_names *names;
	size_t keys_len;

	struct schema in[2];
	struct schema rows[2]; /* as in[], without ops: what is kept */
	bool has[2];
	bool streams;             /* by key, and RIGHT never ends: both sides are kept */
	struct program *adapt[2]; /* from another, later schema to in[]; NULL: rows are as in[] */
	struct schema adapt_from[2]; /* what adapt was compiled against */
	struct column *adapt_columns[2];

	/* Known once both schemas are: */
	int *keys[2];
	struct type *types;          /* of the keys, both sides cast to it */
	struct program *casts[2];    /* the keys of a side; NULL: its columns as they are */
	struct plan_column *columns; /* of pair */
	struct schema pair, out;
	int *out_columns;      /* out column -> pair column */
	int *key_outs;         /* key -> out column of its left name, -1: not in the output */
	struct program *where; /* over pair; NULL: none */
	struct program *widen; /* pair -> out; NULL: the columns as they are */
	/* A row that loses its partner of this side, or finds one, has another key in the output.
	 */
	bool partner_in_key[2];
};

struct plan_keys {                     /* of one batch */
	const struct column **columns; /* keys_len */
	uint64_t *hashes;
	bool has_null; /* some column has a validity bitmap */
};

/* Parses options->keys. */
int plan_init(struct plan *p, const struct join_options *options, struct error *e);
void plan_clear(struct plan *p);

/* Tells a side's schema.  A second one must have every column of the first, in a type that widens
 * to the first's. */
int plan_set_schema(struct plan *p, unsigned side, const struct schema *s, struct error *e);

/* Both schemas are there: fills in the rest. */
int plan_compile(struct plan *p, struct error *e);

/* Rows as in[side] says; borrowed from b and from the plan until the next call for that side. */
int plan_adapt(
	struct plan *p, unsigned side, const struct batch *b, struct batch *out, struct error *e);

/* Key columns in their common types, and hashes, in the arena. */
int plan_find_keys(struct plan *p, unsigned side, const struct batch *b, struct arena *a,
	struct plan_keys *out, struct error *e);

#endif
