/* Pipeline files.  What is accepted keeps to the limits, stands where it says, and is the same with
 * lines around it and with every word quoted; what is refused is told with line, source and caret.
 * What would be stee's arguments is read in turn. */
#include "cmd/common/pipeline.h"
#include "libcore/base/buf.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *variable(void *context, const char *name)
{
	(void)context;
	if (name[0] && name[1])
		return NULL;
	switch (name[0]) {
	case 'a': return "a";
	case 'e': return "";
	case 's': return " a  b\n";
	case 'g': return "*";
	}
	return NULL;
}

static void check_place(struct pipeline_place place)
{
	MUST(place.line > 0 && place.column > 0);
}

/* With the tree as words in single quotes, so that it can be read again. */
static size_t put_tree(struct buf *out, const struct pipeline *p, unsigned depth)
{
	size_t stages = 0;

	MUST(depth <= PIPELINE_DEPTH_MAX && p->stages_len > 0);
	for (size_t i = 0; i < p->stages_len; i++) {
		const struct pipeline_stage *s = &p->stages[i];

		stages++;
		check_place(s->place);
		MUST(s->arguments_len && !s->arguments[0].source && !s->arguments[0].redirect);
		MUST(s->arguments_len <= PIPELINE_ARGUMENTS_MAX);
		buf_put_text(out, i ? "|" : "");
		for (size_t k = 0; k < s->arguments_len; k++) {
			const struct pipeline_argument *a = &s->arguments[k];

			check_place(a->place);
			buf_put_byte(out, ' ');
			if (a->redirect)
				buf_put_byte(out, (uint8_t)a->redirect);
			if (a->source) {
				MUST(!strncmp(a->text, "<(", 2) || !strncmp(a->text, "<\\\n", 3));
				buf_put_text(out, "<(");
				stages += put_tree(out, a->source, depth + 1);
				buf_put_text(out, ")");
				continue;
			}
			buf_put_byte(out, '\'');
			for (const char *c = a->text; *c; c++) {
				if (*c == '\'')
					buf_put_text(out, "'\\''");
				else
					buf_put_byte(out, (uint8_t)*c);
			}
			buf_put_byte(out, '\'');
		}
	}
	return stages;
}

static void check_refusal(const struct error *e)
{
	const char *line = strchr(e->text, '\n');

	MUST(e->code == ERROR_USAGE && !strncmp(e->text, "fuzz:", 5));
	MUST(line && !strncmp(line, "\n  ", 3));
	MUST(strstr(line + 1, "^") && strlen(e->text) < ERROR_TEXT_MAX - 1);
}

/* Every argument of every stee, in which there may be others. */
static void read_branches(const struct pipeline *p, unsigned depth)
{
	for (size_t i = 0; i < p->stages_len && depth < 4; i++) {
		const struct pipeline_stage *s = &p->stages[i];

		for (size_t k = 1; k < s->arguments_len && !strcmp(s->arguments[0].text, "stee"); k++) {
			struct pipeline_source source = {.name = "fuzz", .text = s->arguments[k].text,
				.len = strlen(s->arguments[k].text), .reads_stage = true,
				.variable = variable};
			struct arena arena = ARENA_INIT;
			struct error e = ERROR_INIT;
			struct pipeline branch;

			if (pipeline_parse(&source, &arena, &branch, &e)) {
				check_refusal(&e);
			} else {
				MUST(!branch.stages[0].arguments[branch.stages[0].arguments_len - 1]
					.redirect || branch.stages_len == 1);
				read_branches(&branch, depth + 1);
			}
			arena_clear(&arena);
		}
	}
}

static int parse(const void *text, size_t len, struct buf *tree, struct error *e)
{
	struct pipeline_source source = {
		.name = "fuzz", .text = text, .len = len, .variable = variable};
	struct arena arena = ARENA_INIT;
	struct pipeline p;
	int status = pipeline_parse(&source, &arena, &p, e);

	if (!status) {
		MUST(put_tree(tree, &p, 0) <= PIPELINE_STAGES_MAX);
		read_branches(&p, 0);
	}
	arena_clear(&arena);
	return status;
}

static void check_same(const struct buf *text, const struct buf *tree)
{
	struct buf again = BUF_INIT;
	struct error e = ERROR_INIT;

	MUST(!parse(text->data, text->len, &again, &e));
	MUST(again.len == tree->len && !memcmp(again.data, tree->data, tree->len));
	buf_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf tree = BUF_INIT, text = BUF_INIT;
	struct error e = ERROR_INIT;
	char *exact = mem_alloc(size + !size);

	if (size)
		memcpy(exact, data, size);
	if (parse(exact, size, &tree, &e)) {
		check_refusal(&e);
	} else {
		if (tree.len <= PIPELINE_BYTES_MAX) /* expansions may come to more */
			check_same(&tree, &tree);
		buf_put_text(&text, "\n# a\nset -e\n");
		buf_put(&text, exact, size);
		buf_put_text(&text, "\n\n# c");
		check_same(&text, &tree);
	}
	mem_free(exact);
	buf_clear(&text);
	buf_clear(&tree);
	return 0;
}
