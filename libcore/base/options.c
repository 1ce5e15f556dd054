#include "libcore/base/options.h"
#include "libcore/base/options_flat.h"

#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/suggest.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	VALUE_LONG = 1000, /* getopt's value of the i-th option without regard to its letter */
	HELP_COLUMN = 30,
};

static bool help_flag, version_flag;
static const char *complete_text;

static const struct option_spec standard_options[] = {
	{.name = "help", .letter = 'h', .kind = OPTION_FLAG, .value = &help_flag,
		.help = "print this and exit"},
	{.name = "version", .kind = OPTION_FLAG, .value = &version_flag,
		.help = "print the version and exit"},
	{.name = "complete", .kind = OPTION_TEXT, .value = &complete_text, .hidden = true,
		.argument = "SHELL", .help = "print the completion for bash, zsh or fish, or mdoc"},
	{.name = NULL},
};

enum { STANDARD = sizeof standard_options / sizeof *standard_options };

static bool is_standard(const struct option_spec *o)
{
	for (size_t i = 0; i < STANDARD; i++) {
		if (o == &standard_options[i])
			return true;
	}
	return false;
}

void options_flatten(const struct option_spec *const *tables, size_t tables_len,
	struct options_flat *out)
{
	out->len = 0;
	for (size_t t = 0; t <= tables_len; t++) {
		const struct option_spec *o = t < tables_len ? tables[t] : standard_options;

		for (; o && o->name; o++) {
			MUST(out->len < OPTIONS_MAX);
			out->all[out->len++] = o;
		}
	}
}

/* ---- values ---- */

static int bad_value(const struct option_spec *o, const char *text, const char *what,
	struct error *e)
{
	return error_set(e, ERROR_USAGE, "--%s: '%s' is not %s", o->name, text, what);
}

static int set_choice(const struct option_spec *o, const char *text, struct error *e)
{
	struct buf list = BUF_INIT;

	for (int i = 0; o->choices[i]; i++) {
		if (!strcmp(o->choices[i], text)) {
			*(int *)o->value = i;
			buf_clear(&list);
			return 0;
		}
		buf_printf(&list, "%s%s", i ? ", " : "", o->choices[i]);
	}
	error_set(e, ERROR_USAGE, "--%s: '%s' is none of %s", o->name, text, buf_cstr(&list));
	buf_clear(&list);
	return -1;
}

static int set_value(const struct option_spec *o, const char *text, struct error *e)
{
	struct option_list *list;
	uint64_t bytes;
	int64_t n;

	switch (o->kind) {
	case OPTION_FLAG:
		*(bool *)o->value = true;
		break;
	case OPTION_TEXT:
		*(const char **)o->value = text;
		break;
	case OPTION_LIST:
		list = o->value;
		MEM_GROW(list->items, list->cap, list->len + 1);
		list->items[list->len++] = text;
		break;
	case OPTION_INT:
		if (int_parse(text, strlen(text), &n) != NUMBER_OK || n < 0)
			return bad_value(o, text, "a whole number from 0", e);
		*(int64_t *)o->value = n;
		break;
	case OPTION_SIZE:
		if (size_parse(text, strlen(text), &bytes) != NUMBER_OK || bytes > INT64_MAX)
			return bad_value(o, text, "a size like 64k, 256M or 1G", e);
		*(int64_t *)o->value = (int64_t)bytes;
		break;
	case OPTION_DURATION:
		if (duration_parse(text, strlen(text), &n) != NUMBER_OK)
			return bad_value(o, text, "a duration like 250ms, 10s, 5m, 1h or 7d", e);
		*(int64_t *)o->value = n;
		break;
	case OPTION_CHOICE:
		if (set_choice(o, text, e) < 0)
			return -1;
		break;
	}
	if (o->given)
		*o->given = true;
	return 0;
}

/* RUNNEL_SSINK_FORMAT for --format of ssink. */
static int set_from_environment(const struct program_info *p, const struct option_spec *o,
	struct error *e)
{
	char name[128];
	const char *text;

	snprintf(name, sizeof name, "RUNNEL_%s_%s", p->name, o->name);
	for (char *c = name; *c; c++)
		*c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
	text = getenv(name);
	if (!text || o->hidden)
		return 0;
	if (o->kind == OPTION_FLAG && (!strcmp(text, "") || !strcmp(text, "0") || !strcmp(text, "no")))
		return 0;
	return set_value(o, text, e) < 0 ? error_context(e, "%s", name) : 0;
}

/* ---- parsing ---- */

static int unknown_option(const struct options_flat *f, const char *text, struct error *e)
{
	const char *names[OPTIONS_MAX];
	size_t len = strcspn(text + 2, "=");
	int near;

	for (size_t i = 0; i < f->len; i++)
		names[i] = f->all[i]->name;
	near = suggest(text + 2, len, names, f->len);
	error_set(e, ERROR_USAGE, "unknown option --%.*s", (int)len, text + 2);
	if (near >= 0)
		return error_hint(e, "did you mean --%s?", names[near]);
	return error_hint(e, "--help lists the options");
}

static const struct option_spec *find_letter(const struct options_flat *f, int letter)
{
	for (size_t i = 0; i < f->len; i++) {
		if (f->all[i]->letter == letter)
			return f->all[i];
	}
	return NULL;
}

static void getopt_tables(const struct options_flat *f, struct option *longs, char *shorts)
{
	char *at = shorts;

	*at++ = ':';
	for (size_t i = 0; i < f->len; i++) {
		const struct option_spec *o = f->all[i];
		int argument = o->kind == OPTION_FLAG ? no_argument : required_argument;

		longs[i] = (struct option){o->name, argument, NULL, VALUE_LONG + (int)i};
		if (o->letter) {
			*at++ = o->letter;
			if (argument)
				*at++ = ':';
		}
	}
	longs[f->len] = (struct option){0};
	*at = '\0';
}

/* What getopt_long complained about: '?' or ':'. */
static int refused(const struct options_flat *f, int what, char **argv, struct error *e)
{
	const char *word = argv[optind - 1];

	if (what == ':') {
		const struct option_spec *o = optopt >= VALUE_LONG ?
			f->all[optopt - VALUE_LONG] : find_letter(f, optopt);

		return error_set(e, ERROR_USAGE, "--%s needs an argument: %s", o->name,
			o->argument ? o->argument : "");
	}
	if (optopt >= VALUE_LONG)
		return error_set(e, ERROR_USAGE, "--%s takes no argument",
			f->all[optopt - VALUE_LONG]->name);
	if (optopt)
		return error_set(e, ERROR_USAGE, "unknown option -%c\n--help lists the options; "
			"an argument that starts with - stands behind --", optopt);
	return unknown_option(f, word, e);
}

/* "-d ," : whoever knows cut and mlr means the delimiter. */
static void hint_delimiter(const struct option_spec *o, const char *text, struct error *e)
{
	if (o->letter == 'd' && strlen(text) == 1 && !isalnum((unsigned char)*text))
		error_hint(e, "-d is the delay of the watermark; for the field separator: --delimiter '%s'",
			text);
}

int options_parse(const struct program_info *p, const struct option_spec *const *tables,
	size_t tables_len, int argc, char **argv, struct options_result *out, struct error *e)
{
	struct option longs[OPTIONS_MAX + 1];
	char shorts[2 * OPTIONS_MAX + 2];
	struct options_flat f;
	int c;

	options_flatten(tables, tables_len, &f);
	getopt_tables(&f, longs, shorts);
	help_flag = version_flag = false;
	complete_text = NULL;
	for (size_t i = 0; i < f.len; i++) {
		/* RUNNEL_SSINK_VERSION=1.2, set by a package's script, must not end every ssink. */
		if (!is_standard(f.all[i]) && set_from_environment(p, f.all[i], e) < 0)
			return -1;
	}
	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct option_spec *o;

		if (c == '?' || c == ':')
			return refused(&f, c, argv, e);
		o = c >= VALUE_LONG ? f.all[c - VALUE_LONG] : find_letter(&f, c);
		if (set_value(o, optarg, e) < 0) {
			hint_delimiter(o, optarg, e);
			return -1;
		}
	}
	*out = (struct options_result){.help = help_flag, .version = version_flag,
		.complete = complete_text, .arguments = argv + optind, .arguments_len = argc - optind};
	return 0;
}

/* ---- what is printed ---- */

static void put_left(const struct option_spec *o, struct buf *out)
{
	if (o->letter)
		buf_printf(out, "  -%c, --%s", o->letter, o->name);
	else
		buf_printf(out, "      --%s", o->name);
	if (o->kind == OPTION_CHOICE) {
		for (int i = 0; o->choices[i]; i++)
			buf_printf(out, "%s%s", i ? "|" : " ", o->choices[i]);
	} else if (o->argument) {
		buf_printf(out, " %s", o->argument);
	}
}

static void put_padding(struct buf *out, size_t from)
{
	size_t len = out->len - from;

	if (len >= HELP_COLUMN) {
		buf_put_byte(out, '\n');
		len = 0;
	}
	for (; len < HELP_COLUMN; len++)
		buf_put_byte(out, ' ');
}

void options_put_help(const struct program_info *p, const struct option_spec *const *tables,
	size_t tables_len, struct buf *out)
{
	struct options_flat f;

	options_flatten(tables, tables_len, &f);
	buf_printf(out, "%s: %s\nusage: %s %s\n\n", p->name, p->summary, p->name, p->usage);
	for (size_t i = 0; i < f.len; i++) {
		size_t from = out->len;

		if (f.all[i]->hidden)
			continue;
		put_left(f.all[i], out);
		put_padding(out, from);
		buf_printf(out, "%s\n", f.all[i]->help);
	}
	buf_printf(out, "\nexamples:\n%s\nThe manual: man %s, man 7 runnel\n", p->examples, p->name);
}
