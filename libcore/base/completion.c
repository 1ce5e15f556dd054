/* Completions for shells, and the option list of a manual, from the table of options. */
#include "libcore/base/options_flat.h"

#include <ctype.h>
#include <string.h>

static void put_mdoc(const struct options_flat *f, struct buf *out)
{
	buf_put_text(out, ".Bl -tag -width Ds\n");
	for (size_t i = 0; i < f->len; i++) {
		const struct option_spec *o = f->all[i];

		if (o->hidden)
			continue;
		if (o->letter)
			buf_printf(out, ".It Fl %c , Fl -%s", o->letter, o->name);
		else
			buf_printf(out, ".It Fl -%s", o->name);
		if (o->kind == OPTION_CHOICE) {
			for (int k = 0; o->choices[k]; k++)
				buf_printf(out, "%s%s", k ? " | " : " Cm ", o->choices[k]);
		} else if (o->argument) {
			buf_printf(out, " Ar %s", o->argument);
		}
		buf_printf(out, "\n%c%s.\n", toupper((unsigned char)o->help[0]), o->help + 1);
	}
	buf_put_text(out, ".El\n");
}

static bool takes_path(const struct option_spec *o)
{
	return o->argument &&
	       (strstr(o->argument, "PATH") || strstr(o->argument, "DIR") ||
		       strstr(o->argument, "FILE") || strstr(o->argument, "SAVEPOINT"));
}

/* ---- bash ---- */

static void put_bash_choices(const struct option_spec *o, struct buf *out)
{
	buf_printf(out, "\t--%s%s%c) COMPREPLY=($(compgen -W '", o->name, o->letter ? "|-" : "",
		o->letter ? o->letter : ' ');
	for (int i = 0; o->choices[i]; i++)
		buf_printf(out, "%s%s", i ? " " : "", o->choices[i]);
	buf_put_text(out, "' -- \"$cur\")); return ;;\n");
}

static void put_bash(const struct program_info *p, const struct options_flat *f, struct buf *out)
{
	buf_printf(out,
		"# bash completion for %s, made by: %s --complete bash\n_%s() {\n"
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
		"\tcase $prev in\n",
		p->name, p->name, p->name);
	for (size_t i = 0; i < f->len; i++) {
		const struct option_spec *o = f->all[i];

		if (o->hidden || o->kind == OPTION_FLAG)
			continue;
		if (o->kind == OPTION_CHOICE)
			put_bash_choices(o, out);
		else if (takes_path(o))
			buf_printf(out,
				"\t--%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n",
				o->name);
	}
	buf_put_text(out, "\tesac\n\tif [[ $cur == -* ]]; then\n\t\tCOMPREPLY=($(compgen -W '");
	for (size_t i = 0; i < f->len; i++) {
		if (f->all[i]->hidden)
			continue;
		if (f->all[i]->letter)
			buf_printf(out, "-%c ", f->all[i]->letter);
		buf_printf(out, "--%s ", f->all[i]->name);
	}
	buf_printf(out,
		"' -- \"$cur\"))\n\telse\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\tfi\n}\n"
		"complete -o filenames -F _%s %s\n",
		p->name, p->name);
}

/* ---- zsh: _arguments ---- */

/* Inside '...[here]...': a quote ends the word, a bracket the help. */
static void put_zsh_help(const char *text, struct buf *out)
{
	for (; *text; text++) {
		if (*text == '\'')
			buf_put_text(out, "'\\''");
		else if (*text == '[' || *text == ']' || *text == '\\')
			buf_printf(out, "\\%c", *text);
		else
			buf_put_byte(out, (uint8_t)*text);
	}
}

/* Behind the help: what its value is, and how to complete that. */
static void put_zsh_value(const struct option_spec *o, struct buf *out)
{
	if (o->kind == OPTION_FLAG)
		return;
	buf_printf(out, ":%s:", o->argument ? o->argument : o->name);
	if (o->kind == OPTION_CHOICE) {
		for (int i = 0; o->choices[i]; i++)
			buf_printf(out, "%s%s", i ? " " : "(", o->choices[i]);
		buf_put_byte(out, ')');
	} else if (takes_path(o)) {
		buf_put_text(out, "_files");
	}
}

static void put_zsh_option(const struct option_spec *o, struct buf *out)
{
	bool repeats = o->kind == OPTION_LIST;
	bool valued = o->kind != OPTION_FLAG;
	const char *plus = valued ? "+" : "", *end = valued ? "=" : "";

	buf_put_text(out, " \\\n\t");
	if (o->letter && repeats)
		buf_printf(out, "'*'{-%c%s,--%s%s}'[", o->letter, plus, o->name, end);
	else if (o->letter)
		buf_printf(out, "'(-%c --%s)'{-%c%s,--%s%s}'[", o->letter, o->name, o->letter, plus,
			o->name, end);
	else
		buf_printf(out, "'%s--%s%s[", repeats ? "*" : "", o->name, end);
	put_zsh_help(o->help, out);
	buf_put_byte(out, ']');
	put_zsh_value(o, out);
	buf_put_byte(out, '\'');
}

static void put_zsh(const struct program_info *p, const struct options_flat *f, struct buf *out)
{
	buf_printf(out,
		"#compdef %s\n# zsh completion for %s, made by: %s --complete zsh\n"
		"_arguments -s -S",
		p->name, p->name, p->name);
	for (size_t i = 0; i < f->len; i++) {
		if (!f->all[i]->hidden)
			put_zsh_option(f->all[i], out);
	}
	buf_put_text(out, " \\\n\t'*: :_files'\n");
}

/* ---- fish ---- */

static void put_fish_text(const char *text, struct buf *out)
{
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			buf_put_byte(out, '\\');
		buf_put_byte(out, (uint8_t)*text);
	}
}

static void put_fish_option(
	const struct program_info *p, const struct option_spec *o, struct buf *out)
{
	buf_printf(out, "complete -c %s -l %s", p->name, o->name);
	if (o->letter)
		buf_printf(out, " -s %c", o->letter);
	if (o->kind == OPTION_CHOICE) {
		for (int i = 0; o->choices[i]; i++)
			buf_printf(out, "%s%s", i ? " " : " -x -a '", o->choices[i]);
		buf_put_byte(out, '\'');
	} else if (o->kind != OPTION_FLAG) {
		buf_put_text(out, takes_path(o) ? " -r -F" : " -x");
	}
	buf_put_text(out, " -d '");
	put_fish_text(o->help, out);
	buf_put_text(out, "'\n");
}

static void put_fish(const struct program_info *p, const struct options_flat *f, struct buf *out)
{
	buf_printf(
		out, "# fish completion for %s, made by: %s --complete fish\n", p->name, p->name);
	for (size_t i = 0; i < f->len; i++) {
		if (!f->all[i]->hidden)
			put_fish_option(p, f->all[i], out);
	}
}

int options_put_completion(const struct program_info *p, const struct option_spec *const *tables,
	size_t tables_len, const char *shell, struct buf *out)
{
	struct options_flat f;

	options_flatten(tables, tables_len, &f);
	if (!strcmp(shell, "bash"))
		put_bash(p, &f, out);
	else if (!strcmp(shell, "zsh"))
		put_zsh(p, &f, out);
	else if (!strcmp(shell, "fish"))
		put_fish(p, &f, out);
	else if (!strcmp(shell, "mdoc"))
		put_mdoc(&f, out);
	else
		return -1;
	return 0;
}
