/* SPDX-License-Identifier: Apache-2.0 */
/* Round numbers for axes. */
#include "terminal/axis.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The decimal number that a multiple of a step stands for. */
static double decimal(double value)
{
    char text[AXIS_LABEL_SIZE];
    snprintf(text, sizeof text, "%.12g", value);
    return strtod(text, NULL);
}

axis axis_over(double low, double high, int most)
{
    static const double factors[] = {10, 5, 2, 1};
    const double slack = 1e-9; /* of a step, for quotients that should be whole */
    if (!(high > low))
        low = 0;
    if (!(high > 0) || !isfinite(high))
        high = 1;
    const double power = pow(10, floor(log10((high - low) / most)));
    axis axis = {decimal(100 * power), 0, 1};
    for (int i = 0; i < 4; i++) {
        const double step = decimal(factors[i] * power);
        const double first = floor(low / step + slack), last = ceil(high / step - slack);
        if (step > 0 && last - first <= most && last - first >= 1)
            axis = (struct axis){step, (int)first, (int)(last - first)};
    }
    return axis;
}

double axis_value(const axis *axis, int tick)
{
    return decimal(axis->step * (axis->first + tick));
}

double axis_place(const axis *axis, double value)
{
    return (value / axis->step - axis->first) / axis->ticks;
}

axis axis_within(int64_t high, int most)
{
    if (high < 1)
        return (axis){1, 0, 0};
    axis axis = axis_over(0, (double)high, most);
    axis.step = fmax(axis.step, 1);
    axis.ticks = (int)floor((double)high / axis.step);
    return axis;
}

const char *axis_label(char text[AXIS_LABEL_SIZE], const axis *axis, int tick)
{
    const double value = axis_value(axis, tick);
    snprintf(text, AXIS_LABEL_SIZE, value >= 1e5 && value < 1e15 ? "%.0f" : "%.6g", value);
    return text;
}
