/* format('%.2f of %d', x, n): printf's conversions d x f e g s and %%, with the flags - 0 + and
 * space, a width and a precision.  The format is a constant, so that each argument is cast to what
 * its conversion takes while compiling, and printf only ever sees formats made here. */
#include "libcore/expr/kernel.h"

#include "libcore/base/utf8.h"

#include <stdio.h>

enum { WIDTH_MAX = 200, PRECISION_MAX = 100, DOUBLE_DIGITS_MAX = 310 };

struct piece {
	struct text_view before; /* as it is, %% resolved */
	char format[24];         /* for printf; "" behind the last conversion */
	char letter;
	bool left; /* of s: padded in characters, which printf does in bytes */
	unsigned width;
	int precision; /* -1: none */
};

struct format {
	struct piece *pieces;
	size_t len;
};

/* ---- compiling ---- */

static bool read_number(const char **p, const char *end, int most, int *out)
{
	*out = 0;
	while (*p < end && **p >= '0' && **p <= '9') {
		*out = *out * 10 + (*(*p)++ - '0');
		if (*out > most)
			return false;
	}
	return true;
}

/* One conversion, *p behind its %; false if it is none. */
static bool read_piece(const char **p, const char *end, struct piece *out)
{
	char flags[8] = "", *flag = flags;
	int width;

	while (*p < end && strchr("-0+ ", **p) && **p && flag < flags + 4) {
		out->left |= **p == '-';
		*flag++ = *(*p)++;
	}
	out->precision = -1;
	if (!read_number(p, end, WIDTH_MAX, &width))
		return false;
	out->width = (unsigned)width;
	if (*p < end && **p == '.') {
		++*p;
		if (!read_number(p, end, PRECISION_MAX, &out->precision))
			return false;
	}
	if (*p == end || !strchr("dxfegs", **p) || !**p)
		return false;
	out->letter = *(*p)++;
	snprintf(out->format, sizeof out->format, "%%%s*.*%s%c", flags,
		out->letter == 'd' || out->letter == 'x' ? "ll" : "", out->letter);
	return true;
}

static struct format *parse_format(struct text_view text, struct arena *a, struct error *e)
{
	struct format *f = ARENA_NEW(a, struct format);
	const char *p = text.len ? text.text : "", *end = p + text.len;
	char *plain = arena_alloc(a, text.len + 1);

	f->pieces = ARENA_ARRAY(a, struct piece, text.len + 1);
	for (;;) {
		struct piece *piece = &f->pieces[f->len++];
		size_t n = 0;

		while (p < end && (*p != '%' || (p + 1 < end && p[1] == '%'))) {
			p += *p == '%';
			plain[n++] = *p++;
		}
		piece->before = (struct text_view){plain, n};
		plain += n;
		if (p == end)
			return f;
		p++;
		if (read_piece(&p, end, piece))
			continue;
		error_set(e, ERROR_USAGE, "the format has a %% that is no conversion");
		error_hint(e, "conversions are %%d %%x %%f %%e %%g %%s and %%%%, with widths to %d",
			WIDTH_MAX);
		return NULL;
	}
}

static struct type type_for(char letter)
{
	switch (letter) {
	case 'd':
	case 'x': return TYPE_OF(TYPE_INT);
	case 's': return TYPE_OF(TYPE_STRING);
	}
	return TYPE_OF(TYPE_FLOAT);
}

/* ---- running ---- */

static void put_text(struct buf *b, const struct piece *piece, struct text_view v)
{
	size_t has;

	if (piece->precision >= 0 && v.len)
		v.len = utf8_offset(v.text, v.len, (size_t)piece->precision);
	has = v.len ? utf8_count(v.text, v.len) : 0;
	if (piece->left)
		buf_put(b, v.text, v.len);
	for (; has < piece->width; has++)
		buf_put_byte(b, ' ');
	if (!piece->left)
		buf_put(b, v.text, v.len);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void put_number(const struct kernel *k, const struct piece *piece, size_t arg, uint32_t r)
{
	size_t room = WIDTH_MAX + PRECISION_MAX + DOUBLE_DIGITS_MAX;
	char *to = (char *)buf_reserve(k->text, room);
	int width = (int)piece->width, n;

	if (piece->letter == 'd' || piece->letter == 'x')
		n = snprintf(to, room, piece->format, width, piece->precision,
			(long long)arg_int(k, arg, r));
	else
		n = snprintf(
			to, room, piece->format, width, piece->precision, arg_float(k, arg, r));
	k->text->len += (size_t)n;
}
#pragma GCC diagnostic pop

static void put_row(struct kernel *k, const struct format *f, uint32_t r)
{
	for (size_t i = 0; i < f->len; i++) {
		const struct piece *piece = &f->pieces[i];

		buf_put(k->text, piece->before.text, piece->before.len);
		if (piece->letter == 's')
			put_text(k->text, piece, arg_text(k, i + 1, r));
		else if (piece->letter)
			put_number(k, piece, i + 1, r);
	}
}

static void run_format(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		if (out_is_valid(k, r))
			put_row(k, k->state, r);
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static int resolve_format(struct resolving *r, struct error *e)
{
	const struct vector *v = r->constants[0];
	struct format *f;

	if (!v || v->col.type.kind != TYPE_STRING || !vector_is_valid(v, 0))
		return error_set(e, ERROR_USAGE, "the format is a text in quotes, like '%%.2f'");
	f = parse_format(column_text(&v->col, 0), r->arena, e);
	if (!f)
		return -1;
	if (f->len != r->args_len)
		return error_set(e, ERROR_USAGE, "the format has %zu conversions for %zu values",
			f->len - 1, r->args_len - 1);
	for (size_t i = 1; i < r->args_len; i++)
		r->args[i] = type_for(f->pieces[i - 1].letter);
	r->result = TYPE_OF(TYPE_STRING);
	r->run = run_format;
	r->state = f;
	return 0;
}

const struct function functions_format[] = {
	{.name = "format", .args_min = 1, .args_max = 255, .resolve = resolve_format},
	{.name = NULL},
};
