/* SPDX-License-Identifier: Apache-2.0 */
/* A device that is not one: the seam of kernel/device.h over the host's memory and base kernels. It lets
 * everything of the core that deals with devices run on a machine without any, and fails where a test
 * asks it to. Streams are struct host_stream; there are two devices. */
#include "device/host_target.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "device/host_polar.h"
#include "kernel/device.h"
#include "kernel/noise.h"
#include "kernel/stage.h"

#define DEVICES 2
#define MOST_BLOCKS 4096

struct block {
    char *data;
    size_t size;
    int device;
};

/* The list of blocks and the counters, which optimizers on several threads share. */
static pthread_mutex_t shared = PTHREAD_MUTEX_INITIALIZER;
static struct block blocks[MOST_BLOCKS];
static const struct hone_device_status fine = {HONE_DEVICE_OK, "no error"};

static struct hone_device_status failing(enum hone_device_fault fault, const char *text)
{
    return (struct hone_device_status){fault, text};
}

/* The counter after one more. */
static size_t count(size_t *counter)
{
    pthread_mutex_lock(&shared);
    const size_t counted = ++*counter;
    pthread_mutex_unlock(&shared);
    return counted;
}

/* Counts a call that the real device could refuse. */
static struct hone_device_status attempt(void)
{
    const size_t calls = count(&host_device_control.calls);
    if (host_device_control.fail_at != 0 && calls >= host_device_control.fail_at)
        return failing(HONE_DEVICE_LOST, "the device fell off the bus");
    return fine;
}

struct hone_device_status host_launch(struct hone_device_queue queue)
{
    const struct host_stream *const stream = queue.stream;
    count(&host_device_control.launches);
    if (stream != NULL && stream->capturing && stream->graph != NULL)
        return failing(HONE_DEVICE_ARGUMENT, "the stand-in records no such launch");
    if (stream != NULL && stream->device != queue.device)
        return failing(HONE_DEVICE_ARGUMENT, "invalid resource handle");
    return attempt();
}

/* ---- graphs ------------------------------------------------------------------------------------ */

#define MOST_NODES 64
#define MOST_PUT 8192

enum kind { PUT, STEP, PREPARE, NORM, JUDGE };

/* A launch with its arguments as they were. */
struct node {
    enum kind kind;
    struct hone_device_queue queue;
    int rule, direct;
    bool wide;
    void *to;
    size_t size;
    union {
        unsigned char put[MOST_PUT];
        struct hone_device_call step;
        struct hone_device_prepare prepare;
        struct hone_device_norm norm;
        struct hone_device_judgement judge;
    } call;
};

struct host_graph {
    size_t count;
    struct node nodes[MOST_NODES];
};

static struct host_graph *new_graph(void)
{
    return calloc(1, sizeof(struct host_graph));
}

static void free_graph(struct host_graph *graph)
{
    free(graph);
}

/* Where the launch is recorded; NULL: it goes ahead. */
static struct node *record(struct hone_device_queue queue, enum kind kind, const void *call,
                           size_t size)
{
    struct host_stream *const stream = queue.stream;
    if (stream == NULL || !stream->capturing || stream->graph == NULL ||
        stream->graph->count == MOST_NODES || size > sizeof stream->graph->nodes[0].call)
        return NULL;
    struct node *const node = &stream->graph->nodes[stream->graph->count++];
    *node = (struct node){.kind = kind, .queue = queue, .size = size};
    memcpy(&node->call, call, size);
    return node;
}

/* ---- memory ------------------------------------------------------------------------------------ */

static struct hone_device_status open_device(int device, struct hone_device_facts *facts)
{
    if (device < 0 || device >= DEVICES)
        return failing(HONE_DEVICE_UNSUPPORTED, "invalid device ordinal");
    snprintf(facts->name, sizeof facts->name, "host");
    facts->major = 1;
    facts->multiprocessors = 1;
    switch (host_device_control.open_fault) {
    case HONE_DEVICE_OK:
        return fine;
    case HONE_DEVICE_MEMORY:
        return failing(HONE_DEVICE_MEMORY, "out of memory");
    case HONE_DEVICE_LOST:
        return failing(HONE_DEVICE_LOST, "the device fell off the bus");
    default:
        return failing(HONE_DEVICE_UNSUPPORTED, "no kernel image is available");
    }
}

static struct hone_device_status locate(const void *memory, int *device)
{
    *device = -1;
    pthread_mutex_lock(&shared);
    for (int i = 0; i < MOST_BLOCKS; i++)
        if (blocks[i].data != NULL && (const char *)memory >= blocks[i].data &&
            (const char *)memory < blocks[i].data + blocks[i].size)
            *device = blocks[i].device;
    pthread_mutex_unlock(&shared);
    return fine;
}

static struct hone_device_status inspect(struct hone_device_queue queue, bool *capturing)
{
    const struct host_stream *const stream = queue.stream;
    *capturing = stream != NULL && stream->capturing;
    if (stream != NULL && stream->device != queue.device)
        return failing(HONE_DEVICE_ARGUMENT, "the stream was created on another device");
    return fine;
}

/* The first block whose memory is this, NULL the first free one; NULL: there is none. */
static struct block *find_block(const void *memory)
{
    for (int i = 0; i < MOST_BLOCKS; i++)
        if (blocks[i].data == memory)
            return &blocks[i];
    return NULL;
}

static struct hone_device_status allocate(struct hone_device_queue queue, size_t size,
                                          void **memory)
{
    struct host_control *const control = &host_device_control;
    const size_t allocations = count(&control->allocations);
    if (control->refuse_at != 0 && allocations >= control->refuse_at)
        return failing(HONE_DEVICE_MEMORY, "out of memory");
    char *const made = aligned_alloc(256, (size + 255) / 256 * 256);
    if (made == NULL)
        return failing(HONE_DEVICE_MEMORY, "out of memory");
    memset(made, 0xa5, size);
    pthread_mutex_lock(&shared);
    struct block *const block = find_block(NULL);
    if (block != NULL) {
        *block = (struct block){made, size, queue.device};
        control->bytes += size;
    }
    pthread_mutex_unlock(&shared);
    if (block == NULL) {
        free(made);
        return failing(HONE_DEVICE_MEMORY, "out of memory");
    }
    *memory = made;
    return fine;
}

static void release(struct hone_device_queue queue, void *memory)
{
    (void)queue;
    pthread_mutex_lock(&shared);
    struct block *const block = memory == NULL ? NULL : find_block(memory);
    if (block != NULL) {
        host_device_control.bytes -= block->size;
        *block = (struct block){0};
    } else {
        host_device_control.wrong++;
    }
    pthread_mutex_unlock(&shared);
    free(block == NULL ? NULL : memory);
}

static struct hone_device_status copy(struct hone_device_queue queue, void *to, const void *from,
                                      size_t size)
{
    struct node *const node = record(queue, PUT, from, size);
    if (node != NULL) {
        node->to = to;
        return fine;
    }
    const struct hone_device_status status = host_launch(queue);
    if (status.fault == HONE_DEVICE_OK)
        memcpy(to, from, size);
    return status;
}

/* What must not happen inside a capture. */
static struct hone_device_status copy_outside(struct hone_device_queue queue, void *to,
                                              const void *from, size_t size)
{
    bool capturing;
    inspect(queue, &capturing);
    count(&host_device_control.waits);
    return capturing
               ? failing(HONE_DEVICE_ARGUMENT, "operation not permitted when stream is capturing")
               : copy(queue, to, from, size);
}

static struct hone_device_status zero(struct hone_device_queue queue, void *memory, size_t size)
{
    const struct hone_device_status status = host_launch(queue);
    if (status.fault == HONE_DEVICE_OK)
        memset(memory, 0, size);
    return status;
}

static struct hone_device_status wait_for(struct hone_device_queue queue)
{
    count(&host_device_control.waits);
    return host_launch(queue);
}

/* Whether all of it is memory of one block. */
bool host_holds(const void *memory, size_t size)
{
    bool held = false;
    pthread_mutex_lock(&shared);
    for (int i = 0; i < MOST_BLOCKS; i++)
        held = held || (blocks[i].data != NULL && (const char *)memory >= blocks[i].data &&
                        (const char *)memory + size <= blocks[i].data + blocks[i].size);
    pthread_mutex_unlock(&shared);
    return held;
}

/* ---- arrays ------------------------------------------------------------------------------------ */

static const struct hone_support_kernels *support(void)
{
    return hone_cpu_level_at(0)->support;
}

static struct hone_device_status convert(struct hone_device_queue queue, void *to,
                                         enum hone_format to_format, const void *from,
                                         enum hone_format from_format, size_t count)
{
    const struct hone_device_status status = host_launch(queue);
    for (size_t i = 0; status.fault == HONE_DEVICE_OK && i < count; i++) {
        double value;
        support()->widen_f64[from_format](
            &value, (const char *)from + i * hone_format_size(from_format), 1);
        support()->narrow_f64[to_format]((char *)to + i * hone_format_size(to_format), &value, 1);
    }
    return status;
}

static struct hone_device_status fill(struct hone_device_queue queue, void *to,
                                      enum hone_format format, double value, size_t count)
{
    const struct hone_device_status status = host_launch(queue);
    for (size_t i = 0; status.fault == HONE_DEVICE_OK && i < count; i++)
        support()->narrow_f64[format]((char *)to + i * hone_format_size(format), &value, 1);
    return status;
}

/* ---- chunks ------------------------------------------------------------------------------------ */

static void *at(const void *values, enum hone_format format, size_t first)
{
    return values == NULL ? NULL : (char *)(uintptr_t)values + first * hone_format_size(format);
}

static struct hone_stage stage_of(const struct hone_device_tensor *t, int slot_count,
                                  hone_kernel_fn *kernel)
{
    struct hone_stage stage = {.support = support(), .kernel = kernel, .slot_count = slot_count};
    stage.param = (enum hone_format)hone_place_value(t->places, HONE_PLACE_PARAM);
    stage.grad = (enum hone_format)hone_place_value(t->places, HONE_PLACE_GRAD);
    stage.cast = (enum hone_format)hone_place_value(t->places, HONE_PLACE_CAST);
    stage.extra = (enum hone_extra)hone_place_value(t->places, HONE_PLACE_EXTRA);
    for (int k = 0; k < slot_count; k++)
        stage.slot[k] = (enum hone_format)hone_place_value(t->places, HONE_PLACE_SLOT + k);
    return stage;
}

static struct hone_chunk chunk_of(const struct hone_device_tensor *t,
                                  const struct hone_stage *stage, uint64_t step, size_t first)
{
    struct hone_chunk chunk = {.n = t->count - first < HONE_CHUNK ? t->count - first : HONE_CHUNK};
    chunk.param = at(t->param, stage->param, first);
    chunk.grad = at(t->grad, stage->grad, first);
    chunk.extra = at(t->extra, HONE_FORMAT_BF16, first);
    for (int k = 0; k < stage->slot_count; k++)
        chunk.slot[k] = at(t->slot[k], stage->slot[k], first);
    chunk.mask = t->mask == NULL ? NULL : t->mask + first / 32;
    chunk.noise = hone_noise_of_chunk(hone_noise_of_call(t->noise, step), first);
    return chunk;
}

/* The rule after the last is "move". */
static const struct hone_rule_kernels *kernels_of(int rule, bool wide)
{
    const struct hone_cpu_level *const level = hone_cpu_level_at(0);
    if (rule == hone_rule_count())
        return wide ? level->move_f64 : level->move_f32;
    return &(wide ? level->f64 : level->f32)[rule][0];
}

static int slot_count_of(int rule)
{
    return rule == hone_rule_count() ? 0 : hone_rules[rule]->slot_count;
}

static const struct hone_scalars *scalars_of(const struct hone_device_call *call,
                                             const struct hone_device_tensor *t)
{
    return (call->scalars == NULL ? call->own : call->scalars) + t->scalars;
}

static void step_tensor(const struct hone_device_call *call, const struct hone_device_tensor *t,
                        int rule, bool wide, const struct hone_frame *frame)
{
    const int variant = hone_place_value(t->places, HONE_PLACE_VARIANT);
    const struct hone_scalars *const scalars = scalars_of(call, t);
    const enum hone_form form = t->mask == NULL ? HONE_FORM_DENSE : HONE_FORM_MASKED;
    const struct hone_stage stage =
        stage_of(t, slot_count_of(rule), kernels_of(rule, wide)->step[0][variant][form]);
    for (size_t first = 0; first < t->count; first += HONE_CHUNK) {
        const struct hone_chunk chunk = chunk_of(t, &stage, scalars->step, first);
        hone_stage_step(&stage, &chunk, scalars, frame);
    }
}

static void direct_tensor(const struct hone_device_call *call, const struct hone_device_tensor *t,
                          int rule, bool wide, const struct hone_frame *frame, double *squares)
{
    const struct hone_scalars *const scalars = scalars_of(call, t);
    struct hone_stage stage =
        stage_of(t, slot_count_of(rule), kernels_of(rule, wide)->direction[0]);
    stage.extra = HONE_EXTRA_NONE;
    for (size_t first = 0; first < t->count; first += HONE_CHUNK) {
        const struct hone_chunk chunk = chunk_of(t, &stage, scalars->step, first);
        void *const made = at(t->extra, wide ? HONE_FORMAT_F64 : HONE_FORMAT_F32, first);
        hone_stage_direction(&stage, &chunk, scalars, frame, made);
        double sum = 0;
        for (size_t i = 0; i < chunk.n; i++) {
            const double x = wide ? ((double *)made)[i] : (double)((float *)made)[i];
            sum += x * x;
        }
        if (squares != NULL)
            squares[first / HONE_CHUNK] = sum;
    }
}

/* What a launch's gradients are multiplied by. */
static struct hone_frame frame_of(const struct hone_device_call *call)
{
    struct hone_frame frame = call->frame;
    if (call->outcome != NULL && call->own_frame == 0) {
        frame.grad_scale = call->outcome->grad_scale;
        frame.clip_coef = call->outcome->coef;
    }
    return frame;
}

struct hone_device_status host_load(void)
{
    const size_t loads = count(&host_device_control.loads);
    if (host_device_control.load_fails_at != 0 && loads >= host_device_control.load_fails_at)
        return failing(HONE_DEVICE_MEMORY, "out of memory");
    return fine;
}

static struct hone_device_status load(struct hone_device_queue queue, int rule, bool wide,
                                      int direct)
{
    (void)queue, (void)rule, (void)wide, (void)direct;
    return host_load();
}

static struct hone_device_status step(struct hone_device_queue queue, int rule, bool wide,
                                      int direct, const struct hone_device_call *call)
{
    struct node *const node = record(queue, STEP, call, sizeof *call);
    if (node != NULL) {
        node->rule = rule;
        node->direct = direct; /* not looked at: a staged step has the bits of a direct one */
        node->wide = wide;
        return fine;
    }
    const struct hone_device_status status = host_launch(queue);
    const struct hone_frame frame = frame_of(call);
    if (status.fault != HONE_DEVICE_OK || (call->outcome != NULL && call->outcome->go == 0))
        return status;
    count(&host_device_control.steps);
    for (uint32_t i = 0; i < call->tensor_count; i++)
        step_tensor(call, &call->tensors[i], rule, wide, &frame);
    return status;
}

static struct hone_device_status direction(struct hone_device_queue queue, int rule, bool wide,
                                           const struct hone_device_call *call)
{
    const struct hone_device_status status = host_launch(queue);
    const struct hone_frame frame = frame_of(call);
    if (status.fault != HONE_DEVICE_OK || (call->outcome != NULL && call->outcome->go == 0))
        return status;
    for (uint32_t i = 0; i < call->tensor_count; i++)
        direct_tensor(call, &call->tensors[i], rule, wide, &frame,
                      call->squares == NULL ? NULL : call->squares + call->first[i] - call->base);
    return status;
}

static struct hone_device_status prepare(struct hone_device_queue queue,
                                         const struct hone_device_prepare *call)
{
    if (record(queue, PREPARE, call, sizeof *call) != NULL)
        return fine;
    const struct hone_device_status status = host_launch(queue);
    const hone_rule *const rule = hone_rules[call->rule];
    if (status.fault != HONE_DEVICE_OK || call->outcome->go == 0)
        return status;
    for (uint32_t i = 0; i < call->class_count; i++) {
        struct hone_device_class *const one = &call->classes[i];
        const struct hone_device_group *const group = &call->groups[one->group];
        if (group->rule == call->rule)
            hone_prepare_class(rule->prepare, rule->hyper_count, group, one, &call->scalars[i]);
    }
    return status;
}

static struct hone_device_status norm(struct hone_device_queue queue,
                                      const struct hone_device_norm *call)
{
    if (record(queue, NORM, call, sizeof *call) != NULL)
        return fine;
    const struct hone_device_status status = host_launch(queue);
    const double scale = call->outcome == NULL ? call->grad_scale : call->outcome->grad_scale;
    for (uint32_t i = 0; status.fault == HONE_DEVICE_OK && i < call->tensor_count; i++) {
        const struct hone_device_tensor *const t = &call->tensors[i];
        const enum hone_format format =
            (enum hone_format)hone_place_value(t->places, HONE_PLACE_GRAD);
        for (size_t first = 0; first < t->count; first += HONE_CHUNK) {
            const void *const grad = at(t->grad, format, first);
            const size_t n = t->count - first < HONE_CHUNK ? t->count - first : HONE_CHUNK;
            double *const share = &call->shares[t->share + first / HONE_CHUNK];
            *share = support()->norm[format](grad, n, call->order, scale, call->value_limit);
            if (!call->scaling || !hone_share_hides(*share, call->value_limit))
                continue;
            const double largest =
                support()->norm[format](grad, n, (double)INFINITY, scale, (double)INFINITY);
            if (!isfinite(largest))
                *share = (double)NAN;
        }
    }
    return status;
}

static struct hone_device_status judge(struct hone_device_queue queue,
                                       const struct hone_device_judgement *call)
{
    if (record(queue, JUDGE, call, sizeof *call) != NULL)
        return fine;
    const struct hone_device_status status = host_launch(queue);
    if (status.fault != HONE_DEVICE_OK)
        return status;
    if (call->open)
        hone_open_step(call);
    const double sum = call->shares == NULL ? 0
                                            : support()->combine(call->shares, call->chunk_count,
                                                                 isinf(call->order));
    if (call->close)
        hone_close_step(call, sum);
    return status;
}

static struct hone_device_status accumulate(struct hone_device_queue queue,
                                            const struct hone_device_call *call,
                                            const struct hone_device_source *sources)
{
    const struct hone_device_status status = host_launch(queue);
    for (uint32_t i = 0; status.fault == HONE_DEVICE_OK && i < call->tensor_count; i++) {
        const struct hone_device_tensor *const t = &call->tensors[i];
        const bool wide = hone_place_value(t->places, HONE_PLACE_GRAD) == HONE_FORMAT_F64;
        void *const sum = (void *)(uintptr_t)t->grad;
        if (sources == NULL) {
            memset(sum, 0, t->count * (wide ? sizeof(double) : sizeof(float)));
            continue;
        }
        const enum hone_format from = (enum hone_format)sources[i].format;
        for (size_t k = 0; sources[i].grad != NULL && k < t->count; k++)
            if (wide)
                support()->accumulate_f64[from]((double *)sum + k, at(sources[i].grad, from, k), 1,
                                                1);
            else
                support()->accumulate_f32[from]((float *)sum + k, at(sources[i].grad, from, k), 1,
                                                1);
    }
    return status;
}

/* Graphs run what was captured, on their own. */
static void replay(struct host_graph *graph)
{
    for (size_t i = 0; i < graph->count; i++) {
        const struct node *const node = &graph->nodes[i];
        switch (node->kind) {
        case PUT:
            copy(node->queue, node->to, node->call.put, node->size);
            break;
        case STEP:
            step(node->queue, node->rule, node->wide, node->direct, &node->call.step);
            break;
        case PREPARE:
            prepare(node->queue, &node->call.prepare);
            break;
        case NORM:
            norm(node->queue, &node->call.norm);
            break;
        case JUDGE:
            judge(node->queue, &node->call.judge);
            break;
        }
    }
}

struct host_control host_device_control = {
    .new_graph = new_graph, .replay = replay, .free_graph = free_graph};

static const char *const rule_names[] = {
#define RULE(rule) #rule,
#include "rules.inc"
#undef RULE
    NULL};

static const int architectures[] = {200, 350, 0};

extern const struct hone_device_target HONE_DEVICE_SYMBOL;
__attribute__((visibility("default"))) const struct hone_device_target HONE_DEVICE_SYMBOL = {
    .version = HONE_DEVICE_VERSION,
    .name = "host",
    .architectures = architectures,
    .rules = rule_names,
    .open = open_device,
    .locate = locate,
    .inspect = inspect,
    .allocate = allocate,
    .release = release,
    .upload = copy_outside,
    .download = copy_outside,
    .zero = zero,
    .put = copy,
    .wait = wait_for,
    .convert = convert,
    .fill = fill,
    .load = load,
    .step = step,
    .direction = direction,
    .prepare = prepare,
    .norm = norm,
    .judge = judge,
    .accumulate = accumulate,
    .open_products = host_open_products,
    .close_products = host_close_products,
    .polar_narrow = host_polar_narrow,
    .polar_batch = host_polar_batch,
    .polar_workspace = host_polar_workspace,
    .polar = host_polar,
};
