/* SPDX-License-Identifier: Apache-2.0 */
/* A model's tables and its dense parameters are separated, and each get an optimizer
 * of their own. */
#include "support/fixtures.h"
#include "table_subject.h"

#define WIDTH 3
#define STEPS 3

static hone_table *table_called(const char *name)
{
    const hone_table_options options = plain_options(WIDTH, "sparse_adamw_tf");
    return make_table(context, name, &options);
}

static hone_model_parameter dense_called(const char *name, float *data)
{
    static const int64_t shape[] = {WIDTH};
    return (hone_model_parameter){
        .name = name, .tensor = hone_tensor_view(data, HONE_F32, 1, shape), .requires_grad = true};
}

/* Each table once, in the model's order; the others as they were. */
static void test_the_two_are_separated(void **state)
{
    (void)state;
    hone_table *const items = table_called("items"), *const users = table_called("users");
    float weight[WIDTH] = {0}, bias[WIDTH] = {0};
    const hone_model_parameter list[] = {
        dense_called("w", weight),         {.name = "query.items", .table = items},
        {.name = "users", .table = users}, {.name = "answer.items", .table = items},
        dense_called("b", bias),
    };
    const hone_model model = {NULL, list, COUNT(list)};
    hone_table *tables[COUNT(list)];
    hone_model_parameter dense[COUNT(list)];
    int64_t table_count = -1, dense_count = -1;
    hone_error error;
    require(hone_filter_out_sparse(&model, NULL, &table_count, NULL, &dense_count, &error), &error);
    assert_int_equal(table_count, 2);
    assert_int_equal(dense_count, 2);
    require(hone_filter_out_sparse(&model, tables, &table_count, dense, &dense_count, &error),
            &error);
    assert_int_equal(table_count, 2);
    assert_ptr_equal(tables[0], items);
    assert_ptr_equal(tables[1], users);
    assert_int_equal(dense_count, 2);
    assert_memory_equal(&dense[0], &list[0], sizeof list[0]);
    assert_memory_equal(&dense[1], &list[4], sizeof list[4]);
    const hone_model nothing = {NULL, NULL, 0};
    require(hone_filter_out_sparse(&nothing, tables, &table_count, dense, &dense_count, &error),
            &error);
    assert_int_equal(table_count + dense_count, 0);
    hone_table_free(items);
    hone_table_free(users);
}

static void expect(const hone_model *model, hone_status status, const char *sentence)
{
    int64_t tables = 7, dense = 7;
    hone_error error;
    assert_int_equal(hone_filter_out_sparse(model, NULL, &tables, NULL, &dense, &error), status);
    assert_string_equal(error.message, sentence);
    assert_int_equal(tables, 7);
    assert_int_equal(dense, 7);
}

static void test_refusals(void **state)
{
    (void)state;
    hone_table *const one = table_called("items"), *const two = table_called("items");
    const hone_model_parameter twice[] = {{.name = "a", .table = one}, {.name = "b", .table = two}};
    const hone_model_parameter unnamed[] = {{.name = "a", .table = one}, {.name = ""}};
    expect(&(hone_model){NULL, twice, 2}, HONE_ERROR_NAME,
           "the tables at \"a\" and \"b\" are both called \"items\"");
    expect(&(hone_model){NULL, unnamed, 2}, HONE_ERROR_NAME,
           "parameter 1 of the model has no name");
    expect(&(hone_model){NULL, NULL, 3}, HONE_ERROR_ARGUMENT,
           "the model has 3 parameters, listed at NULL");
    expect(&(hone_model){NULL, twice, -1}, HONE_ERROR_ARGUMENT,
           "the model has -1 parameters, listed at an address");
    expect(NULL, HONE_ERROR_ARGUMENT, "model is NULL");
    int64_t count;
    hone_error error;
    assert_int_equal(
        hone_filter_out_sparse(&(hone_model){NULL, twice, 1}, NULL, NULL, NULL, &count, &error),
        HONE_ERROR_ARGUMENT);
    assert_string_equal(error.message, "table_count is NULL");
    assert_int_equal(
        hone_filter_out_sparse(&(hone_model){NULL, twice, 1}, NULL, &count, NULL, NULL, &error),
        HONE_ERROR_ARGUMENT);
    assert_string_equal(error.message, "dense_count is NULL");
    hone_table_free(one);
    hone_table_free(two);
}

/* The dense optimizer has only the dense parameter; it and the table give RecIS' numbers. */
static void test_dense_adamw_tf_beside_the_tables(void **state)
{
    (void)state;
    static const float grads[STEPS] = {0.1f, -0.2f, 0.3f};
    static const double expected[STEPS] = {0.49400000316226766, 0.4894261061398812,
                                           0.48418860428834404};
    float weight[WIDTH] = {0.5f, 0.5f, 0.5f}, row[WIDTH];
    const hone_model_parameter list[] = {{.name = "items", .table = table_called("items")},
                                         dense_called("w", weight)};
    hone_table *table = NULL;
    hone_model_parameter dense[COUNT(list)];
    int64_t tables, count, key = 9, at;
    hone_error error;
    require(hone_filter_out_sparse(&(hone_model){NULL, list, 2}, &table, &tables, dense, &count,
                                   &error),
            &error);
    hone_spec *spec = NULL;
    hone_placement *placement = NULL;
    hone_optimizer *optimizer = NULL;
    require(hone_spec_create(&spec, context, "adamw_tf", &error), &error);
    require(hone_placement_create(&placement, context, spec, &(hone_model){NULL, dense, count}, 1,
                                  &error),
            &error);
    require(hone_optimizer_create_placed(&optimizer, placement, &error), &error);
    assert_int_equal(hone_optimizer_count(optimizer), 1);
    const hone_tensor rows = ROWS(weight, HONE_F32, 1, WIDTH), out = ROWS(row, HONE_F32, 1, WIDTH);
    require(hone_table_insert(table, &key, 1, &at, NULL, &error), &error);
    require(hone_table_scatter(table, &at, 1, NULL, &rows, &error), &error);
    for (int step = 0; step < STEPS; step++) {
        float grad[WIDTH] = {grads[step], grads[step], grads[step]};
        const hone_tensor sparse = ROWS(grad, HONE_F32, 1, WIDTH);
        static const int64_t shape[] = {WIDTH};
        const hone_tensor slope = hone_tensor_view(grad, HONE_F32, 1, shape);
        require(hone_table_apply_gradients(table, &key, 1, &sparse, NULL, &error), &error);
        require(hone_optimizer_set_grad(optimizer, 0, &slope, &error), &error);
        require(hone_optimizer_step(optimizer, NULL, &error), &error);
        require(hone_table_gather(table, &at, 1, NULL, &out, &error), &error);
        for (int i = 0; i < WIDTH; i++) {
            assert_float_equal(row[i], expected[step], 1e-6);
            assert_float_equal(weight[i], expected[step], 1e-6);
        }
    }
    hone_optimizer_free(optimizer);
    hone_placement_free(placement);
    hone_spec_free(spec);
    hone_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_two_are_separated),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_dense_adamw_tf_beside_the_tables),
    };
    return cmocka_run_group_tests(tests, open_single_context, close_context);
}
