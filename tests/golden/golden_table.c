/* SPDX-License-Identifier: Apache-2.0 */
/* Golden numbers of the Adams over hash-table rows: decay forms, an absent row, duplicate rows and
 * gradient accumulation. */
#include "golden_macros.h"

/* Short rows of numbers. */
/* clang-format off */
#define ONE_KEY 5
static const golden_row one_row[] = {{ONE_KEY, {0.5}}};
static const golden_row one_zero_row[] = {{ONE_KEY, {0}}};
static const golden_row_gradient one_row_gradients[] = {
    {1, ONE_KEY, {0.1}},
    {2, ONE_KEY, {-0.2}},
    {3, ONE_KEY, {0.3}},
};
static const golden_row_gradient absent_at_two[] = {
    {1, ONE_KEY, {0.1}},
    {3, ONE_KEY, {0.3}},
};
static const golden_row_gradient tiny_gradients[] = {
    {1, ONE_KEY, {1e-7}},
    {2, ONE_KEY, {1e-7}},
    {3, ONE_KEY, {1e-7}},
};
static const golden_row_gradient accumulated_gradients[] = {
    {1, ONE_KEY, {0.1}},
    {2, ONE_KEY, {0.3}},
    {3, ONE_KEY, {-0.2}},
    {4, ONE_KEY, {-0.2}},
};
static const golden_row two_rows[] = {
    {7, {0.5, -0.5}},
    {9, {0.25, 0.25}},
};
static const golden_row_gradient two_row_gradients[] = {
    {1, 7, {0.1, 0.2}}, {1, 9, {-0.3, 0.1}}, {1, 7, {0.1, -0.1}},
    {2, 9, {0.2, 0.2}}, {3, 7, {-0.1, 0.3}}, {3, 7, {0.1, 0.1}},
};

#define COMMON {"lr", 1e-3}, {"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}
#define ONE_ROW .width = 1, .row_count = 1, .rows = one_row, .accumulate = 1
#define GRADIENTS(list) .gradient_count = COUNT(list), .gradients = list

const golden_table_case golden_table_cases[] = {
    {
        .name = "sparse_adam ignores decay",
        .rule = "sparse_adam",
        ONE_ROW,
        .micro_steps = 3,
        GRADIENTS(one_row_gradients),
        .torch_sparse_adam = true,
        .hypers = HYPERS(COMMON, {"weight_decay", 1e-2}),
        .expectations = EXPECT_ROWS({1, ONE_KEY, "param", {0.49900000316226767}},
                                    {2, ONE_KEY, "param", {0.4993661061715039}},
                                    {3, ONE_KEY, "param", {0.4990228653813656}}),
    },
    {
        .name = "sparse_adamw",
        .rule = "sparse_adamw",
        ONE_ROW,
        .micro_steps = 3,
        GRADIENTS(one_row_gradients),
        .hypers = HYPERS(COMMON, {"weight_decay", 1e-2}),
        .expectations = EXPECT_ROWS({1, ONE_KEY, "param", {0.4989950031622677}},
                                    {2, ONE_KEY, "param", {0.4993561162214723}},
                                    {3, ONE_KEY, "param", {0.4990078818701718}}),
    },
    {
        .name = "sparse_adamw_tf",
        .rule = "sparse_adamw_tf",
        ONE_ROW,
        .micro_steps = 3,
        GRADIENTS(one_row_gradients),
        .hypers = HYPERS(COMMON, {"weight_decay", 1e-2}),
        .expectations = EXPECT_ROWS({1, ONE_KEY, "param", {0.49400000316226766}},
                                    {2, ONE_KEY, "param", {0.4894261061398812}},
                                    {3, ONE_KEY, "param", {0.48418860428834404}}),
    },
    {
        .name = "sparse_adamw, row absent at step 2",
        .rule = "sparse_adamw",
        ONE_ROW,
        .micro_steps = 3,
        GRADIENTS(absent_at_two),
        .hypers = HYPERS(COMMON, {"weight_decay", 1e-2}),
        .expectations = EXPECT_ROWS({1, ONE_KEY, "param", {0.4989950031622677}},
                                    {2, ONE_KEY, "param", {0.4989950031622677}},
                                    {3, ONE_KEY, "param", {0.4982021332751223}}),
    },
    {
        .name = "sparse_adam, gradient as small as eps",
        .rule = "sparse_adam",
        .width = 1,
        .row_count = 1,
        .rows = one_zero_row,
        .accumulate = 1,
        .micro_steps = 3,
        GRADIENTS(tiny_gradients),
        .torch_sparse_adam = true,
        .hypers = HYPERS(COMMON),
        .expectations = EXPECT_ROWS({1, ONE_KEY, "param", {-0.00024025307335204222}},
                                    {2, ONE_KEY, "param", {-0.0005492166755544686}},
                                    {3, ONE_KEY, "param", {-0.0009029917068797662}}),
    },
    {
        .name = "sparse_adamw, sum of two micro-steps",
        .rule = "sparse_adamw",
        .width = 1,
        .row_count = 1,
        .rows = one_row,
        .accumulate = 2,
        .micro_steps = 4,
        GRADIENTS(accumulated_gradients),
        .hypers = HYPERS(COMMON, {"weight_decay", 1e-2}),
        .expectations =
            EXPECT_ROWS({1, ONE_KEY, "param", {0.5}}, {2, ONE_KEY, "param", {0.4989950007905688}},
                        {3, ONE_KEY, "param", {0.4989950007905688}},
                        {4, ONE_KEY, "param", {0.499042642390079}}),
    },
    {
        .name = "sparse_adamw, mean of two micro-steps",
        .rule = "sparse_adamw",
        .width = 1,
        .row_count = 1,
        .rows = one_row,
        .accumulate = 2,
        .mean = true,
        .micro_steps = 4,
        GRADIENTS(accumulated_gradients),
        .hypers = HYPERS(COMMON, {"weight_decay", 1e-2}),
        .expectations = EXPECT_ROWS({2, ONE_KEY, "param", {0.49899500158113635}},
                                    {4, ONE_KEY, "param", {0.4990426431512094}}),
    },
    {
        .name = "sparse_adamw, two rows with duplicates",
        .rule = "sparse_adamw",
        .width = 2,
        .row_count = 2,
        .rows = two_rows,
        .accumulate = 1,
        .micro_steps = 3,
        GRADIENTS(two_row_gradients),
        .hypers = HYPERS({"lr", 1e-2}, {"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8},
                         {"weight_decay", 1e-2}),
        .expectations = EXPECT_ROWS(
            {1, 7, "param", {0.489950015811, -0.509949968377}},
            {1, 9, "param", {0.259974989459, 0.239975031623}}, {1, 7, "exp_avg", {0.02, 0.01}},
            {1, 7, "exp_avg_sq", {4e-05, 1e-05}}, {1, 9, "exp_avg", {-0.03, 0.01}},
            {1, 9, "exp_avg_sq", {9e-05, 1e-05}}, {1, 0, "beta1", {0.9}}, {1, 0, "beta2", {0.999}},
            {2, 7, "param", {0.489950015811, -0.509949968377}},
            {2, 9, "param", {0.261394195989, 0.230299227512}}, {2, 7, "exp_avg", {0.02, 0.01}},
            {2, 7, "exp_avg_sq", {4e-05, 1e-05}}, {2, 9, "exp_avg", {-0.007, 0.029}},
            {2, 9, "exp_avg_sq", {0.00012991, 4.999e-05}}, {2, 0, "beta1", {0.81}},
            {2, 0, "beta2", {0.998001}}, {3, 7, "param", {0.484148830696, -0.517491008581}},
            {3, 9, "param", {0.261394195989, 0.230299227512}}, {3, 7, "exp_avg", {0.018, 0.049}},
            {3, 7, "exp_avg_sq", {3.996e-05, 0.00016999}}, {3, 9, "exp_avg", {-0.007, 0.029}},
            {3, 9, "exp_avg_sq", {0.00012991, 4.999e-05}}, {3, 0, "beta1", {0.729}},
            {3, 0, "beta2", {0.997002999}}),
    },
};
const size_t golden_table_count = COUNT(golden_table_cases);
/* clang-format on */
