/* A co-process's answers: the first byte chooses format and columns, each line or object of the rest is
 * an answer.  One that is refused leaves nothing behind; an array's rows are those of its elements. */
#include "cmd/common/answers.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COLUMNS_MAX = 8, DOCUMENT_MAX = 1 << 16 };

static const char *const schemas[] = {NULL, "*, d decimal(10,2)", "s string, \"a.b\" any", "t timestamp(ms), b bytes"};

struct target {
	struct answers *answers;
	struct schema out;
	struct column_builder builders[COLUMNS_MAX];
};

static void target_init(struct target *t, enum coprocess_format format, const char *schema)
{
	struct schema asked = SCHEMA_INIT;
	struct error e = ERROR_INIT;

	schema_add(&asked, "a", 1, TYPE_OF(TYPE_INT));
	schema_add(&asked, "s", 1, TYPE_OF(TYPE_STRING));
	schema_add(&asked, "v", 1, TYPE_OF(TYPE_ANY));
	schema_init(&t->out);
	t->answers = answers_new(format, schema);
	MUST(answers_schema(t->answers, &asked, "a", &t->out, &e) == 0);
	MUST(t->out.fields_len <= COLUMNS_MAX);
	for (size_t i = 0; i < t->out.fields_len; i++)
		builder_init(&t->builders[i], t->out.fields[i].type);
	schema_clear(&asked);
}

static void target_clear(struct target *t)
{
	answers_free(t->answers);
	for (size_t i = 0; i < t->out.fields_len; i++)
		builder_clear(&t->builders[i]);
	schema_clear(&t->out);
}

static void take(struct target *t, const uint8_t *bytes, size_t len)
{
	struct coprocess_answer a = {.bytes = bytes, .len = len};
	uint32_t before = t->builders[0].rows, rows = 0;
	const char *why = NULL;
	int status = answers_take(t->answers, &a, t->builders, &rows, &why);

	MUST(status == 0 || (why && *why));
	for (size_t i = 0; i < t->out.fields_len; i++)
		MUST(t->builders[i].rows == (status == 0 ? before + rows : before));
}

static size_t next(enum coprocess_format format, const uint8_t *p, size_t len)
{
	const uint8_t *newline;
	size_t bytes;

	if (format == COPROCESS_MSGPACK)
		return msgpack_measure(p, len, &bytes) == 0 ? bytes : 0;
	newline = memchr(p, '\n', len);
	return newline ? (size_t)(newline - p) + 1 : len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum coprocess_format format;
	struct target t;

	if (size < 2 || size > DOCUMENT_MAX)
		return 0;
	format = data[0] & 1 ? COPROCESS_MSGPACK : COPROCESS_NDJSON;
	target_init(&t, format, schemas[data[0] >> 1 & 3]);
	for (size_t at = 1, len; at < size && (len = next(format, data + at, size - at)); at += len)
		take(&t, data + at, len - (format == COPROCESS_NDJSON && data[at + len - 1] == '\n'));
	target_clear(&t);
	return 0;
}
