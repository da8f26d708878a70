/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out, on the host or on a device, at each allocation of a life that parameters on two
 * devices and on the CPU share: the call that meets it says so and changes nothing, so that the same call
 * made again goes on, and all ends as if nothing had happened. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/device_memory.h"
#include "support/checks.h"
#include "support/counting_allocator.h"

#define ROWS 12
#define N (ROWS * 700) /* two chunks */
enum { PIECES = 7 };

/* Where each piece lives; the last one joins later. */
static const int places[PIECES] = {0, -1, 0, 1, 0, -1, 0};
static const hone_dtype types[PIECES] = {HONE_F32,  HONE_F32,  HONE_BF16, HONE_F32,
                                         HONE_BF16, HONE_BF16, HONE_F32};
enum { MATRIX = 4 };

struct life {
    struct counting counting;
    size_t device_fails_at; /* allocations from now on; 0: never */
    bool capturable;
    int refused;
    hone_context *context;
    hone_optimizer *optimizer;
    hone_tensor param[PIECES], grad[PIECES];
};

static const int64_t vector[] = {N}, matrix[] = {ROWS, N / ROWS};

static hone_tensor view(int piece, int seed)
{
    static unsigned char bytes[N * sizeof(float)];
    const size_t size = N * hone_dtype_size(types[piece]);
    for (int i = 0; i < N; i++) {
        const float value = (float)((i * 7 + piece * 5 + seed) % 41) * 0.25f - 5;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (types[piece] == HONE_F32)
            memcpy(bytes + (size_t)i * 4, &bits, 4);
        else
            memcpy(bytes + (size_t)i * 2, (const char *)&bits + 2, 2); /* exact: few digits */
    }
    void *const data = places[piece] < 0 ? malloc(size) : device_new(places[piece], size, 0);
    assert_non_null(data);
    if (places[piece] < 0)
        memcpy(data, bytes, size);
    else
        device_write(data, bytes, size);
    hone_tensor made = hone_tensor_view(data, types[piece], piece == MATRIX ? 2 : 1,
                                        piece == MATRIX ? matrix : vector);
    made.device = places[piece] < 0 ? HONE_CPU : HONE_CUDA;
    made.device_index = places[piece] < 0 ? 0 : places[piece];
    return made;
}

/* Once more where the first time there was no memory. */
#define TRY(call)                                                  \
    do {                                                           \
        const hone_status status = (call);                         \
        if (status != HONE_OK) {                                   \
            assert_int_equal(status, HONE_ERROR_MEMORY);           \
            assert_int_equal(problem.status, HONE_ERROR_MEMORY);   \
            l->refused++;                                          \
            l->counting.fail_at = device_control()->refuse_at = 0; \
            OK(call);                                              \
        }                                                          \
    } while (0)

static void add(struct life *l, int piece)
{
    char name[] = "p0";
    name[1] = (char)('0' + piece);
    int64_t index = -1;
    TRY(hone_optimizer_add(l->optimizer, name, &l->param[piece], piece == MATRIX ? 1 : 0, &index,
                           &problem));
    TRY(hone_optimizer_set_grad(l->optimizer, index, &l->grad[piece], &problem));
}

static void step(struct life *l, int times)
{
    for (int i = 0; i < times; i++)
        TRY(hone_optimizer_step(l->optimizer, NULL, &problem));
}

static void mask(struct life *l)
{
    static const uint32_t words[(N + 31) / 32] = {0xff00ff00u, 0x12345678u};
    const int64_t length[] = {(N + 31) / 32};
    const hone_tensor bits = hone_tensor_view((void *)(uintptr_t)words, HONE_U32, 1, length);
    hone_mask *made = NULL;
    TRY(hone_mask_from_words(&made, l->context, 1, vector, &bits, &problem));
    TRY(hone_optimizer_set_mask(l->optimizer, 0, made, &problem));
    hone_mask_free(made);
}

static void save_and_load(struct life *l)
{
    char path[64];
    snprintf(path, sizeof path, "failures.%ld.safetensors", (long)getpid());
    TRY(hone_optimizer_save(l->optimizer, path, &problem));
    TRY(hone_optimizer_load(l->optimizer, path, &problem));
    remove(path);
}

static void live(struct life *l)
{
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = 1;
    options.allocator = counting_allocator(&l->counting);
    const size_t at = l->counting.fail_at;
    l->counting.fail_at = 0;
    OK(hone_context_create(&l->context, &options, &problem));
    l->optimizer = test_optimizer(l->context, "adamw");
    for (int i = 0; i < PIECES; i++) {
        l->param[i] = view(i, 0);
        l->grad[i] = view(i, 19);
    }
    l->counting.fail_at = at == 0 ? 0 : l->counting.calls + at;
    device_control()->refuse_at =
        l->device_fails_at == 0 ? 0 : device_control()->allocations + l->device_fails_at;

    TRY(hone_optimizer_add_group(l->optimizer, "muon", NULL, &problem));
    TRY(hone_optimizer_set_precision(l->optimizer, 0, HONE_PRECISION_MASTER, &problem));
    for (int i = 0; i < PIECES - 1; i++)
        add(l, i);
    TRY(hone_optimizer_set_capturable(l->optimizer, l->capturable, &problem));
    mask(l);
    step(l, 2);
    TRY(hone_optimizer_clip_norm(l->optimizer, 3, 2, HONE_NONFINITE_SKIP, &problem));
    step(l, 2);
    add(l, PIECES - 1);
    step(l, 1);
    save_and_load(l);
    TRY(hone_optimizer_set_grad_accum_steps(l->optimizer, 2, true, &problem));
    step(l, 4);
    for (int i = 0; i < PIECES; i++)
        TRY(hone_optimizer_set_lr_multiplier(l->optimizer, i, 1.0 / (1 + i), &problem));
    step(l, 2);
    l->counting.fail_at = device_control()->refuse_at = 0;
}

static unsigned char *end(struct life *l)
{
    unsigned char *const all = calloc(PIECES, N * sizeof(float));
    assert_non_null(all);
    for (int i = 0; i < PIECES; i++) {
        const size_t size = N * hone_dtype_size(types[i]);
        unsigned char *const to = all + (size_t)i * N * sizeof(float);
        if (places[i] < 0) {
            memcpy(to, l->param[i].data, size);
            free(l->param[i].data);
            free(l->grad[i].data);
        } else
            device_read(to, l->param[i].data, size);
        uint64_t count = 0;
        OK(hone_optimizer_step_count(l->optimizer, i, &count, &problem));
        assert_int_equal(count, i == PIECES - 1 ? 4 : 8);
    }
    hone_optimizer_free(l->optimizer);
    hone_context_free(l->context);
    device_free_all();
    assert_int_equal(l->counting.blocks, 0);
    assert_int_equal(l->counting.wrong, 0);
    assert_int_equal(device_control()->bytes, 0);
    assert_int_equal(device_control()->wrong, 0);
    return all;
}

static void check(bool on_device, bool capturable)
{
    struct life l = {.capturable = capturable};
    live(&l);
    unsigned char *const wanted = end(&l);
    const size_t stride = test_is_quick() ? 7 : 1;
    int refused = 0;
    for (size_t at = 1;; at += stride) {
        l = (struct life){.capturable = capturable};
        *(on_device ? &l.device_fails_at : &l.counting.fail_at) = at;
        live(&l);
        refused += l.refused;
        const bool over = l.refused == 0;
        unsigned char *const found = end(&l);
        assert_memory_equal(found, wanted, PIECES * N * sizeof(float));
        free(found);
        if (over)
            break;
    }
    free(wanted);
    assert_true(refused >= (on_device ? 15 : 60) / (int)stride);
}

static void test_host_memory(void **state)
{
    (void)state;
    check(false, false);
    check(false, true);
}

static void test_device_memory(void **state)
{
    (void)state;
    check(true, false);
    check(true, true);
}

/* A step allocates nothing, wherever its parameters are. */
static void test_steps_allocate_nothing(void **state)
{
    (void)state;
    for (int capturable = 0; capturable < 2; capturable++) {
        struct life l = {.capturable = capturable};
        live(&l);
        const size_t calls = l.counting.calls, allocations = device_control()->allocations;
        for (int i = 0; i < 4; i++)
            OK(hone_optimizer_step(l.optimizer, NULL, &problem));
        assert_int_equal(l.counting.calls, calls);
        assert_int_equal(device_control()->allocations, allocations);
        for (int i = 0; i < PIECES; i++)
            if (places[i] < 0) {
                free(l.param[i].data);
                free(l.grad[i].data);
            }
        hone_optimizer_free(l.optimizer);
        hone_context_free(l.context);
        device_free_all();
    }
}

/* Masters that the device has failed to make are made by the next step. */
static void test_masters(void **state)
{
    (void)state;
    static unsigned char found[2][N * 2];
    for (int failing = 0; failing < 2; failing++) {
        hone_context *const context = test_context(1, NULL);
        hone_optimizer *const optimizer = test_optimizer(context, "sgd");
        const hone_tensor param = view(2, 0), grad = view(2, 19);
        OK(hone_optimizer_set_precision(optimizer, 0, HONE_PRECISION_MASTER, &problem));
        OK(hone_optimizer_add(optimizer, "w", &param, 0, NULL, &problem));
        OK(hone_optimizer_set_grad(optimizer, 0, &grad, &problem));
        OK(hone_optimizer_prepare(optimizer, &problem));
        device_control()->fail_at = failing ? device_control()->calls + 1 : 0;
        if (failing)
            FAILS(HONE_ERROR_DEVICE, "a master: device 0 answers \"the device fell off the bus\"",
                  hone_optimizer_step(optimizer, NULL, &problem));
        device_control()->fail_at = 0;
        OK(hone_optimizer_step(optimizer, NULL, &problem));
        device_read(found[failing], param.data, sizeof found[failing]);
        hone_optimizer_free(optimizer);
        hone_context_free(context);
        device_free_all();
    }
    assert_memory_equal(found[1], found[0], sizeof found[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_memory),
        cmocka_unit_test(test_device_memory),
        cmocka_unit_test(test_steps_allocate_nothing),
        cmocka_unit_test(test_masters),
    };
    device_start();
    if (device_control() == NULL)
        device_skip("a real device's memory does not run out when a test asks for it");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
