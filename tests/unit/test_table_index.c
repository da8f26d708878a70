/* SPDX-License-Identifier: Apache-2.0 */
/* The index from inside: what its buckets say of the keys that passed them, row numbers beyond 32
 * bits, and the same rows whatever the number of threads. */
#include "table_subject.h"

#include "table/index.h"

#define MOST 60000

struct subject {
    hone_context *context;
    struct hone_index index;
    uint64_t random;
    uint64_t next; /* the first row that was never given away */
    int64_t keys[MOST], rows[MOST];
    uint32_t fresh[MOST];
};

static struct subject *open_subject(int threads, uint64_t next)
{
    struct subject *const subject = calloc(1, sizeof *subject);
    assert_non_null(subject);
    hone_error error;
    subject->context = make_context(threads, NULL);
    subject->next = next;
    require(hone_index_create(&subject->index, subject->context, 5, &error), &error);
    return subject;
}

static void close_subject(struct subject *subject)
{
    hone_index_free(&subject->index);
    hone_context_free(subject->context);
    free(subject);
}

/* `n` keys below `range`. */
static void draw(struct subject *subject, size_t n, uint64_t range)
{
    for (size_t i = 0; i < n; i++)
        subject->keys[i] = (int64_t)(next_random(&subject->random) % range);
}

static size_t insert(struct subject *subject, size_t n)
{
    hone_error error;
    struct hone_insertion to = {.next = subject->next, .fresh = subject->fresh};
    require(hone_index_insert(&subject->index, subject->keys, n, subject->rows, &to, &error),
            &error);
    subject->next += to.count;
    return to.count;
}

/* ---- buckets ----------------------------------------------------------------------------------
 */

static size_t check_segment(const struct subject *subject, const struct hone_bucket *segment)
{
    static uint32_t passed[HONE_SEGMENT_BUCKETS], tags[HONE_SEGMENT_BUCKETS];
    memset(passed, 0, sizeof passed);
    memset(tags, 0, sizeof tags);
    size_t keys = 0;
    for (size_t at = 0; at < HONE_SEGMENT_BUCKETS; at++)
        for (unsigned k = 0; k < HONE_BUCKET_KEYS; k++) {
            if ((segment[at].meta >> k & 1) == 0)
                continue;
            const uint64_t hash = hone_index_hash(segment[at].key[k], subject->index.seed);
            keys++;
            for (size_t b = hone_index_bucket(hash); b != at; b = (b + 1) % HONE_SEGMENT_BUCKETS) {
                passed[b]++;
                tags[b] |= hone_index_tag(hash);
            }
        }
    for (size_t at = 0; at < HONE_SEGMENT_BUCKETS; at++) {
        assert_int_equal((segment[at].meta & HONE_BUCKET_PASSED) / HONE_BUCKET_ONE_PASSED,
                         passed[at]);
        assert_int_equal(segment[at].meta & HONE_BUCKET_TAGS, tags[at]);
    }
    return keys;
}

static void check_buckets(const struct subject *subject)
{
    const size_t entries = (size_t)1 << subject->index.depth;
    size_t keys = 0;
    for (size_t e = 0; e < entries; e++)
        if (e == 0 || subject->index.directory[e] != subject->index.directory[e - 1])
            keys += check_segment(subject, subject->index.directory[e]);
    assert_int_equal(keys, subject->index.count);
}

/* Counts and filters are those of the keys that are there, whatever has come and gone. */
static void test_erased_keys_leave_no_trace(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        struct subject *const subject = open_subject(threads, 0);
        for (int round = 0; round < 12; round++) {
            draw(subject, MOST, 300000);
            insert(subject, MOST);
            check_buckets(subject);
            draw(subject, MOST, 300000);
            hone_index_erase(&subject->index, subject->keys, MOST, subject->rows);
            check_buckets(subject);
        }
        close_subject(subject);
    }
}

/* ---- rows -------------------------------------------------------------------------------------
 */

/* Rows around 2^31 and 2^32, and the last ones, as if a table of that size had been filled. */
static void test_large_rows(void **state)
{
    (void)state;
    const uint64_t starts[] = {((uint64_t)1 << 31) - 30000, ((uint64_t)1 << 32) - 30000,
                               HONE_MAX_ROWS - 2 * MOST};
    for (size_t s = 0; s < COUNT(starts); s++)
        for (int threads = 1; threads <= 3; threads++) {
            struct subject *const subject = open_subject(threads, starts[s]);
            for (int round = 0; round < 2; round++) {
                draw(subject, MOST, UINT64_MAX);
                assert_int_equal(insert(subject, MOST), MOST);
                hone_index_find(&subject->index, subject->keys, MOST, subject->rows);
                for (size_t i = 0; i < MOST; i++)
                    assert_int_equal((uint64_t)subject->rows[i],
                                     starts[s] + (uint64_t)round * MOST + i);
            }
            close_subject(subject);
        }
}

/* Growing, finding and both, in batches of many sizes. */
static void test_threads_give_the_same_rows(void **state)
{
    (void)state;
    const int threads[] = {1, 2, 3, 7};
    struct subject *subjects[COUNT(threads)];
    for (size_t t = 0; t < COUNT(threads); t++)
        subjects[t] = open_subject(threads[t], 0);
    for (int round = 0; round < 40; round++) {
        const size_t n = round % 5 == 0 ? 4000 : MOST - (size_t)round * 977;
        const uint64_t range = round % 3 == 0 ? 20000 : round % 3 == 1 ? 200000 : 100000000;
        for (size_t t = 0; t < COUNT(threads); t++) {
            draw(subjects[t], n, range);
            insert(subjects[t], n);
            assert_int_equal(subjects[t]->next, subjects[0]->next);
            assert_memory_equal(subjects[t]->rows, subjects[0]->rows, n * sizeof(int64_t));
        }
    }
    for (size_t t = 0; t < COUNT(threads); t++)
        close_subject(subjects[t]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_erased_keys_leave_no_trace),
        cmocka_unit_test(test_large_rows),
        cmocka_unit_test(test_threads_give_the_same_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
