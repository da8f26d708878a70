/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a mask file: they are refused with a sentence and nothing is kept, or every mask is
 * whole, and the memory of it all stays within the limit that was given. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"

#define LIMIT ((int64_t)1 << 20)

/* What the context has given out: beside the limit, what a safetensors header is parsed into. */
static int64_t live, most;

static void *allocate(size_t size, size_t alignment, void *user)
{
    (void)user;
    void *memory = NULL;
    if (posix_memalign(&memory, alignment, size) != 0)
        return NULL;
    live += (int64_t)size;
    most = live > most ? live : most;
    return memory;
}

static void release(void *memory, size_t size, void *user)
{
    (void)user;
    live -= (int64_t)size;
    free(memory);
}

static void check_mask(const hone_mask *mask)
{
    int64_t count = 0;
    for (int64_t i = 0; i < hone_mask_word_count(mask); i++)
        count += __builtin_popcount(hone_mask_words(mask)[i]);
    REQUIRE(count == hone_mask_count(mask) && count <= hone_mask_numel(mask));
    int64_t numel = 1;
    for (int32_t d = 0; d < hone_mask_ndim(mask); d++)
        if (hone_mask_shape(mask)[d] == 0)
            numel = 0;
    for (int32_t d = 0; d < hone_mask_ndim(mask) && numel > 0; d++)
        numel *= hone_mask_shape(mask)[d];
    REQUIRE(numel == hone_mask_numel(mask));
    const hone_dtype dtype = hone_mask_position_dtype(mask);
    const size_t size = (size_t)count * hone_dtype_size(dtype);
    void *const positions = malloc(size + 1);
    REQUIRE(positions != NULL && hone_mask_to_positions(mask, dtype, positions, NULL) == HONE_OK);
    free(positions);
    hone_mask_hash(mask);
}

static void check_set(const hone_mask_set *set)
{
    for (int64_t i = 0; i < hone_mask_set_count(set); i++) {
        check_mask(hone_mask_set_mask(set, i));
        REQUIRE(hone_mask_set_find(set, hone_mask_set_name(set, i)) == i);
        REQUIRE(hone_mask_form_name(hone_mask_set_form(set, i)) != NULL);
    }
    for (int64_t i = 0; i < hone_mask_set_note_count(set); i++)
        REQUIRE(hone_mask_set_note_value(set, hone_mask_set_note_key(set, i)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_context *context = NULL;
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = 1;
    options.allocator = (hone_allocator){allocate, release, NULL};
    REQUIRE(hone_context_create(&context, &options, NULL) == HONE_OK);
    most = live;
    hone_mask_load_options load;
    hone_mask_load_options_init(&load);
    load.memory_limit = LIMIT;
    hone_mask_set *set = NULL;
    hone_error error = {.status = HONE_OK};
    const hone_status status = hone_mask_set_read(&set, context, data, size, &load, &error);
    REQUIRE(most <= LIMIT + 4096 + 64 * (int64_t)size);
    if (status == HONE_OK)
        check_set(set);
    else
        REQUIRE(set == NULL && error.status == status &&
                memchr(error.message, '\0', sizeof error.message) != NULL);
    hone_mask_set_free(set);
    hone_context_free(context);
    REQUIRE(live == 0);
    return 0;
}
