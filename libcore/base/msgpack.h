/* msgpack, as far as frames and `any` values need it: a cursor that reads in place with every
 * length checked, and functions that append.  Our own because every row of an `any` column passes
 * through it; msgpack-c is its oracle in the tests.
 *
 * A cursor never allocates.  Errors are a plain -1: the caller knows where it stands. */
#ifndef RUNNEL_BASE_MSGPACK_H
#define RUNNEL_BASE_MSGPACK_H

#include "libcore/base/buf.h"

#include <stdbool.h>

enum msgpack_kind {
	MSGPACK_NIL,
	MSGPACK_BOOL,
	MSGPACK_INT,    /* fits i64 */
	MSGPACK_UINT,   /* above INT64_MAX only */
	MSGPACK_FLOAT,  /* f32 widened, or f64 */
	MSGPACK_STR,
	MSGPACK_BIN,
	MSGPACK_ARRAY,
	MSGPACK_MAP,
	MSGPACK_EXT,
};

enum {
	MSGPACK_DEPTH_MAX = 128,
	MSGPACK_JSON_FACTOR = 24, /* JSON text of an object is at most so many times longer */
};

struct msgpack {
	const uint8_t *at, *end;
};

struct msgpack_item {
	enum msgpack_kind kind;
	union {
		bool boolean;
		int64_t integer;
		uint64_t uint;
		double real;
		uint32_t count; /* elements of an array, pairs of a map */
	};
	const uint8_t *bytes; /* str, bin, ext: the payload, in place */
	uint32_t bytes_len;
	int8_t ext_type;
};

/* The next item; of arrays and maps only the head.  0, 1 at the end, -1 malformed or cut short. */
int msgpack_next(struct msgpack *m, struct msgpack_item *out);

/* Passes over one whole object, containers with what is in them, to MSGPACK_DEPTH_MAX. */
int msgpack_skip(struct msgpack *m);

/* How long the object at the start of the bytes is: 0; 1 if it isn't whole here; -1 if no bytes could
 * make it one. */
int msgpack_measure(const uint8_t *bytes, size_t len, size_t *object_bytes);

/* What an extension at the start of the bytes says of itself, before its body is here: 0; 1 if more
 * bytes are needed for that; -1 if there is none.  Frames and the line's messages are such objects. */
struct msgpack_ext {
	uint32_t head_bytes, body_bytes;
	uint8_t type;
};
int msgpack_ext_head(const uint8_t *bytes, size_t len, struct msgpack_ext *out);

/* The moment that an extension of type -1 is; false: it is none, or none that fits. */
bool msgpack_moment(const struct msgpack_item *item, int64_t *us);

/* Whether the bytes are exactly one well-formed object whose str are UTF-8. */
bool msgpack_is_valid(const uint8_t *bytes, size_t len);

void msgpack_put_nil(struct buf *b);
void msgpack_put_bool(struct buf *b, bool v);
void msgpack_put_int(struct buf *b, int64_t v);
void msgpack_put_uint(struct buf *b, uint64_t v);
void msgpack_put_float(struct buf *b, double v);
void msgpack_put_str(struct buf *b, const char *text, size_t len);
void msgpack_put_bin(struct buf *b, const void *bytes, size_t len);
/* A moment, as the specification's extension of type -1, in its shortest form. */
void msgpack_put_timestamp(struct buf *b, int64_t us);
void msgpack_put_array(struct buf *b, uint32_t count);
void msgpack_put_map(struct buf *b, uint32_t pairs);

/* JSON text of one object: `any` in csv, tables and json output, and cast(any as string).  Appends;
 * bytes as base64 text, moments in ISO 8601, non-finite floats as null, map keys that aren't text as their JSON text, but
 * as the base64 of their msgpack in the third key of a key.  -1, with nothing appended: no object, or
 * one deeper than MSGPACK_DEPTH_MAX. */
int msgpack_put_json(const uint8_t *bytes, size_t len, struct buf *out);

#endif
