/* msgpack: a walk by hand, skip, validity and JSON agree on what one object is; what we write of it
 * is the same object. */
#include "libcore/base/json.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Appends one item in our own spelling. */
static void put_item(struct buf *out, const struct msgpack_item *i)
{
	switch (i->kind) {
	case MSGPACK_NIL: msgpack_put_nil(out); break;
	case MSGPACK_BOOL: msgpack_put_bool(out, i->boolean); break;
	case MSGPACK_INT: msgpack_put_int(out, i->integer); break;
	case MSGPACK_UINT: msgpack_put_uint(out, i->uint); break;
	case MSGPACK_FLOAT: msgpack_put_float(out, i->real); break;
	case MSGPACK_STR: msgpack_put_str(out, (const char *)i->bytes, i->bytes_len); break;
	case MSGPACK_BIN:
	case MSGPACK_EXT: msgpack_put_bin(out, i->bytes, i->bytes_len); break;
	case MSGPACK_ARRAY: msgpack_put_array(out, i->count); break;
	case MSGPACK_MAP: msgpack_put_map(out, i->count); break;
	}
}

/* How many keys of keys there are at most above an object: from the third on they are shown as the
 * bytes they are, which depend on the spelling. */
static int keys_of_keys(struct msgpack *m, int above)
{
	struct msgpack_item item;
	int most = above;

	MUST(msgpack_next(m, &item) == 0);
	if (item.kind != MSGPACK_ARRAY && item.kind != MSGPACK_MAP)
		return most;
	for (uint32_t i = 0; i < item.count; i++) {
		int key = item.kind == MSGPACK_MAP ? keys_of_keys(m, above + 1) : 0;
		int value = keys_of_keys(m, above);

		most = key > most ? key : most;
		most = value > most ? value : most;
	}
	return most;
}

static void check_object(const uint8_t *bytes, size_t len, bool valid)
{
	struct buf ours = BUF_INIT, json = BUF_INIT, again = BUF_INIT, parsed = BUF_INIT;
	struct msgpack m = {bytes, bytes + len};
	struct msgpack_item item;
	const char *why;
	size_t at;
	int status;

	while ((status = msgpack_next(&m, &item)) == 0)
		put_item(&ours, &item);
	MUST(status == 1);
	m = (struct msgpack){ours.data, ours.data + ours.len};
	MUST(msgpack_skip(&m) == 0 && m.at == m.end);
	MUST(msgpack_is_valid(ours.data, ours.len) == valid);
	status = msgpack_put_json(bytes, len, &json);
	MUST(status == msgpack_put_json(ours.data, ours.len, &again));
	if (status == 0) {
		m = (struct msgpack){bytes, bytes + len};
		MUST(json.len <= len * MSGPACK_JSON_FACTOR);
		MUST(keys_of_keys(&m, 0) > 3 ||
			(json.len == again.len && !memcmp(json.data, again.data, json.len)));
		if (valid)
			MUST(json_parse((const char *)json.data, json.len, &parsed, &at, &why) == 0);
	}
	buf_clear(&ours);
	buf_clear(&json);
	buf_clear(&again);
	buf_clear(&parsed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	uint8_t *exact = mem_alloc(len + !len);
	struct msgpack m = {exact, exact + len};
	bool valid, whole;

	if (len)
		memcpy(exact, bytes, len);
	whole = msgpack_skip(&m) == 0 && m.at == m.end;
	valid = msgpack_is_valid(exact, len);
	MUST(!valid || whole);
	if (whole)
		check_object(exact, len, valid);
	mem_free(exact);
	return 0;
}
