/* Schemas by their number, as Confluent's registry has them: from its REST interface, or from a
 * directory with a file <id>.avsc for each.  What was asked for once is kept.
 *
 *   GET  <url>/schemas/ids/<id>                     -> {"schema": "..."}
 *   POST <url>/subjects/<subject>/versions          -> {"id": 7} */
#ifndef RUNNEL_CONNECT_HEAVY_AVRO_REGISTRY_H
#define RUNNEL_CONNECT_HEAVY_AVRO_REGISTRY_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdint.h>

struct avro_registry;

/* where: http://..., https://... (user and password in it are sent, never shown), or a directory.
 */
int avro_registry_open(const char *where, struct avro_registry **out, struct error *e);
void avro_registry_close(struct avro_registry *r);

/* The JSON of a schema.  One that isn't there is ERROR_DATA; a registry that doesn't answer, after
 * some tries, ERROR_IO. */
int avro_registry_get(struct avro_registry *r, uint32_t id, struct buf *json, struct error *e);

/* The number of a schema under a subject, which is registered if need be; in a directory the file
 * that holds the same JSON, and it must be there. */
int avro_registry_put(struct avro_registry *r, const char *subject, const char *json, uint32_t *id,
	struct error *e);

#endif
