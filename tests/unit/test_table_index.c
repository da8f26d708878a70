/* SPDX-License-Identifier: Apache-2.0 */
/* The index from inside: what its buckets say of the keys that passed them, row numbers beyond 32
 * bits, and the same rows whatever the number of threads and the CPU level. */
#include "table_subject.h"

#include "cpu/cpu.h"
#include "table/table_internal.h"

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
                         passed[at] < 127 ? passed[at] : 127);
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

/* ---- CPU levels -------------------------------------------------------------------------------
 */

/* Inserts or finds in pieces of 0, 1, 2, ... keys. */
static void in_pieces(struct subject *subject, bool find)
{
    hone_error error;
    for (size_t first = 0, n = 0; first < MOST; first += n++) {
        n = n < MOST - first ? n : MOST - first;
        const int64_t *const keys = subject->keys + first;
        int64_t *const rows = subject->rows + first;
        struct hone_insertion to = {.next = subject->next, .fresh = subject->fresh};
        if (find)
            hone_index_find(&subject->index, keys, n, rows);
        else
            require(hone_index_insert(&subject->index, keys, n, rows, &to, &error), &error);
        subject->next += to.count;
    }
}

/* Each level finds what the others have put in and moved. */
static void test_levels_share_an_index(void **state)
{
    (void)state;
    struct subject *const subject = open_subject(1, 0);
    const int levels = hone_cpu_level_count();
    for (int round = 0; round < 12; round++) {
        const struct hone_cpu_level *const level = hone_cpu_level_at(round % levels);
        if (level->available())
            subject->index.kernels = level->index;
        subject->random = (uint64_t)round;
        draw(subject, MOST, UINT64_MAX);
        in_pieces(subject, false);
        assert_int_equal(subject->next, (round + 1) * MOST);
        check_buckets(subject);
        for (int before = 0; before <= round; before++) {
            const struct hone_cpu_level *const finder =
                hone_cpu_level_at((round + before) % levels);
            if (finder->available())
                subject->index.kernels = finder->index;
            subject->random = (uint64_t)before;
            draw(subject, MOST, UINT64_MAX);
            in_pieces(subject, true);
            for (size_t i = 0; i < MOST; i++)
                assert_int_equal(subject->rows[i], (size_t)before * MOST + i);
        }
    }
    close_subject(subject);
}

/* Keys of a segment by any bit of their places, the lowest too. */
static void check_half(const struct subject *subject, const struct hone_bucket *half, int bit,
                       unsigned wanted)
{
    for (size_t at = 0; at < HONE_SEGMENT_BUCKETS; at++)
        for (unsigned k = 0; k < HONE_BUCKET_KEYS; k++)
            if ((half[at].meta >> k & 1) != 0) {
                const uint64_t hash = hone_index_hash(half[at].key[k], subject->index.seed);
                assert_int_equal(hone_index_place(hash) >> bit & 1, wanted);
            }
}

static void test_splits_by_every_bit(void **state)
{
    (void)state;
    struct hone_bucket *const added = aligned_alloc(HONE_SEGMENT_SIZE, HONE_SEGMENT_SIZE);
    struct hone_bucket *const aside = aligned_alloc(HONE_SEGMENT_SIZE, HONE_SEGMENT_SIZE);
    assert_non_null(added);
    assert_non_null(aside);
    for (int l = 0; l < hone_cpu_level_count(); l++) {
        const struct hone_cpu_level *const level = hone_cpu_level_at(l);
        if (!level->available())
            continue;
        for (int bit = 0; bit < 64; bit++) {
            struct subject *const subject = open_subject(1, ((uint64_t)bit << 28) + 1);
            const struct hone_index_view view = hone_index_view_of(&subject->index);
            struct hone_bucket *const segment = subject->index.directory[0];
            subject->random = (uint64_t)bit;
            draw(subject, 3000, UINT64_MAX);
            const size_t n = insert(subject, 3000);
            assert_int_equal(subject->index.segments, 1);
            memset(added, 0xff, HONE_SEGMENT_SIZE);
            level->index->split(&view, segment, added, bit, aside);
            check_half(subject, segment, bit, 0);
            check_half(subject, added, bit, 1);
            assert_int_equal(check_segment(subject, segment) + check_segment(subject, added), n);
            close_subject(subject);
        }
    }
    free(added);
    free(aside);
}

/* ---- chosen keys --------------------------------------------------------------------------------
 */

/* x with a * x == 1: Newton's steps double the bits that are right. */
static uint64_t inverse(uint64_t a)
{
    uint64_t x = a;
    for (int i = 0; i < 6; i++)
        x *= 2 - a * x;
    return x;
}

/* The key whose hash this is. */
static int64_t key_of_hash(uint64_t hash, uint64_t seed)
{
    uint64_t x = hash ^ hash >> 33;
    x *= inverse(0xc4ceb9fe1a85ec53u);
    x = (x ^ x >> 33) * inverse(0xff51afd7ed558ccdu);
    x ^= x >> 33;
    assert_int_equal(hone_index_hash((int64_t)(x ^ seed), seed), hash);
    return (int64_t)(x ^ seed);
}

/* Keys chosen to fall into one bucket of every segment make no more of them than a few times
 * what other keys do, and those that agree in nearly all bits are refused when they have
 * filled a segment. */
static void test_chosen_keys(void **state)
{
    (void)state;
    enum { STEP = 500 };
    for (int threads = 1; threads <= 3; threads += 2)
        for (int shift = 20; shift <= 48; shift += 28) {
            struct subject *const subject = open_subject(threads, 0);
            hone_error error;
            hone_status status = HONE_OK;
            for (uint64_t i = 0; i < MOST; i++)
                subject->keys[i] = key_of_hash(i << shift | 5, subject->index.seed);
            size_t n = 0;
            for (; status == HONE_OK && n < MOST; n += STEP) {
                struct hone_insertion to = {.next = n, .fresh = subject->fresh};
                status = hone_index_insert(&subject->index, subject->keys + n, STEP,
                                           subject->rows + n, &to, &error);
            }
            if (shift == 20) {
                assert_int_equal(status, HONE_ERROR_UNSUPPORTED);
                assert_non_null(strstr(error.message, "more than 5120 keys agree"));
                n -= STEP; /* the refused ones */
                assert_true(n >= 5000);
            } else {
                check_buckets(subject);
            }
            assert_int_equal(subject->index.count, n);
            assert_true(hone_index_bytes(&subject->index) < 128 * n + 10 * HONE_SEGMENT_SIZE);
            hone_index_find(&subject->index, subject->keys, MOST, subject->rows);
            for (size_t i = 0; i < MOST; i++)
                assert_int_equal(subject->rows[i], i < n ? (int64_t)i : -1);
            close_subject(subject);
        }
}

/* A byte budget holds for them too. */
static void test_chosen_keys_under_a_budget(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(1, "sgd");
    options.max_bytes = 3000000;
    hone_table *const table = make_table(context, "t", &options);
    hone_error error;
    hone_status status = HONE_OK;
    for (uint64_t i = 0; status == HONE_OK && i < MOST; i++) {
        const int64_t key = key_of_hash(i << 48 | 5, table->index.seed);
        int64_t row;
        status = hone_table_insert(table, &key, 1, &row, NULL, &error);
        assert_true(hone_table_bytes(table) <= options.max_bytes);
    }
    assert_true(hone_table_count(table) > 10000);
    assert_true(status == HONE_OK || status == HONE_ERROR_UNSUPPORTED);
    hone_table_free(table);
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels_share_an_index),
        cmocka_unit_test(test_splits_by_every_bit),
        cmocka_unit_test(test_erased_keys_leave_no_trace),
        cmocka_unit_test(test_large_rows),
        cmocka_unit_test(test_threads_give_the_same_rows),
        cmocka_unit_test(test_chosen_keys),
        cmocka_unit_test(test_chosen_keys_under_a_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
