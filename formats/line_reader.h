/* What readers share whose records are lines (lines.c, regex.c): cutting, limits, messages.
 *
 * A newline ends a record, a carriage return before it is dropped; what isn't UTF-8 is malformed,
 * and so is a line longer than 64 MiB. */
#ifndef RUNNEL_FORMATS_LINE_READER_H
#define RUNNEL_FORMATS_LINE_READER_H

#include "formats/reader.h"

struct line_reader {
	struct reader reader;          /* of which the format fills free, infer, want */
	struct reader_options options; /* its nulls are copies */
	char *input;
	uint64_t line;
	bool too_long; /* inside a line that was refused for its length */

	/* Appends a row of the line, which is UTF-8 and without its end.  1; 0 if it was refused
	 * (line_reader_refuse) and nothing was appended; -1. */
	int (*take)(struct line_reader *r, struct text_view text, struct column_builder *builders,
		const struct bad_sink *bad, struct error *e);
};

void line_reader_init(struct line_reader *r, const struct reader_options *o);
void line_reader_clear(struct line_reader *r);

/* column: byte in the line from 1, 0: unknown.  0, or -1. */
struct bad_line {
	struct text_view text;
	uint32_t column;
	const char *reason;
};
int line_reader_refuse(const struct line_reader *r, const struct bad_sink *bad, struct bad_line l,
	struct error *e);

bool line_reader_is_null(const struct line_reader *r, struct text_view text);

/* The next line of a sample, as take sees it.  False: there is no further whole one. */
struct line_sample {
	const uint8_t *at, *end;
	bool last; /* the sample is all there is */
};
bool line_sample_next(struct line_sample *s, struct text_view *out);

/* Of struct reader_ops: */
void line_reader_start(struct reader *reader, const char *input_name);
int line_reader_parse(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	size_t *consumed, struct error *e);
uint64_t line_reader_line(const struct reader *reader);
void line_reader_resume(struct reader *reader, uint64_t at);

#endif
