/* SPDX-License-Identifier: Apache-2.0 */
/* Masks from masks, equality, the hash with its literal values, the memory report, and sets. */
#include "mask/mask_internal.h"
#include "unit/mask_model.h"

/* ---- algebra -------------------------------------------------------------------------------- */

static unsigned char operate(unsigned char a, unsigned char b, int operation)
{
    return operation == HONE_MASK_AND   ? a & b
           : operation == HONE_MASK_OR  ? a | b
           : operation == HONE_MASK_XOR ? a ^ b
                                        : (unsigned char)(a & !b);
}

static void every_operation(void **state)
{
    (void)state;
    for (int number = 0; number < MODEL_CASES; number++) {
        struct model model = model_case(number);
        struct model other = model_start(model.ndim, model.shape);
        for (int64_t i = 0; i < other.numel; i++)
            other.values[i] = random_below(2) == 0;
        hone_mask *a = mask_of(&model), *b = mask_of(&other), *result = NULL;
        struct model expected = model_start(model.ndim, model.shape);
        for (int operation = HONE_MASK_AND; operation <= HONE_MASK_AND_NOT; operation++) {
            for (int64_t i = 0; i < model.numel; i++)
                expected.values[i] = operate(model.values[i], other.values[i], operation);
            assert_int_equal(hone_mask_combine(&result, a, b, (hone_mask_operation)operation, NULL),
                             HONE_OK);
            assert_mask_is(result, &expected);
            hone_mask_free(result);
        }
        for (int64_t i = 0; i < model.numel; i++)
            expected.values[i] = !model.values[i];
        assert_int_equal(hone_mask_not(&result, a, NULL), HONE_OK);
        assert_mask_is(result, &expected);
        hone_mask_free(result);
        hone_mask_free(a);
        hone_mask_free(b);
        free(model.values);
        free(other.values);
        free(expected.values);
    }
}

static void every_bit_doubled(void **state)
{
    (void)state;
    for (int number = 0; number < MODEL_CASES; number++) {
        struct model model = model_case(number);
        struct model expected = model_start(2, (int64_t[]){model.numel, 2});
        for (int64_t i = 0; i < expected.numel; i++)
            expected.values[i] = model.values[i / 2];
        hone_mask *mask = mask_of(&model), *doubled = NULL;
        assert_int_equal(hone_mask_double(&doubled, mask, NULL), HONE_OK);
        assert_mask_is(doubled, &expected);
        hone_mask_free(doubled);
        hone_mask_free(mask);
        free(model.values);
        free(expected.values);
    }
}

static void refuses_unequal_shapes(void **state)
{
    (void)state;
    const int64_t wide[] = {2, 3}, tall[] = {3, 2};
    hone_mask *a = NULL, *b = NULL, *result = NULL;
    assert_int_equal(hone_mask_filled(&a, context, 2, wide, true, NULL), HONE_OK);
    assert_int_equal(hone_mask_filled(&b, context, 2, tall, true, NULL), HONE_OK);
    assert_refused(hone_mask_combine(&result, a, b, HONE_MASK_OR, &error), HONE_ERROR_SHAPE,
                   "the masks have the shapes [2,3] and [3,2]; only equal shapes can be combined");
    assert_refused(hone_mask_combine(&result, a, a, 4, &error), HONE_ERROR_ARGUMENT,
                   "hone_mask_combine: 4 is no operation");
    assert_null(result);
    hone_mask_free(a);
    hone_mask_free(b);
}

/* ---- equality and hash ---------------------------------------------------------------------- */

static void equality_sees_every_bit_and_the_shape(void **state)
{
    (void)state;
    struct model model = model_start(2, (int64_t[]){3, 30});
    hone_mask *mask = mask_of(&model), *other;
    for (int64_t i = 0; i < model.numel; i++) {
        model.values[i] = 1;
        other = mask_of(&model);
        assert_false(hone_mask_equal(mask, other));
        assert_true(hone_mask_hash(mask) != hone_mask_hash(other));
        hone_mask_free(other);
        model.values[i] = 0;
    }
    other = mask_of(&model);
    assert_true(hone_mask_equal(mask, other));
    assert_true(hone_mask_hash(mask) == hone_mask_hash(other));
    hone_mask_free(other);
    model.shape[0] = 30;
    model.shape[1] = 3;
    other = mask_of(&model);
    assert_false(hone_mask_equal(mask, other));
    assert_true(hone_mask_hash(mask) != hone_mask_hash(other));
    hone_mask_free(other);
    hone_mask_free(mask);
    free(model.values);
}

/* The values come from the definition in docs/masks.md, written down a second time in Python. */
static void hashes_are_these_numbers(void **state)
{
    (void)state;
    static const struct {
        int32_t ndim;
        int64_t shape[3];
        int64_t every; /* element i is true where i % every is 0; 0: none */
        uint64_t hash;
    } cases[] = {
        {0, {0}, 0, UINT64_C(0xa706dd2f4d197e6f)},
        {0, {0}, 1, UINT64_C(0x08b4fda8c892b50e)},
        {1, {0}, 0, UINT64_C(0x5e41ab087439611e)},
        {2, {0, 4}, 1, UINT64_C(0xb8d1d307de965789)},
        {1, {1}, 1, UINT64_C(0x7095beebd76575e4)},
        {2, {6, 5}, 7, UINT64_C(0xb4ac3fa21bced558)},
        {1, {32}, 1, UINT64_C(0x47f968279205cbc7)},
        {1, {33}, 3, UINT64_C(0xeebca6eda4fb04e0)},
        {1, {64}, 0, UINT64_C(0x441ddbdeaa76a736)},
        {1, {65}, 2, UINT64_C(0x78439deef4ee44df)},
        {3, {2, 3, 4}, 5, UINT64_C(0xfd2c029b4c802f73)},
        {3, {100, 200, 3}, 11, UINT64_C(0x6c3d5c53e755ac69)},
    };
    for (int c = 0; c < LENGTH(cases); c++) {
        struct model model = model_start(cases[c].ndim, cases[c].shape);
        for (int64_t i = 0; i < model.numel; i++)
            model.values[i] = cases[c].every != 0 && i % cases[c].every == 0;
        hone_mask *mask = mask_of(&model);
        assert_true(hone_mask_hash(mask) == cases[c].hash);
        hone_mask_free(mask);
        free(model.values);
    }
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Percent saved by each form at a density, as the table of docs/masks.md gives them. */
static void memory_of_every_form(void **state)
{
    (void)state;
    static const struct {
        int64_t trues;
        double ratio[HONE_MASK_FORM_COUNT];
    } rows[] = {
        {12500, {0.875, 0, 0.75, 0.7875, 0.949936}},
        {50000, {0.875, 0, 0.0, 0.15, 0.799936}},
        {500000, {0.875, 0, -9.0, -7.5, -1.000064}},
    };
    const int64_t shape[] = {1000, 1000};
    for (int r = 0; r < LENGTH(rows); r++) {
        struct model model = model_start(2, shape);
        memset(model.values, 1, (size_t)rows[r].trues);
        hone_mask *mask = mask_of(&model);
        for (int form = 0; form < HONE_MASK_FORM_COUNT; form++) {
            const hone_mask_memory memory = hone_mask_memory_as(mask, (hone_mask_form)form);
            assert_int_equal(memory.form, form);
            assert_int_equal(memory.dense_bytes, 1000000);
            assert_int_equal(memory.saved_bytes, memory.dense_bytes - memory.bytes);
            assert_true(memory.saved_ratio == rows[r].ratio[form]);
        }
        hone_mask_free(mask);
        free(model.values);
    }
    assert_string_equal(hone_mask_form_name(HONE_MASK_COMPACT), "compact_sparse");
    assert_null(hone_mask_form_name(HONE_MASK_FORM_COUNT));
}

static void memory_of_small_masks(void **state)
{
    (void)state;
    hone_mask *mask = NULL;
    const int64_t nine[] = {9}, none[] = {0};
    assert_int_equal(hone_mask_filled(&mask, context, 1, nine, true, NULL), HONE_OK);
    assert_int_equal(hone_mask_memory_as(mask, HONE_MASK_BITMAP).bytes, 2);
    hone_mask_free(mask);
    assert_int_equal(hone_mask_filled(&mask, context, 0, NULL, true, NULL), HONE_OK);
    assert_int_equal(hone_mask_memory_as(mask, HONE_MASK_COO_F32).bytes, 4);
    hone_mask_free(mask);
    assert_int_equal(hone_mask_filled(&mask, context, 1, none, true, NULL), HONE_OK);
    assert_int_equal(hone_mask_memory_as(mask, HONE_MASK_BITMAP).bytes, 0);
    assert_true(hone_mask_memory_as(mask, HONE_MASK_COMPACT).saved_ratio == 0);
    hone_mask_free(mask);
}

/* ---- sets ----------------------------------------------------------------------------------- */

static void sets_keep_order_and_find_names(void **state)
{
    (void)state;
    hone_mask_set *set = NULL;
    assert_int_equal(hone_mask_set_create(&set, context, NULL), HONE_OK);
    assert_int_equal(hone_mask_set_find(set, "p0"), -1);
    for (int64_t i = 0; i < 1000; i++) {
        hone_mask *mask = NULL;
        char name[16];
        snprintf(name, sizeof name, "p%d", (int)i);
        assert_int_equal(hone_mask_filled(&mask, context, 1, &i, true, NULL), HONE_OK);
        assert_int_equal(hone_mask_set_add(set, name, mask, NULL), HONE_OK);
        hone_mask_free(mask);
    }
    assert_int_equal(hone_mask_set_count(set), 1000);
    for (int64_t i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", (int)i);
        assert_int_equal(hone_mask_set_find(set, name), i);
        assert_string_equal(hone_mask_set_name(set, i), name);
        assert_int_equal(hone_mask_count(hone_mask_set_mask(set, i)), i);
    }
    assert_int_equal(hone_mask_set_find(set, "p1000"), -1);
    assert_null(hone_mask_set_name(set, 1000));
    assert_null(hone_mask_set_mask(set, -1));
    const hone_mask_memory memory = hone_mask_set_memory_as(set, HONE_MASK_COMPACT);
    assert_int_equal(memory.dense_bytes, 499500);
    assert_int_equal(memory.bytes, 4 * 499500 + 64000);
    hone_mask_set_free(set);
}

static void sets_refuse_bad_names(void **state)
{
    (void)state;
    hone_mask_set *set = NULL;
    hone_mask *mask = NULL;
    assert_int_equal(hone_mask_set_create(&set, context, NULL), HONE_OK);
    assert_int_equal(hone_mask_filled(&mask, context, 0, NULL, true, NULL), HONE_OK);
    assert_int_equal(hone_mask_set_add(set, "w", mask, NULL), HONE_OK);
    assert_refused(hone_mask_set_add(set, "w", mask, &error), HONE_ERROR_NAME,
                   "two masks are called 'w'; names must be unique");
    assert_refused(hone_mask_set_add(set, "", mask, &error), HONE_ERROR_NAME,
                   "the mask name '' is empty");
    assert_refused(hone_mask_set_add(set, "\xff", mask, &error), HONE_ERROR_NAME,
                   "the mask name '?' is not UTF-8");
    assert_int_equal(hone_mask_set_count(set), 1);
    hone_mask_free(mask);
    hone_mask_set_free(set);
}

static void sets_keep_notes(void **state)
{
    (void)state;
    hone_mask_set *set = NULL;
    assert_int_equal(hone_mask_set_create(&set, context, NULL), HONE_OK);
    assert_int_equal(hone_mask_set_note(set, "a", "1", NULL), HONE_OK);
    assert_int_equal(hone_mask_set_note(set, "b", "2", NULL), HONE_OK);
    assert_int_equal(hone_mask_set_note(set, "a", "3", NULL), HONE_OK);
    assert_int_equal(hone_mask_set_note_count(set), 2);
    assert_string_equal(hone_mask_set_note_key(set, 1), "b");
    assert_null(hone_mask_set_note_key(set, 2));
    assert_string_equal(hone_mask_set_note_value(set, "a"), "3");
    assert_null(hone_mask_set_note_value(set, "c"));
    hone_mask_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation),
        cmocka_unit_test(every_bit_doubled),
        cmocka_unit_test(refuses_unequal_shapes),
        cmocka_unit_test(equality_sees_every_bit_and_the_shape),
        cmocka_unit_test(hashes_are_these_numbers),
        cmocka_unit_test(memory_of_every_form),
        cmocka_unit_test(memory_of_small_masks),
        cmocka_unit_test(sets_keep_order_and_find_names),
        cmocka_unit_test(sets_refuse_bad_names),
        cmocka_unit_test(sets_keep_notes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
