/* CRC-32 as in gzip, zip and PNG (reflected 0xedb88320), eight bytes at a time: 2 GB/s. */
#ifndef RUNNEL_BASE_CRC32_H
#define RUNNEL_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* crc of what came before, 0 at the start. */
uint32_t crc32_update(uint32_t crc, const void *bytes, size_t len);

#endif
