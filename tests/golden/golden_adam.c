/* SPDX-License-Identifier: Apache-2.0 */
/* Golden numbers of Adam, AdamW, AdamW with two rates under a mask, and TensorFlow-style AdamW. */
#include "golden_macros.h"

/* One row per call. */
/* clang-format off */
static const double adam_param[] = {1, -2, 0.5};
static const double adam_gradients[] = {
    0.1, -0.2, 0,
    0.3, -0.1, 0.01,
    -0.2, 0.4, 0.02,
    0.1, 0.1, -0.5,
};

#define ADAM_INPUTS \
    .n = 3, .param = adam_param, .calls = 4, .gradient_rows = 4, .gradients = adam_gradients

#define ADAM_COMMON {"lr", 1e-2}, {"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}

/* Four elements of which a mask chooses two. */
static const double masked_param[] = {1, 1, -0.5, 0.25};
static const bool masked_mask[] = {true, false, true, false};
static const double masked_gradients[] = {
    0.1, 0.1, -0.3, 0.02,
    0.2, -0.1, -0.3, 0.02,
    -0.05, 0.1, 0.4, 0.02,
};

/* One element, for the TensorFlow-style family. */
static const double tf_param[] = {0.5};
static const double tf_gradients[] = {0.1, -0.2, 0.3};
static const double zero_param[] = {0};
static const double tiny_gradient[] = {1e-7};

const golden_case golden_adam_cases[] = {
    {
        .name = "adam default",
        .rule = "adam",
        ADAM_INPUTS,
        .hypers = HYPERS(ADAM_COMMON),
        .expectations = EXPECT(
            {"param", 1, 4,
             NUMBERS(0.990000001, -1.9900000005, 0.5,
                     0.980822190221, -1.9806782047, 0.492558642285,
                     0.978243152289, -1.9827417749, 0.484272922414,
                     0.974700598927, -1.98563302354, 0.489775363714)},
            {"exp_avg", 4, 1, NUMBERS(0.02359, 0.02332, -0.04739)},
            {"exp_avg_sq", 4, 1, NUMBERS(0.00014975011999, 0.00021970012996, 0.0002504994001)}),
    },
    {
        .name = "adam decay",
        .rule = "adam",
        ADAM_INPUTS,
        .hypers = HYPERS(ADAM_COMMON, {"weight_decay", 0.1}),
        .expectations = EXPECT(
            {"param", 1, 4,
             NUMBERS(0.9900000005, -1.99000000025, 0.490000002,
                     0.980345513614, -1.98017735508, 0.479991019287,
                     0.974493814349, -1.97553604051, 0.469962568122,
                     0.967789624208, -1.9707584113, 0.473810119509)},
            {"exp_avg", 4, 1, NUMBERS(0.0574670477701, -0.0449559566028, -0.030756455129)},
            {"exp_avg_sq", 4, 1, NUMBERS(0.000248135691193, 0.000299015511253, 0.000215798194329)}),
    },
    {
        .name = "adamw decay",
        .rule = "adamw",
        ADAM_INPUTS,
        .hypers = HYPERS(ADAM_COMMON, {"weight_decay", 0.1}),
        .expectations = EXPECT(
            {"param", 1, 4,
             NUMBERS(0.989000001, -1.9880000005, 0.4995,
                     0.97883319022, -1.9766902047, 0.491559142285,
                     0.975275319098, -1.97677708469, 0.482781863272,
                     0.970757490417, -1.97769155625, 0.487801522708)},
            {"exp_avg", 4, 1, NUMBERS(0.02359, 0.02332, -0.04739)},
            {"exp_avg_sq", 4, 1, NUMBERS(0.00014975011999, 0.00021970012996, 0.0002504994001)}),
    },
    {
        .name = "adamw decay maximize",
        .rule = "adamw",
        ADAM_INPUTS,
        .hypers = HYPERS(ADAM_COMMON, {"weight_decay", 0.1}, {"maximize", 1}),
        .expectations = EXPECT(
            {"param", 1, 4,
             NUMBERS(1.008999999, -2.0079999995, 0.4995,
                     1.01716880978, -2.0153137953, 0.506441857715,
                     1.0187306789, -2.01123491131, 0.514221135728,
                     1.02125450159, -2.00633242775, 0.508204473293)},
            {"exp_avg", 4, 1, NUMBERS(-0.02359, -0.02332, 0.04739)},
            {"exp_avg_sq", 4, 1, NUMBERS(0.00014975011999, 0.00021970012996, 0.0002504994001)}),
    },
    {
        .name = "adamw decay amsgrad",
        .rule = "adamw",
        ADAM_INPUTS,
        .hypers = HYPERS({"lr", 1e-2}, {"beta1", 0.9}, {"beta2", 0.5}, {"eps", 1e-8},
                         {"weight_decay", 0.1}, {"amsgrad", 1}),
        .expectations =
            EXPECT({"param", 1, 4,
                    NUMBERS(0.989000001, -1.9880000005, 0.4995,
                            0.979854670493, -1.97698756516, 0.492554482256,
                            0.97648334625, -1.97673757788, 0.485388619253,
                            0.972459427006, -1.97698045692, 0.48867538805)},
                   {"exp_avg_sq", 4, 1, NUMBERS(0.026875, 0.04875, 0.1251125)},
                   {"max_exp_avg_sq", 4, 1, NUMBERS(0.0475, 0.0875, 0.1251125)}),
    },
    {
        .name = "adam gradient as small as eps",
        .rule = "adam",
        .n = 1,
        .param = zero_param,
        .calls = 3,
        .gradient_rows = 1,
        .gradients = tiny_gradient,
        .hypers = HYPERS({"lr", 1e-3}, {"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}),
        .expectations = EXPECT(
            {"param", 1, 3,
             NUMBERS(-0.000909090909090909,
                     -0.0018181818181818121,
                     -0.0027272727272727205)}),
    },
    {
        .name = "masked adamw",
        .rule = "adamw",
        .n = 4,
        .param = masked_param,
        .mask = masked_mask,
        .calls = 3,
        .gradient_rows = 3,
        .gradients = masked_gradients,
        .hypers = HYPERS({"masked_lr", 1e-2}, {"unmasked_lr", 1e-4}, {"beta1", 0.9},
                         {"beta2", 0.999}, {"eps", 1e-8}, {"weight_decay", 0.01}),
        .expectations =
            EXPECT({"param", 1, 3,
                    NUMBERS(0.989900001, 0.99989900001, -0.489950000333, 0.24989975005,
                            0.980149191352, 0.999903263268, -0.479901005667, 0.2497995002,
                            0.974165109551, 0.999868684033, -0.478614545322, 0.249699250451)},
                   {"exp_avg", 1, 3,
                    NUMBERS(0.01, 0.01, -0.03, 0.002,
                            0.029, -0.001, -0.057, 0.0038,
                            0.0211, 0.0091, -0.0113, 0.00542)},
                   {"exp_avg_sq", 1, 3,
                    NUMBERS(1e-05, 1e-05, 9e-05, 4e-07,
                            4.999e-05, 1.999e-05, 0.00017991, 7.996e-07,
                            5.244001e-05, 2.997001e-05, 0.00033973009, 1.1988004e-06)}),
    },
    {
        /* A constant gradient moves each element by its own rate per call: eps 0 makes it exact. */
        .name = "masked adamw drift",
        .rule = "adamw",
        .n = 2,
        .param = NUMBERS(0, 0),
        .mask = FLAGS(true, false),
        .calls = 1000,
        .gradient_rows = 1,
        .gradients = NUMBERS(1, 1),
        .hypers = HYPERS({"masked_lr", 1e-3}, {"unmasked_lr", 1e-5}, {"beta1", 0.9},
                         {"beta2", 0.999}, {"eps", 0}, {"weight_decay", 0}),
        .expectations = EXPECT(
            {"param", 1, 2, NUMBERS(-1e-3, -1e-5,
                                    -2e-3, -2e-5)},
            {"param", 5, 1, NUMBERS(-5e-3, -5e-5)}, {"param", 10, 1, NUMBERS(-1e-2, -1e-4)},
            {"param", 100, 1, NUMBERS(-1e-1, -1e-3)}, {"param", 1000, 1, NUMBERS(-1, -1e-2)}),
    },
    {
        /* Without a gradient only the decay is left, and its factor holds the element's rate. */
        .name = "masked adamw decay",
        .rule = "adamw",
        .n = 2,
        .param = NUMBERS(1, 1),
        .mask = FLAGS(true, false),
        .calls = 1,
        .gradient_rows = 1,
        .gradients = NUMBERS(0, 0),
        .hypers = HYPERS({"masked_lr", 1e-3}, {"unmasked_lr", 1e-5}, {"beta1", 0.9},
                         {"beta2", 0.999}, {"eps", 1e-8}, {"weight_decay", 0.01}),
        .expectations = EXPECT({"param", 1, 1, NUMBERS(0.99999, 0.9999999)}),
    },
    {
        .name = "adamw_tf one element",
        .rule = "adamw_tf",
        .n = 1,
        .param = tf_param,
        .calls = 3,
        .gradient_rows = 3,
        .gradients = tf_gradients,
        .hypers = HYPERS({"lr", 1e-3}, {"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8},
                         {"weight_decay", 1e-2}),
        .expectations = EXPECT(
            {"param", 1, 3, NUMBERS(0.49400000316226766,
                                    0.4894261061398812,
                                    0.48418860428834404)}),
    },
    {
        .name = "adamw_tf gradient as small as eps",
        .rule = "adamw_tf",
        .n = 1,
        .param = zero_param,
        .calls = 3,
        .gradient_rows = 1,
        .gradients = tiny_gradient,
        .hypers = HYPERS({"lr", 1e-3}, {"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8},
                         {"weight_decay", 0}),
        .expectations = EXPECT(
            {"param", 1, 3,
             NUMBERS(-0.00024025307335204222,
                     -0.0005492166755544686,
                     -0.0009029917068797662)}),
    },
    {
        .name = "adamw_tf decay",
        .rule = "adamw_tf",
        ADAM_INPUTS,
        .hypers = HYPERS(ADAM_COMMON, {"weight_decay", 1e-2}),
        .expectations =
            EXPECT({"param", 1, 4,
                    NUMBERS(0.980000031623, -1.97000001581, 0.495,
                            0.961022229295, -1.94097823245, 0.482608867074,
                            0.948832971132, -1.92363201898, 0.469497169304,
                            0.93580209077, -1.90728694561, 0.470304635654)}),
    },
};
const size_t golden_adam_count = COUNT(golden_adam_cases);
/* clang-format on */
