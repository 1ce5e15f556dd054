#include "cmd/common/output_impl.h"

#include "libcore/base/memory.h"

#include <stdio.h>
#include <unistd.h>

int output_rename(const char *from, const char *to, struct error *e)
{
	return rename(from, to) < 0 ? error_errno(e, "%s: can't rename to %s", from, to) : 0;
}

static const char *extension_of(const struct output *o)
{
	return o->o.extension ? o->o.extension : "ndjson";
}

char *output_name_open(const struct output *o)
{
	if (!o->o.supervised)
		return mem_printf("%spart", o->room);
	return mem_printf("%s%s-%s-%llu-%u", o->room, o->word, o->job8,
		(unsigned long long)o->o.attempt, o->o.subtask);
}

/* "-2" where an epoch has several parts. */
static const char *ordinal(uint64_t nth, char text[24])
{
	text[0] = 0;
	if (nth > 1)
		snprintf(text, 24, "-%llu", (unsigned long long)nth);
	return text;
}

char *output_name_finished(struct output *o)
{
	unsigned long long number = ++o->hidden;

	if (!o->o.supervised)
		return mem_printf(
			"%s.part-%d.%llu.%s", o->room, (int)getpid(), number, extension_of(o));
	return mem_printf("%s.part-%s-%llu-%u.%llu.%s", o->room, o->job8,
		(unsigned long long)o->o.attempt, o->o.subtask, number, extension_of(o));
}

char *output_name_hidden(const struct output *o, uint64_t epoch, uint64_t nth)
{
	unsigned long long number = epoch, attempt = o->o.attempt;
	char end[24];

	if (o->kind == OUTPUT_STREAM)
		return mem_printf("%s%s-%s-%llu-%u-%llu", o->room, o->word, o->job8, attempt,
			o->o.subtask, number);
	if (!o->o.supervised)
		return mem_printf("%s.part-%u-%llu%s.%s", o->room, o->o.subtask, number,
			ordinal(nth, end), extension_of(o));
	return mem_printf("%s.part-%s-%llu-%u-%llu%s.%s", o->room, o->job8, attempt, o->o.subtask,
		number, ordinal(nth, end), extension_of(o));
}

char *output_name_next(struct output *o, const char *path)
{
	return mem_printf("%.*spart-%u-%llu.%s", outfile_directory_len(path), path, o->o.subtask,
		(unsigned long long)++o->shown, extension_of(o));
}

char *output_name_final(struct output *o, const char *sub, uint64_t epoch, uint64_t nth)
{
	char *directory, *name, end[24];

	if (o->kind == OUTPUT_STREAM)
		return mem_strdup("-");
	directory = mem_printf("%s%s", o->room, sub);
	if (!o->o.supervised && o->o.appends)
		name = output_name_next(o, directory);
	else
		name = mem_printf("%spart-%s%s%u-%llu%s.%s", directory,
			o->o.supervised ? o->job8 : "", o->o.supervised ? "-" : "", o->o.subtask,
			(unsigned long long)epoch, ordinal(nth, end), extension_of(o));
	mem_free(directory);
	return name;
}
