/* Both sides of tests/pipeline_bash: what runnel's parser makes of a pipeline file, and what bash
 * does.
 *
 *   pipeline_words FILE...    parses them; for each "ok TREE" or "error TEXT", ended by a NUL
 *   ssource, smap, ...        under any other name it is a stage: it passes on what it reads,
 *                             followed by its own argument list; so the last prints the tree
 *
 * A tree is ("word" "word" <TREE>){old}{}(...){old}{}: a stage after the other, words as JSON
 * strings, a substitution as what could be read from it, behind each the variables it sees.  Input
 * from a file counts as its contents, which are
 * <"name"; sources read standard input only if it is a file. */
#include "cmd/common/pipeline.h"
#include "libcore/base/buf.h"
#include "libcore/base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Variables that a stage tells: one in the environment, one that only a file can export. */
static const char *const watched[] = {"exported", "fresh"};

static void put_json(struct buf *out, const char *text)
{
	buf_put_byte(out, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < ' ' || c == '"' || c == '\\' || c >= 0x7f)
			buf_printf(out, "\\x%02x", c);
		else
			buf_put_byte(out, c);
	}
	buf_put_byte(out, '"');
}

static void read_all(FILE *f, struct buf *out)
{
	char piece[4096];
	size_t n;

	while ((n = fread(piece, 1, sizeof piece, f)))
		buf_put(out, piece, n);
}

/* ---- bash's side ---- */

static void put_read(struct buf *out, const char *path)
{
	FILE *f = fopen(path, "r");

	if (!f) {
		perror(path);
		exit(1);
	}
	buf_put_byte(out, '<');
	read_all(f, out);
	buf_put_byte(out, '>');
	fclose(f);
}

static int be_stage(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];
	struct buf out = BUF_INIT;
	struct stat st;

	if (strncmp(name, "ssource", 7) || (!fstat(0, &st) && S_ISREG(st.st_mode)))
		read_all(stdin, &out);
	buf_put_byte(&out, '(');
	put_json(&out, name);
	for (int i = 1; i < argc; i++) {
		buf_put_byte(&out, ' ');
		if (strncmp(argv[i], "/dev/fd/", 8))
			put_json(&out, argv[i]);
		else
			put_read(&out, argv[i]);
	}
	buf_put_byte(&out, ')');
	for (size_t i = 0; i < COUNT(watched); i++)
		buf_printf(&out, "{%s}", getenv(watched[i]) ? getenv(watched[i]) : "");
	fwrite(out.data, 1, out.len, stdout);
	buf_clear(&out);
	return fflush(stdout) != 0;
}

/* ---- runnel's side ---- */

static const char *exported(const struct pipeline *file, const char *name)
{
	for (size_t i = 0; i < file->variables_len; i++) {
		if (!strcmp(file->variables[i].name, name))
			return file->variables[i].value;
	}
	return getenv(name) ? getenv(name) : "";
}

static void put_tree(struct buf *out, const struct pipeline *p, const struct pipeline *file);

static void put_stage(struct buf *out, const struct pipeline_stage *s, const struct pipeline *file)
{
	const struct pipeline_argument *a = s->arguments, *end = a + s->arguments_len;

	for (; a < end; a++) {
		if (a->redirect != '<')
			continue;
		buf_put_byte(out, '<');
		put_json(out, a->text);
	}
	for (a = s->arguments; a < end; a++) {
		if (a->redirect)
			continue;
		buf_put_byte(out, a == s->arguments ? '(' : ' ');
		if (!a->source) {
			put_json(out, a->text);
			continue;
		}
		buf_put_byte(out, '<');
		put_tree(out, a->source, file);
		buf_put_byte(out, '>');
	}
	buf_put_byte(out, ')');
	for (size_t i = 0; i < COUNT(watched); i++)
		buf_printf(out, "{%s}", exported(file, watched[i]));
	for (a = s->arguments; a < end; a++) {
		if (a->redirect != '>')
			continue;
		buf_put_byte(out, '>');
		put_json(out, a->text);
	}
}

static void put_tree(struct buf *out, const struct pipeline *p, const struct pipeline *file)
{
	for (size_t i = 0; i < p->stages_len; i++)
		put_stage(out, &p->stages[i], file);
}

static const char *variable(void *context, const char *name)
{
	(void)context;
	return getenv(name);
}

static void parse(const char *path, struct buf *out)
{
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	struct buf text = BUF_INIT;
	struct pipeline_source source = {.name = path, .variable = variable};
	struct pipeline p;
	FILE *f = fopen(path, "r");

	if (!f) {
		perror(path);
		exit(2);
	}
	read_all(f, &text);
	fclose(f);
	source.text = buf_cstr(&text);
	source.len = text.len;
	if (pipeline_parse(&source, &arena, &p, &e)) {
		buf_printf(out, "error %s", e.text);
	} else {
		buf_put_text(out, "ok ");
		put_tree(out, &p, &p);
	}
	buf_put_byte(out, '\0');
	buf_clear(&text);
	arena_clear(&arena);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	struct buf out = BUF_INIT;

	if (strcmp(slash ? slash + 1 : argv[0], "pipeline_words") != 0)
		return be_stage(argc, argv);
	for (int i = 1; i < argc; i++)
		parse(argv[i], &out);
	fwrite(out.data, 1, out.len, stdout);
	buf_clear(&out);
	return 0;
}
