/* SPDX-License-Identifier: Apache-2.0 */
/* What fuzz targets share. */
#ifndef HONE_TESTS_FUZZ_FUZZ_H
#define HONE_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <hone/hone.h>

/* libFuzzer's entry, which no header of its own declares. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition) \
    do {                   \
        if (!(condition))  \
            abort();       \
    } while (0)

/* One context of a single thread for all inputs; the process's end takes it. */
static inline hone_context *fuzz_context(void)
{
    static hone_context *context;
    if (context == NULL) {
        hone_context_options options;
        hone_context_options_init(&options);
        options.threads = 1;
        REQUIRE(hone_context_create(&context, &options, NULL) == HONE_OK);
    }
    return context;
}

#endif
