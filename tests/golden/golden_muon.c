/* SPDX-License-Identifier: Apache-2.0 */
/* Golden numbers of Muon: a 3x2 matrix and its transpose over two calls, and the bfloat16 direction
 * of the first call. All products were computed in float64. */
#include "golden_macros.h"

/* One row of the matrix per line. */
/* clang-format off */
static const double param[] = {
    1, 0,
    0, 1,
    0.5, -0.5,
};
static const double gradient1[] = {
    0.1, 0.2,
    -0.3, 0.1,
    0.05, 0,
};
static const double gradient2[] = {
    0.2, -0.1,
    0, 0.1,
    0.1, 0.3,
};
static const double wide_param[] = {
    1, 0, 0.5,
    0, 1, -0.5,
};
static const double wide_gradient1[] = {
    0.1, -0.3, 0.05,
    0.2, 0.1, 0,
};
static const double wide_gradient2[] = {
    0.2, 0, 0.1,
    -0.1, 0.1, 0.3,
};

#define COMMON {"lr", 0.02}, {"weight_decay", 0.1}, {"momentum", 0.95}
#define TALL .rows = 3, .columns = 2, .param = param, .gradients = {gradient1, gradient2}
#define WIDE \
    .rows = 2, .columns = 3, .param = wide_param, .gradients = {wide_gradient1, wide_gradient2}

const golden_muon_case golden_muon_cases[] = {
    {
        .name = "nesterov",
        .adjust_lr_fn = "original",
        TALL,
        .hypers = HYPERS(COMMON, {"nesterov", 1}),
        .expected_param = {NUMBERS(0.989815941679, -0.015125952738,
                                   0.0257115279386, 0.989857347143,
                                   0.494742348986, -0.498917189073),
                           NUMBERS(0.967426490665, -0.0133125435518,
                                   0.0378636729127, 0.975888625705,
                                   0.485038110805, -0.520505530602)},
        .expected_momentum_buffer = {NUMBERS(0.005, 0.01,
                                             -0.015, 0.005,
                                             0.0025, 0),
                                     NUMBERS(0.01475, 0.0045,
                                             -0.01425, 0.00975,
                                             0.007375, 0.015)},
        .expected_direction = {NUMBERS(0.334112781848, 0.617514434692,
                                       -1.04966873262, 0.332422410881,
                                       0.173817874791, -0.00338074193363),
                               NUMBERS(0.833227376909, -0.0727970911478,
                                       -0.498208578578, 0.489449150756,
                                       0.355778321139, 0.922076770237)},
    },
    {
        .name = "plain momentum",
        .adjust_lr_fn = "original",
        TALL,
        .hypers = HYPERS(COMMON, {"nesterov", 0}),
        .expected_param = {NUMBERS(0.989815941679, -0.015125952738,
                                   0.0257115279386, 0.989857347143,
                                   0.494742348986, -0.498917189073),
                           NUMBERS(0.970389741842, -0.0204823635997,
                                   0.0428692030532, 0.975046395416,
                                   0.485349689524, -0.516924144117)},
    },
    {
        .name = "nesterov, update of AdamW's size",
        .adjust_lr_fn = "match_rms_adamw",
        TALL,
        .hypers = HYPERS(COMMON, {"nesterov", 1}),
        .expected_param = {NUMBERS(0.995685198746, -0.00427826550117,
                                   0.00727231830402, 0.995696909979,
                                   0.497795754438, -0.498976577533),
                           NUMBERS(0.987921059744, -0.00376535592813,
                                   0.0107094639509, 0.990314512972,
                                   0.494335258416, -0.504366959636)},
    },
    {
        .name = "wide matrix",
        .adjust_lr_fn = "original",
        WIDE,
        .hypers = HYPERS(COMMON, {"nesterov", 1}),
        .expected_param = {NUMBERS(0.991317744363, 0.0209933746523, 0.495523642504,
                                   -0.0123502886938, 0.991351551782, -0.498932385161),
                           NUMBERS(0.972670561336, 0.0309155594746, 0.487417028796,
                                   -0.0108696462935, 0.979579865664, -0.516376055796)},
    },
    {
        .name = "wide matrix, unclamped",
        .adjust_lr_fn = "spectral_unclamped",
        WIDE,
        .hypers = HYPERS(COMMON, {"nesterov", 1}),
        .expected_param = {NUMBERS(0.99254396112, 0.0171410186257, 0.496161565991,
                                   -0.010083968492, 0.992571564762, -0.498944792715),
                           NUMBERS(0.97695232711, 0.0252424486084, 0.489359407203,
                                   -0.00887502903453, 0.98259375047, -0.513004353735)},
    },
};
const size_t golden_muon_count = COUNT(golden_muon_cases);

const double golden_muon_bfloat16_direction[6] = {
    0.328125, 0.61328125,
    -1.03125, 0.328125,
    0.1708984375, -0.0033721923828125,
};
const double golden_muon_bfloat16_distance = 0.01556;
/* clang-format on */
