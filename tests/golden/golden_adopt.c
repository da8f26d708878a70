/* SPDX-License-Identifier: Apache-2.0 */
/* Golden numbers of ADOPT, with and without its clip, and of its form before November 2024. */
#include "golden_macros.h"

/* One row per call. */
/* clang-format off */
static const double adopt_param[] = {1, -2, 0.5};
static const double adopt_gradients[] = {
    0.1, -0.2, 0,
    0.3, -0.1, 0.01,
    -0.2, 0.4, 0.02,
    0.1, 0.1, -0.5,
};

/* The second moment sees only the gradient, so every variant without L2 decay has this one. */
static const double undecayed_exp_avg_sq[] = {
    0.01, 0.04, 0,
    0.010008, 0.039997, 1e-08,
    0.0100109992, 0.0400090003, 4.9999e-08,
    0.0100109981001, 0.0400059994, 2.50499940001e-05,
};

#define ADOPT_INPUTS                                                               \
    .rule = "adopt", .n = 3, .param = adopt_param, .calls = 4, .gradient_rows = 4, \
    .gradients = adopt_gradients

#define ADOPT_COMMON {"lr", 1e-2}, {"beta1", 0.9}, {"beta2", 0.9999}, {"eps", 1e-6}

const golden_case golden_adopt_cases[] = {
    {
        .name = "adopt default",
        ADOPT_INPUTS,
        .hypers = HYPERS(ADOPT_COMMON),
        .expectations =
            EXPECT({"param", 1, 4,
                    NUMBERS(1, -2, 0.5,
                            0.999, -1.9995, 0.499,
                            0.999289207115, -2.00023920712, 0.496910792885,
                            0.998550043025, -2.00140443728, 0.496346580494)},
                   {"exp_avg", 1, 4,
                    NUMBERS(0, 0, 0,
                            0.1, -0.05, 0.1,
                            -0.0289207115003, 0.0739207115003, 0.2089207115,
                            0.0739164089766, 0.116523016112, 0.056421239055)},
                   {"exp_avg_sq", 1, 4, undecayed_exp_avg_sq}),
    },
    {
        .name = "adopt decay",
        ADOPT_INPUTS,
        .hypers = HYPERS(ADOPT_COMMON, {"weight_decay", 0.1}),
        .expectations =
            EXPECT({"param", 1, 4,
                    NUMBERS(1, -2, 0.5,
                            0.999, -1.99925, 0.499,
                            0.998600424942, -1.99907519844, 0.496910792885,
                            0.997241619589, -1.99866809341, 0.496346580494)},
                   {"exp_avg", 1, 4,
                    NUMBERS(0, 0, 0,
                            0.1, -0.075, 0.1,
                            0.0399575058112, -0.0174801558039, 0.2089207115,
                            0.135880535246, -0.04071050303, 0.056421239055)},
                   {"exp_avg_sq", 1, 4,
                    NUMBERS(0.04, 0.16, 0.0025,
                            0.040012, 0.159993, 0.00250011,
                            0.040009000801, 0.159981003701, 0.00250034859,
                            0.0400089943046, 0.159966003751, 0.00252037636755)}),
    },
    {
        .name = "adopt decoupled decay",
        ADOPT_INPUTS,
        .hypers = HYPERS(ADOPT_COMMON, {"weight_decay", 0.1}, {"decouple", 1}),
        .expectations =
            EXPECT({"param", 1, 4,
                    NUMBERS(1, -2, 0.5,
                            0.998, -1.9975, 0.4985,
                            0.997291207115, -1.99624170712, 0.495912292885,
                            0.995554751818, -1.99541069557, 0.494852168202)},
                   {"exp_avg", 1, 4,
                    NUMBERS(0, 0, 0,
                            0.1, -0.05, 0.1,
                            -0.0289207115003, 0.0739207115003, 0.2089207115,
                            0.0739164089766, 0.116523016112, 0.056421239055)},
                   {"exp_avg_sq", 1, 4, undecayed_exp_avg_sq}),
    },
    {
        .name = "adopt without clip",
        ADOPT_INPUTS,
        .hypers = HYPERS(ADOPT_COMMON, {"clip_none", 1}),
        .expectations =
            EXPECT({"param", 1, 4,
                    NUMBERS(1, -2, 0.5,
                            0.997, -1.9995, -9.5,
                            0.99629920048, -2.001050075, -18.7,
                            0.994669030418, -2.00294508627, -24.7439096615)},
                   {"exp_avg", 1, 4,
                    NUMBERS(0, 0, 0,
                            0.3, -0.05, 1000,
                            0.070079952032, 0.155007500422, 920,
                            0.163017006156, 0.189501126141, 604.390966148)},
                   {"exp_avg_sq", 1, 4, undecayed_exp_avg_sq}),
    },
    {
        .name = "adopt maximize",
        ADOPT_INPUTS,
        .hypers = HYPERS(ADOPT_COMMON, {"maximize", 1}),
        .expectations =
            EXPECT({"param", 1, 4,
                    NUMBERS(1, -2, 0.5,
                            1.001, -2.0005, 0.501,
                            1.00071079288, -1.99976079288, 0.503089207115,
                            1.00144995697, -1.99859556272, 0.503653419506)},
                   {"exp_avg", 1, 4,
                    NUMBERS(0, 0, 0,
                            -0.1, 0.05, -0.1,
                            0.0289207115003, -0.0739207115003, -0.2089207115,
                            -0.0739164089766, -0.116523016112, -0.056421239055)},
                   {"exp_avg_sq", 1, 4, undecayed_exp_avg_sq}),
    },
    {
        .name = "adopt before November 2024",
        ADOPT_INPUTS,
        .hypers = HYPERS(ADOPT_COMMON, {"clip_none", 1}, {"compatibility_2024_11_06", 1}),
        .expectations =
            EXPECT({"param", 1, 4,
                    NUMBERS(1, -2, 0.5,
                            0.97, -1.995, -99.5,
                            0.94499920048, -1.992500075, -189.7,
                            0.921499030418, -1.99075008627, -268.643909661)},
                   {"exp_avg", 1, 4,
                    NUMBERS(0, 0, 0,
                            3, -0.5, 10000,
                            2.50007995203, -0.249992499578, 9020,
                            2.35001700616, -0.174998873859, 7894.39096615)}),
    },
    {
        .name = "adopt before November 2024, decoupled decay",
        ADOPT_INPUTS,
        .hypers = HYPERS(ADOPT_COMMON, {"clip_none", 1}, {"compatibility_2024_11_06", 1},
                         {"weight_decay", 0.1}, {"decouple", 1}),
        .expectations = EXPECT({"param", 1, 4,
                                NUMBERS(0.999, -1.998, 0.4995,
                                        0.968001, -1.991002, -99.5009995,
                                        0.94203219948, -1.986511073, -189.601498501,
                                        0.917589997219, -1.98277457319, -268.355806663)}),
    },
};
const size_t golden_adopt_count = COUNT(golden_adopt_cases);
/* clang-format on */
