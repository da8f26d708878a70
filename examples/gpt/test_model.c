/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the model on a tiny configuration: every value of every gradient against a central
 * difference, and that results repeat. Built twice: with GPT_DOUBLE the differences are exact to
 * about 1e-9 and catch any wrong formula; in float, the model that the demo trains, to 1e-2. */
#include "model.h"
#include "random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

enum { BATCH = 5, CONTEXT = 6, TOKENS = BATCH * CONTEXT };

static const gpt_config tiny = {
    .layers = 2, .heads = 2, .width = 8, .context = CONTEXT, .vocabulary = 11, .batch = BATCH};

static int failures;

static void check(int condition, const char *what)
{
    if (condition)
        return;
    printf("FAILED: %s\n", what);
    failures++;
}

static void make_tokens(uint8_t *inputs, uint8_t *targets)
{
    for (int i = 0; i < TOKENS; i++) {
        inputs[i] = (uint8_t)(random_bits(3, 0, (uint64_t)i) % (uint64_t)tiny.vocabulary);
        targets[i] = (uint8_t)(random_bits(3, 1, (uint64_t)i) % (uint64_t)tiny.vocabulary);
    }
}

/* Initial weights leave attention nearly uniform and biases at 0, where wrong formulas hide. */
static void spread_weights(gpt_model *model)
{
    for (int t = 0; t < gpt_tensor_count(model); t++) {
        gpt_tensor *tensor = gpt_tensor_at(model, t);
        for (int64_t i = 0; i < tensor->count; i++)
            tensor->data[i] += (gpt_real)(0.4 * random_normal(5, (uint64_t)t, (uint64_t)i));
    }
}

static gpt_model *make_model(uint64_t seed)
{
    gpt_model *model = gpt_create(&tiny, seed);
    if (model == NULL) {
        printf("FAILED: the tiny model could not be created\n");
        exit(1);
    }
    return model;
}

static double absolute(double x)
{
    return x < 0 ? -x : x;
}

/* (loss(x + h) - loss(x - h)) / 2h, with the h that rounding of x left. */
static double central_difference(gpt_model *model, gpt_real *value, double step,
                                 const uint8_t *inputs, const uint8_t *targets)
{
    const gpt_real kept = *value;
    const gpt_real above = (gpt_real)((double)kept + step);
    const gpt_real below = (gpt_real)((double)kept - step);
    *value = above;
    const double loss_above = gpt_loss(model, inputs, targets);
    *value = below;
    const double loss_below = gpt_loss(model, inputs, targets);
    *value = kept;
    return (loss_above - loss_below) / ((double)above - (double)below);
}

static void check_tensor(gpt_model *model, gpt_tensor *tensor, const uint8_t *inputs,
                         const uint8_t *targets)
{
    const int is_double = sizeof(gpt_real) == sizeof(double);
    const double step = is_double ? 1e-5 : 3e-3;
    const double absolute_tolerance = is_double ? 1e-9 : 3e-4;
    const double relative_tolerance = is_double ? 1e-6 : 1e-2;
    double largest = 0;
    for (int64_t i = 0; i < tensor->count; i++) {
        const double written = (double)tensor->grad[i];
        const double measured = central_difference(model, &tensor->data[i], step, inputs, targets);
        const double allowed = absolute_tolerance + relative_tolerance * absolute(measured);
        largest = absolute(written) > largest ? absolute(written) : largest;
        if (!(absolute(written - measured) <= allowed)) {
            printf("FAILED: gradient of %s[%lld] is %.12g, a central difference gives %.12g "
                   "(allowed difference %.2g)\n",
                   tensor->name, (long long)i, written, measured, allowed);
            failures++;
            return;
        }
    }
    if (!(largest > 1e-3)) {
        printf("FAILED: the gradient of %s is too small (%g) to prove anything\n", tensor->name,
               largest);
        failures++;
    }
}

static void test_gradients(void)
{
    uint8_t inputs[TOKENS];
    uint8_t targets[TOKENS];
    make_tokens(inputs, targets);
    gpt_model *model = make_model(1);
    spread_weights(model);
    gpt_loss_and_gradients(model, inputs, targets);
    for (int t = 0; t < gpt_tensor_count(model); t++)
        check_tensor(model, gpt_tensor_at(model, t), inputs, targets);
    gpt_free(model);
}

/* No byte may see what follows it. A model one position shorter, with the same weights, gives the
 * loss of all but the last byte; the rest is the last byte's, and over all values that byte could
 * have, exp(-loss) must sum to 1. It does not when the last input changes an earlier loss. */
static void test_causality(void)
{
    uint8_t inputs[TOKENS];
    uint8_t targets[TOKENS];
    make_tokens(inputs, targets);
    gpt_config one = tiny;
    one.batch = 1;
    gpt_model *whole = gpt_create(&one, 1);
    one.context = CONTEXT - 1;
    gpt_model *shorter = gpt_create(&one, 1);
    if (whole == NULL || shorter == NULL) {
        printf("FAILED: the models of one sequence could not be created\n");
        exit(1);
    }
    spread_weights(whole);
    spread_weights(shorter);
    const double loss_before = (CONTEXT - 1) * gpt_loss(shorter, inputs, targets);
    double sum = 0;
    for (int value = 0; value < tiny.vocabulary; value++) {
        targets[CONTEXT - 1] = (uint8_t)value;
        sum += exp(loss_before - CONTEXT * gpt_loss(whole, inputs, targets));
    }
    check(absolute(sum - 1) < (sizeof(gpt_real) == sizeof(double) ? 1e-9 : 1e-4),
          "probabilities of the last byte sum to 1, so the earlier ones did not see it");
    gpt_free(whole);
    gpt_free(shorter);
}

static int same_bits(gpt_model *a, gpt_model *b, int gradients)
{
    for (int t = 0; t < gpt_tensor_count(a); t++) {
        const gpt_tensor *x = gpt_tensor_at(a, t);
        const gpt_tensor *y = gpt_tensor_at(b, t);
        const size_t size = (size_t)x->count * sizeof(gpt_real);
        if (strcmp(x->name, y->name) != 0 ||
            memcmp(gradients ? x->grad : x->data, gradients ? y->grad : y->data, size) != 0)
            return 0;
    }
    return 1;
}

static void test_determinism(void)
{
    uint8_t inputs[TOKENS];
    uint8_t targets[TOKENS];
    make_tokens(inputs, targets);
    gpt_model *a = make_model(7);
    gpt_model *b = make_model(7);
    gpt_model *other = make_model(8);
    check(same_bits(a, b, 0), "the same seed gives the same weights");
    check(!same_bits(a, other, 0), "another seed gives other weights");
    spread_weights(a);
    spread_weights(b);
    const double loss = gpt_loss_and_gradients(a, inputs, targets);
    check(loss == gpt_loss(a, inputs, targets), "both passes give the same loss");
    for (int threads = 1; threads <= 5; threads++) {
#ifdef _OPENMP
        omp_set_num_threads(threads);
#endif
        gpt_zero_gradients(b);
        check(gpt_loss_and_gradients(b, inputs, targets) == loss,
              "the loss does not depend on the number of threads");
        check(same_bits(a, b, 1), "gradients do not depend on the number of threads");
    }
    gpt_free(a);
    gpt_free(b);
    gpt_free(other);
}

static void test_accumulation(void)
{
    uint8_t inputs[TOKENS];
    uint8_t targets[TOKENS];
    make_tokens(inputs, targets);
    gpt_model *a = make_model(7);
    gpt_model *b = make_model(7);
    gpt_loss_and_gradients(a, inputs, targets);
    gpt_loss_and_gradients(b, inputs, targets);
    gpt_loss_and_gradients(b, inputs, targets);
    for (int t = 0; t < gpt_tensor_count(a); t++) {
        gpt_tensor *tensor = gpt_tensor_at(a, t);
        for (int64_t i = 0; i < tensor->count; i++)
            tensor->grad[i] *= 2;
    }
    check(same_bits(a, b, 1), "a second pass adds to the gradients");
    gpt_zero_gradients(b);
    for (int t = 0; t < gpt_tensor_count(b); t++) {
        const gpt_tensor *tensor = gpt_tensor_at(b, t);
        for (int64_t i = 0; i < tensor->count; i++)
            if (tensor->grad[i] != 0) {
                check(0, "gpt_zero_gradients clears every gradient");
                break;
            }
    }
    gpt_free(a);
    gpt_free(b);
}

static void test_tensor_list(void)
{
    gpt_model *model = make_model(1);
    int64_t count = 0;
    for (int t = 0; t < gpt_tensor_count(model); t++) {
        const gpt_tensor *tensor = gpt_tensor_at(model, t);
        count += tensor->count;
        check((uintptr_t)tensor->data % 64 == 0 && (uintptr_t)tensor->grad % 64 == 0,
              "tensors are 64-byte aligned");
        check(tensor->count == tensor->shape[0] * tensor->shape[1], "counts match shapes");
        for (int other = 0; other < t; other++)
            check(strcmp(tensor->name, gpt_tensor_at(model, other)->name) != 0, "names are unique");
    }
    const int64_t width = tiny.width;
    const int64_t block = 12 * width * width + 13 * width;
    check(count == gpt_parameter_count(model) &&
              count == (2 * tiny.vocabulary + tiny.context + 2) * width + tiny.layers * block,
          "the number of parameters is the one the sizes give");
    gpt_free(model);
}

static void test_bad_sizes(void)
{
    gpt_config bad[] = {tiny, tiny, tiny, tiny, tiny, tiny};
    bad[0].layers = 0;
    bad[1].heads = 3;
    bad[2].context = 0;
    bad[3].vocabulary = 257;
    bad[4].batch = 0;
    bad[5] = (gpt_config){1, 1, 8192, 4096, 256, 512};
    check(gpt_config_problem(&tiny) == NULL, "the tiny sizes are accepted");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        check(gpt_config_problem(&bad[i]) != NULL, "bad sizes have a sentence");
        check(gpt_create(&bad[i], 1) == NULL, "bad sizes make no model");
    }
    gpt_free(NULL);
}

int main(void)
{
    test_tensor_list();
    test_bad_sizes();
    test_gradients();
    test_causality();
    test_determinism();
    test_accumulation();
    if (failures == 0)
        printf("model tests passed, computing in %s\n",
               sizeof(gpt_real) == sizeof(double) ? "double" : "float");
    return failures != 0;
}
