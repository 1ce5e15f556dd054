/* The words of a pipeline file (cmd/common/pipeline.h): quotes, expansions, splitting, variables,
 * and the bytes beneath them.  Only pipeline.c uses it.
 *
 * A reader goes once over the text, byte by byte.  reader_peek and what is built on it see the text
 * as bash's lexer does, without backslash-newlines; quotes are read raw. */
#ifndef RUNNEL_CMD_COMMON_PIPELINE_WORD_H
#define RUNNEL_CMD_COMMON_PIPELINE_WORD_H

#include "cmd/common/pipeline.h"

struct reader_variable {
	const char *name, *value; /* value NULL: exported, never assigned */
	bool exported;
};

/* The word that is being read; its memory is used again for the next. */
struct reader_field {
	char *data;
	size_t len, cap;
	bool begun; /* false: nothing yet, not even "" */
};

struct reader {
	const struct pipeline_source *source;
	struct arena *arena;
	struct error *error;
	size_t at;         /* the next byte */
	size_t line_start; /* first byte of its line */
	unsigned line;
	unsigned depth;     /* substitutions and defaults around it */
	bool unset_refused; /* set -u */
	size_t stages;      /* so far, PIPELINE_STAGES_MAX */
	size_t expanded_bytes;
	struct reader_field field;
	struct reader_variable *variables;
	size_t variables_len, variables_cap;
};

/* Arguments so far of one stage, or of set. */
struct reader_words {
	struct pipeline_argument *items;
	size_t len, cap;
};

enum { READER_END = -1 };

/* Refuses the text at a place: -1, with the error set. */
#define READER_REFUSE(r, place, hint, ...) \
	pipeline_error((r)->source, (place), (hint), (r)->error, __VA_ARGS__)

/* The next byte or READER_END; reader_step goes past it. */
int reader_peek(struct reader *r);
void reader_step(struct reader *r);
struct pipeline_place reader_place(const struct reader *r);
/* Blanks and a comment up to the end of the line; reader_skip_lines newlines too. */
void reader_skip_blanks(struct reader *r);
void reader_skip_lines(struct reader *r);
/* True if the text goes on with this, as it stands. */
bool reader_sees(const struct reader *r, const char *text);

/* Length of the name the text goes on with, 0 if with none. */
size_t reader_name_len(const struct reader *r);
/* Takes the name and refuses those that bash sets itself. */
int reader_take_name(struct reader *r, const char **name);

/* True for what ends a word: the end, blanks, newlines, | & ; ( ) < >. */
bool reader_ends_word(int byte);
/* Reads one word, of which splitting may make any number of arguments. */
int reader_take_words(struct reader *r, struct reader_words *words);
/* Reads the word behind name=, which isn't split; it may be empty. */
int reader_take_value(struct reader *r, const char **value);
int reader_add_argument(
	struct reader *r, struct reader_words *words, const struct pipeline_argument *argument);

/* value NULL: exports what it has, if it has one. */
int reader_assign(struct reader *r, struct pipeline_place place, const char *name,
	const char *value, bool exported);

#endif
