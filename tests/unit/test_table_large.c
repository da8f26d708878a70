/* SPDX-License-Identifier: Apache-2.0 */
/* More than 2^31 keys: rows whose numbers lie around 2^31, 2^32 and the last one, as if a table
 * of that size had been filled, learn what those of a small table learn. Their memory is
 * reserved, not used. */
#include "table_subject.h"

#include <sys/mman.h>

#include "support/checks.h"
#include "table/table_internal.h"

enum { BATCH = 600, RANGE = 2500, SPACE = 5000 };

static hone_error error;

static void *reserve(size_t size, size_t alignment, void *user)
{
    (void)alignment; /* a page at least */
    (void)user;
    void *const memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void unreserve(void *memory, size_t size, void *user)
{
    (void)user;
    munmap(memory, size);
}

static hone_table *table_from(const hone_context *context, uint64_t first)
{
    hone_table_options options = plain_options(1, "sgd");
    options.dtype = HONE_BF16; /* the smallest rows */
    hone_table *const table = make_table(context, "t", &options);
    if (first > 0 && hone_table_reserve_blocks(table, first, &error) != HONE_OK) {
        hone_table_free(table);
        return NULL; /* no so large an address space: under a sanitizer, say */
    }
    table->next = first;
    return table;
}

struct batch {
    int64_t keys[BATCH];
    float grads[BATCH];
};

static void draw(struct batch *b, uint64_t *random)
{
    for (int i = 0; i < BATCH; i++) {
        b->keys[i] = (int64_t)(next_random(random) % RANGE);
        b->grads[i] = random_float(random);
    }
}

/* One step, by way of gradients that wait or not, and some rows removed. */
static void train(hone_table *table, hone_lookup *lookup, const struct batch *b, int step,
                  float *out)
{
    int64_t rows[BATCH];
    const hone_tensor grads = ROWS(b->grads, HONE_F32, BATCH, 1),
                      view = ROWS(out, HONE_F32, BATCH, 1);
    require(hone_table_lookup(table, lookup, b->keys, BATCH, HONE_LOOKUP_TRAIN, NULL, &error),
            &error);
    if (step % 3 == 0)
        require(hone_table_erase(table, b->keys + 400, BATCH - 400, NULL, &error), &error);
    if (step % 2 == 0)
        require(hone_table_add_gradients(table, lookup, &grads, &error), &error);
    else
        require(hone_table_apply(table, lookup, &grads, NULL, &error), &error);
    require(hone_table_find(table, b->keys, BATCH, rows, NULL, &error), &error);
    require(hone_table_gather(table, rows, BATCH, NULL, &view, &error), &error);
}

static void test_large_tables(void **state)
{
    (void)state;
    const uint64_t starts[] = {((uint64_t)1 << 31) - 300, ((uint64_t)1 << 32) - 300,
                               HONE_MAX_ROWS - SPACE};
    hone_context_options options;
    hone_context_options_init(&options);
    options.allocator = (hone_allocator){reserve, unreserve, NULL};
    for (size_t s = 0; s < 2 * COUNT(starts); s++) {
        const uint64_t start = starts[s / 2];
        hone_context *context = NULL;
        options.threads = s % 2 == 0 ? 1 : 3;
        require(hone_context_create(&context, &options, &error), &error);
        hone_table *const small = table_from(context, 0), *const large = table_from(context, start);
        if (large == NULL) {
            hone_table_free(small);
            hone_context_free(context);
            SKIP("this system does not reserve so much memory");
        }
        hone_lookup *small_lookup = NULL, *large_lookup = NULL;
        require(hone_lookup_create(&small_lookup, small, &error), &error);
        require(hone_lookup_create(&large_lookup, large, &error), &error);
        uint64_t random = s;
        for (int step = 0; step < 40; step++) {
            struct batch b;
            float expected[BATCH], found[BATCH];
            draw(&b, &random);
            train(small, small_lookup, &b, step, expected);
            train(large, large_lookup, &b, step, found);
            for (int i = 0; i < BATCH; i++)
                assert_int_equal(hone_lookup_rows(large_lookup)[i],
                                 hone_lookup_rows(small_lookup)[i] + (int64_t)start);
            assert_memory_equal(expected, found, sizeof found);
        }
        hone_lookup_free(small_lookup);
        hone_lookup_free(large_lookup);
        hone_table_free(small);
        hone_table_free(large);
        hone_context_free(context);
    }
}

/* The last row but none after it. */
static void test_full_tables(void **state)
{
    (void)state;
    static int64_t keys[SPACE + 1], rows[SPACE + 1];
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = 1;
    options.allocator = (hone_allocator){reserve, unreserve, NULL};
    hone_context *context = NULL;
    require(hone_context_create(&context, &options, &error), &error);
    hone_table *const table = table_from(context, HONE_MAX_ROWS - SPACE);
    if (table == NULL) {
        hone_context_free(context);
        SKIP("this system does not reserve so much memory");
    }
    for (int64_t i = 0; i <= SPACE; i++)
        keys[i] = i;
    assert_int_equal(hone_table_insert(table, keys, SPACE + 1, rows, NULL, &error),
                     HONE_ERROR_RANGE);
    assert_non_null(strstr(error.message, "would have 12884901889 rows; it can have 3 * 2^32"));
    assert_int_equal(hone_table_count(table), 0);
    require(hone_table_insert(table, keys, SPACE, rows, NULL, &error), &error);
    assert_int_equal((uint64_t)rows[SPACE - 1], HONE_MAX_ROWS - 1);
    assert_int_equal(hone_table_insert(table, &keys[SPACE], 1, rows, NULL, &error),
                     HONE_ERROR_RANGE);
    hone_table_free(table);
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_tables),
        cmocka_unit_test(test_full_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
