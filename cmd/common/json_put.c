#include "cmd/common/json_put.h"

#include "libcore/base/civil.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/utf8.h"

#include <inttypes.h>
#include <math.h>

void json_put_real(struct buf *out, double value)
{
	char text[FLOAT_TEXT_MAX];

	buf_put(out, text, float_put(text, value, FLOAT_WHOLE));
}

void json_put_utf8(struct buf *out, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		size_t good = utf8_valid_len(text, len);

		buf_put(out, text, good);
		if (good < len)
			buf_put_byte(out, '?');
		good += good < len;
		text += good;
		len -= good;
	}
}

void json_put_key(struct buf *out, const char *key)
{
	uint8_t before = out->len ? out->data[out->len - 1] : '{';

	if (before != '{' && before != '[')
		buf_put_byte(out, ',');
	buf_printf(out, "\"%s\":", key);
}

void json_put_text(struct buf *out, const char *key, const char *text)
{
	struct buf utf8 = BUF_INIT, packed = BUF_INIT;

	json_put_key(out, key);
	if (!text) {
		buf_put_text(out, "null");
		return;
	}
	json_put_utf8(&utf8, text);
	msgpack_put_str(&packed, buf_cstr(&utf8), utf8.len);
	msgpack_put_json(packed.data, packed.len, out);
	buf_clear(&utf8);
	buf_clear(&packed);
}

void json_put_uint(struct buf *out, const char *key, uint64_t value)
{
	json_put_key(out, key);
	buf_printf(out, "%" PRIu64, value);
}

void json_put_bool(struct buf *out, const char *key, bool value)
{
	json_put_key(out, key);
	buf_put_text(out, value ? "true" : "false");
}

void json_put_number(struct buf *out, const char *key, double value)
{
	json_put_key(out, key);
	if (isfinite(value))
		json_put_real(out, value);
	else
		buf_put_text(out, "null");
}

void json_put_time(struct buf *out, const char *key, int64_t us)
{
	char text[TIMESTAMP_TEXT_MAX];

	json_put_key(out, key);
	if (us < TIMESTAMP_TEXT_LEAST || us > TIMESTAMP_TEXT_MOST) {
		buf_put_text(out, "null");
		return;
	}
	buf_put_byte(out, '"');
	buf_put(out, text, timestamp_put(text, us));
	buf_put_byte(out, '"');
}
