/* SPDX-License-Identifier: Apache-2.0 */
/* Golden numbers of SGD and RMSprop, and the list of all dense groups. */
#include "golden_macros.h"

/* One row per call. */
/* clang-format off */
static const double sgd_param[] = {1, -1};
static const double sgd_gradients[] = {
    0.5, 0.2,
    0.1, -0.4,
    0.3, 0.3,
};

#define SGD_INPUTS                                                             \
    .rule = "sgd", .n = 2, .param = sgd_param, .calls = 3, .gradient_rows = 3, \
    .gradients = sgd_gradients

const golden_case golden_sgd_cases[] = {
    {
        .name = "sgd momentum",
        SGD_INPUTS,
        .hypers = HYPERS({"lr", 0.1}, {"momentum", 0.9}, {"weight_decay", 0.01}),
        .expectations = EXPECT(
            {"param", 1, 3, NUMBERS(0.949, -1.019,
                                    0.892151, -0.995081,
                                    0.810094749, -1.002558819)},
            {"momentum_buffer", 1, 3,
             NUMBERS(0.51, 0.19,
                     0.56849, -0.23919,
                     0.82056251, 0.07477819)}),
    },
    {
        .name = "sgd nesterov",
        SGD_INPUTS,
        .hypers = HYPERS({"lr", 0.1}, {"momentum", 0.9}, {"weight_decay", 0.01}, {"nesterov", 1}),
        .expectations = EXPECT(
            {"param", 1, 3,
             NUMBERS(0.9031, -1.0361,
                     0.84107411, -0.97352141,
                     0.736465558191, -1.00928347832)},
            {"momentum_buffer", 1, 3,
             NUMBERS(0.51, 0.19,
                     0.568031, -0.239361,
                     0.8196386411, 0.0748398859)}),
    },
    {
        .name = "sgd dampening",
        SGD_INPUTS,
        .hypers =
            HYPERS({"lr", 0.1}, {"momentum", 0.9}, {"weight_decay", 0.01}, {"dampening", 0.5}),
        .expectations =
            EXPECT({"param", 1, 3,
                    NUMBERS(0.949, -1.019,
                            0.8976255, -1.0155905,
                            0.83593963725, -1.02701415475)},
                   {"momentum_buffer", 1, 3,
                    NUMBERS(0.51, 0.19,
                            0.513745, -0.034095,
                            0.6168586275, 0.1142365475)}),
    },
};
const size_t golden_sgd_count = COUNT(golden_sgd_cases);

static const double rmsprop_param[] = {1, -2, 0.5};
static const double rmsprop_gradients[] = {
    0.1, -0.2, 0,
    0.3, -0.1, 0.01,
    -0.2, 0.4, 0.02,
    0.1, 0.1, -0.5,
};

#define RMSPROP_INPUTS                                                                 \
    .rule = "rmsprop", .n = 3, .param = rmsprop_param, .calls = 4, .gradient_rows = 4, \
    .gradients = rmsprop_gradients

const golden_case golden_rmsprop_cases[] = {
    {
        .name = "rmsprop default",
        RMSPROP_INPUTS,
        .hypers = HYPERS({"lr", 1e-2}, {"alpha", 0.99}, {"eps", 1e-8}),
        .expectations =
            EXPECT({"param", 1, 4,
                    NUMBERS(0.9000001, -1.90000005, 0.5,
                            0.805084330455, -1.85509874465, 0.40000099999,
                            0.858747607847, -1.94257269223, 0.310469104583,
                            0.832710890647, -1.96403898614, 0.410370428809)},
                   {"square_avg", 4, 1, NUMBERS(0.0014751199, 0.0021701296, 0.0025049401)}),
    },
    {
        .name = "rmsprop centered momentum decay",
        RMSPROP_INPUTS,
        .hypers = HYPERS({"lr", 1e-2}, {"alpha", 0.99}, {"eps", 1e-8}, {"weight_decay", 0.1},
                         {"centered", 1}, {"momentum", 0.1}),
        .expectations = EXPECT(
            {"param", 1, 4,
             NUMBERS(0.899496268979, -1.89949624373, 0.399496420494,
                     0.79955946394, -1.82998270221, 0.31787790759,
                     0.816273906825, -1.86367944799, 0.249418276077,
                     0.780156965636, -1.850976778, 0.341170780564)},
            {"square_avg", 4, 1, NUMBERS(0.00235101641463, 0.00291723891167, 0.00233206487078)},
            {"grad_avg", 4, 1, NUMBERS(0.00639033206935, -0.00543835459166, -0.00326317665368)},
            {"momentum_buffer", 4, 1, NUMBERS(3.61169411888, -1.27026699907, -9.1752504487)}),
    },
    {
        .name = "rmsprop maximize decay",
        RMSPROP_INPUTS,
        .hypers = HYPERS({"lr", 1e-2}, {"alpha", 0.99}, {"eps", 1e-8}, {"weight_decay", 0.05},
                         {"maximize", 1}),
        .expectations = EXPECT(
            {"param", 1, 4,
             NUMBERS(1.0999998, -2.0999999, 0.400000399998,
                     1.19799976096, -2.09498105391, 0.362700282578,
                     1.12575599233, -1.99685537424, 0.369674707905,
                     1.13787772897, -1.9604835517, 0.269806131337)},
            {"square_avg", 4, 1, NUMBERS(0.00130039535014, 0.00301888514793, 0.00269533274527)}),
    },
};
const size_t golden_rmsprop_count = COUNT(golden_rmsprop_cases);
/* clang-format on */

const golden_group golden_dense_groups[GOLDEN_DENSE_GROUPS] = {
    {golden_sgd_cases, &golden_sgd_count},
    {golden_adam_cases, &golden_adam_count},
    {golden_rmsprop_cases, &golden_rmsprop_count},
    {golden_adopt_cases, &golden_adopt_count},
};
