/* Where the fields and records of CSV text end: the structure, before any value is looked at.
 *
 *   bytes   a,"b,c"\nd,\n           ends  1 7 9 10        a separator outside quotes, or a newline
 *   rows    2 4                     rows[r] = number of ends up to and with record r's newline
 *
 * ends[-1] always exists, so that field i begins at ends[i - 1] + 1.  Positions count from the
 * bytes given to csv_index_scan.  A CR before the newline belongs to the last field: who reads it
 * strips.
 *
 * 64 bytes at a time: one bit per byte for separators, newlines and quotes, from AVX2 compares or
 * portable code; where quotes occur, a prefix xor of their bits says what lies inside.  After
 * simdcsv and Langdale & Lemire, "Parsing Gigabytes of JSON per Second" (2019). */
#ifndef RUNNEL_FORMATS_CSV_INDEX_H
#define RUNNEL_FORMATS_CSV_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CSV_INDEX_ROWS = 1024, /* of one scan: ends and the text they point at stay in L2 */
	CSV_INDEX_ENDS = 16384,
};

struct csv_index {
	uint32_t *ends;
	uint32_t *rows;
	uint32_t ends_len; /* of whole records */
	uint32_t rows_len;
	bool quotes;             /* a quote occurred */
	bool ascii;              /* no byte above 0x7f was seen */
	uint32_t inner_newlines; /* newlines inside quotes: lines are then not records */
	bool broken; /* the record behind the last whole one can't be indexed: malformed,
		      * or with too many fields.  Take it with a closer look. */
};

struct csv_dialect {
	char delimiter;
	bool quoted_newlines;
};

void csv_index_init(struct csv_index *x);
void csv_index_clear(struct csv_index *x);

/* Scans from the first byte of a record until rows_max (at most CSV_INDEX_ROWS) whole records are
 * known, or the bytes end, or something is wrong.  last: no bytes follow, so the end of the bytes
 * ends a record too. */
void csv_index_scan(struct csv_index *x, const uint8_t *bytes, size_t len, bool last,
	struct csv_dialect d, uint32_t rows_max);

#endif
