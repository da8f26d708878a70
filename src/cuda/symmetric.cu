/* SPDX-License-Identifier: Apache-2.0 */
/* A persistent kernel for Hopper: one warp group brings tiles of both factors to shared memory with
 * the bulk copy engine, two multiply them (wgmma) and write the result twice, as it is and mirrored.
 *
 * The layouts of wgmma's accumulators and shared-memory descriptors, and the barriers between copy
 * engine and tensor cores, are those of NVIDIA's PTX ISA manual (sections "wgmma.mma_async",
 * "cp.async.bulk.tensor", "mbarrier", "stmatrix"). */
#include "cuda/symmetric.h"

#include "cuda/cuda_target.h"

#include <cuda.h>
#include <cudaTypedefs.h>
#include <stdint.h>

namespace {

enum {
    ROWS = 128,    /* of a tile: 64 for each of the two multiplying warp groups */
    COLUMNS = 256, /* of a tile */
    DEPTH = 64,    /* of a stage: 128 bytes, the width of the swizzle */
    STAGES = 3,
    GROUP = 128,         /* threads of a warp group */
    THREADS = 3 * GROUP, /* copying, multiplying, multiplying */
    BOX = 64,            /* side of the squares in which d comes and c leaves */
    SLICE = 2 * BOX,     /* columns that leave at once, and rows of b that come at once */
    SEGMENT = 8,         /* halves in 16 bytes: what a thread moves at once */
    ACCUMULATORS = BOX * COLUMNS / GROUP
};

struct alignas(1024) box {
    __half at[BOX * BOX];
};

struct alignas(1024) stage {
    __half a[ROWS * DEPTH];
    __half b[COLUMNS * DEPTH];
};

struct shared {
    stage stages[STAGES];
    box rows[2][2], mirrored[2][2]; /* of each multiplying group: a slice, and the same transposed */
    uint64_t full[STAGES], empty[STAGES], d[2];
    int tile[STAGES]; /* that a stage belongs to; -1: there are no more */
    int index[2];     /* the same, of each multiplying group's present tile */
};

struct arguments {
    float alpha, beta, gamma;
    const float *by;
    int *next; /* tiles handed out beyond the blocks' first ones */
    int n, k, diagonal, batch, tiles; /* tiles of one matrix */
    __half *c;
    bool with_d, same; /* same: a is b */
};

struct maps {
    CUtensorMap a, b, c, d;
};

struct place {
    int batch, row, column;
};

/* ---- barriers, copies, products: one instruction each ---------------------------------------- */

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ uint32_t address(const void *shared_memory)
{
    return (uint32_t)__cvta_generic_to_shared(shared_memory);
}

__device__ void barrier_init(uint64_t *barrier, int count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address(barrier)), "r"(count));
}

__device__ void barrier_expect(uint64_t *barrier, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address(barrier)),
                 "r"(bytes)
                 : "memory");
}

__device__ void barrier_arrive(uint64_t *barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address(barrier)) : "memory");
}

__device__ void barrier_wait(uint64_t *barrier, uint32_t phase)
{
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}\n" ::"r"(address(barrier)),
                 "r"(phase)
                 : "memory");
}

__device__ void copy_tile(__half *to, const CUtensorMap *map, uint64_t *barrier, int column, int row,
                          int batch)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(address(to)),
                 "l"(map), "r"(address(barrier)), "r"(column), "r"(row), "r"(batch)
                 : "memory");
}

/* A box to row and column of a matrix; what lies outside of it is left out. */
__device__ void store_box(const CUtensorMap *map, const box *from, int column, int row, int batch)
{
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group"
                 " [%0, {%2, %3, %4}], [%1];" ::"l"(map),
                 "r"(address(from)), "r"(column), "r"(row), "r"(batch)
                 : "memory");
}

__device__ void stores_commit(void)
{
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

/* Until this thread's stores have read their boxes. */
__device__ void stores_wait(void)
{
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

/* What this thread wrote to shared memory becomes visible to the copy engine. */
__device__ void show_to_copies(void)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* A factor of depth 16 in shared memory: rows of 128 swizzled bytes, 1024 from 8 rows to the next. They
 * are the factor's rows, or 64 elements of its columns, the next 64 of which lie a box further. */
template <bool COLUMNS_FIRST> __device__ uint64_t descriptor(const __half *factor)
{
    const uint64_t start = (address(factor) & 0x3ffff) >> 4;
    const uint64_t next = COLUMNS_FIRST ? sizeof(box) >> 4 : 1;
    return start | next << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

/* The accumulators as operands of an instruction, 32 at a time. */
#define SUMS_4(i) "+f"(sum[i]), "+f"(sum[(i) + 1]), "+f"(sum[(i) + 2]), "+f"(sum[(i) + 3])
#define SUMS_16(i) SUMS_4(i), SUMS_4((i) + 4), SUMS_4((i) + 8), SUMS_4((i) + 12)
#define SUMS_32(i) SUMS_16(i), SUMS_16((i) + 16)
#define NAMES_1 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
                "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_2 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
                "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_3 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
                "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define NAMES_4 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
                "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

#define MULTIPLY(width, sums, a, b, turned)                                        \
    "{\n"                                                                          \
    ".reg .pred p;\n"                                                              \
    "setp.eq.u32 p, 0, 0;\n"                                                       \
    "wgmma.mma_async.sync.aligned.m64n" width "k16.f32.f16.f16 {" sums "}, " a ", " \
    b ", p, 1, 1, " turned ", " turned ";\n"                                       \
    "}\n"

/* sum := sum + a b^T, 64 x WIDTH x 16, in the first of the accumulators */
template <int WIDTH, bool COLUMNS_FIRST>
__device__ void multiply(float (&sum)[ACCUMULATORS], uint64_t a, uint64_t b)
{
    if constexpr (WIDTH == 64)
        asm volatile(MULTIPLY("64", NAMES_1, "%32", "%33", "%34")
                     : SUMS_32(0)
                     : "l"(a), "l"(b), "n"((int)COLUMNS_FIRST));
    else if constexpr (WIDTH == 128)
        asm volatile(MULTIPLY("128", NAMES_1 ", " NAMES_2, "%64", "%65", "%66")
                     : SUMS_32(0), SUMS_32(32)
                     : "l"(a), "l"(b), "n"((int)COLUMNS_FIRST));
    else if constexpr (WIDTH == 192)
        asm volatile(MULTIPLY("192", NAMES_1 ", " NAMES_2 ", " NAMES_3, "%96", "%97", "%98")
                     : SUMS_32(0), SUMS_32(32), SUMS_32(64)
                     : "l"(a), "l"(b), "n"((int)COLUMNS_FIRST));
    else
        asm volatile(MULTIPLY("256", NAMES_1 ", " NAMES_2 ", " NAMES_3 ", " NAMES_4, "%128", "%129",
                              "%130")
                     : SUMS_32(0), SUMS_32(32), SUMS_32(64), SUMS_32(96)
                     : "l"(a), "l"(b), "n"((int)COLUMNS_FIRST));
}

__device__ void products_begin(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ void products_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int LEFT> __device__ void products_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

/* All threads of one multiplying group. */
__device__ void group_wait(int group)
{
    asm volatile("bar.sync %0, %1;" ::"r"(group + 1), "n"((int)GROUP) : "memory");
}

/* ---- the result: through shared memory, so that global memory sees 16 bytes at a time ---------- */

/* Where 8 halves of a row lie in a box: as the copy engine's swizzle of 128 bytes puts them. */
__device__ __half *segment_of(box *b, int row, int segment)
{
    return b->at + row * BOX + (segment ^ (row & 7)) * SEGMENT;
}

__device__ void store_matrices(__half *at, const uint32_t (&r)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address(at)),
                 "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}

__device__ void store_matrices_mirrored(__half *at, const uint32_t (&r)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                     address(at)),
                 "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}

__device__ void load_matrices(uint32_t (&r)[4], const __half *at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address(at))
                 : "memory");
}

__device__ uint32_t pack(float low, float high)
{
    const __half2 both = __floats2half2_rn(low, high);
    return *(const uint32_t *)&both;
}

/* This lane's row for matrices of 8 x 8 at `columns` of a slice: two below each other, then the two to
 * their right. */
__device__ __half *lane_rows(box *slice, int thread, int columns)
{
    const int matrix = thread % 32 / 8, column = columns + (matrix >> 1) * SEGMENT;
    const int row = thread / 32 * 16 + (matrix & 1) * 8 + thread % 8;
    return segment_of(&slice[column / BOX], row, column % BOX / SEGMENT);
}

/* The same matrices in the transposed slice. */
__device__ __half *lane_columns(box *slice, int thread, int columns)
{
    const int matrix = thread % 32 / 8, row = columns + (matrix >> 1) * 8 + thread % 8;
    return segment_of(&slice[row / BOX], row % BOX, thread / 32 * 2 + (matrix & 1));
}

/* sum := by (alpha sum + beta d + gamma I) for the slice at `row` and `column`, whose sums begin at
 * `first` */
template <bool WITH_D>
__device__ void finish(float (&sum)[ACCUMULATORS], int first, box *d, int row, int column,
                       const arguments &all, float by, int thread)
{
    const float alpha = by * all.alpha, beta = by * all.beta, gamma = by * all.gamma;
    row += thread / 32 * 16 + thread % 32 / 4;
    column += thread % 4 * 2;
#pragma unroll
    for (int j = 0; j < SLICE / 16; j++) {
        uint32_t old[4] = {0, 0, 0, 0};
        if (WITH_D)
            load_matrices(old, lane_rows(d, thread, j * 16));
#pragma unroll
        for (int q = 0; q < 4; q++) { /* two rows, two groups of columns */
            const float2 pair = __half22float2(*(const __half2 *)&old[q]);
            const int at = first + j * 8 + q * 2;
            const int i = row + (q & 1) * 8, k = column + j * 16 + (q >> 1) * 8;
            sum[at] = alpha * sum[at] + (WITH_D ? beta * pair.x : 0);
            sum[at + 1] = alpha * sum[at + 1] + (WITH_D ? beta * pair.y : 0);
            if (i == k && i < all.diagonal)
                sum[at] += gamma;
            if (i == k + 1 && i < all.diagonal)
                sum[at + 1] += gamma;
        }
    }
}

__device__ void fill_boxes(const float (&sum)[ACCUMULATORS], int first, box *rows, box *mirrored,
                           int thread)
{
#pragma unroll
    for (int j = 0; j < SLICE / 16; j++) {
        const float *const v = &sum[first + j * 8];
        const uint32_t r[4] = {pack(v[0], v[1]), pack(v[2], v[3]), pack(v[4], v[5]),
                               pack(v[6], v[7])};
        store_matrices(lane_rows(rows, thread, j * 16), r);
        store_matrices_mirrored(lane_columns(mirrored, thread, j * 16), r);
    }
}

/* A box on the diagonal: each half of it from where it was computed, below the diagonal. */
__device__ void write_diagonal(box *rows, box *mirrored, __half *c, int first, int n, int thread)
{
    for (int i = thread; i < BOX * BOX / SEGMENT; i += GROUP) {
        const int row = i / (BOX / SEGMENT), segment = i % (BOX / SEGMENT);
        if (first + row >= n || first + segment * SEGMENT >= n)
            continue;
        const __half *const below = segment_of(rows, row, segment);
        const __half *const above = segment_of(mirrored, row, segment);
        __half *const to = c + (size_t)(first + row) * n + first + segment * SEGMENT;
        for (int e = 0; e < SEGMENT; e++)
            to[e] = segment * SEGMENT + e <= row ? below[e] : above[e];
    }
}

/* Two boxes of the tile, and their mirror images, on their way. */
__device__ void write_slice(const maps &m, const arguments &all, box *rows, box *mirrored, int row,
                            int column, int batch, int thread)
{
    for (int b = 0; b < 2; b++, column += BOX) {
        if (row >= all.n || column > row)
            continue;
        if (column == row)
            write_diagonal(&rows[b], &mirrored[b], all.c + (size_t)batch * all.n * all.n, row, all.n,
                           thread);
        else if (thread == 0) {
            store_box(&m.c, &rows[b], column, row, batch);
            store_box(&m.c, &mirrored[b], row, column, batch);
        }
    }
    if (thread == 0)
        stores_commit();
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* Tiles of a matrix in rows: row i has as many as touch the lower triangle. */
__device__ place find_tile(const arguments &all, int index)
{
    place at = {index / all.tiles, 0, 0};
    int rest = index % all.tiles;
    for (;;) {
        const int count = (at.row + ROWS - 1) / COLUMNS + 1;
        if (rest < count)
            break;
        rest -= count;
        at.row += ROWS;
    }
    at.column = rest * COLUMNS;
    return at;
}

/* Where the rows of both factors are the same, b's are not copied (the tile begins on the diagonal), or
 * a's are the second half of b's (it begins a slice before). */
__device__ bool only_a(const arguments &all, const place at)
{
    return all.same && at.column == at.row;
}

__device__ bool only_b(const arguments &all, const place at)
{
    return all.same && at.column + SLICE == at.row;
}

/* Columns of the tile that a group needs: up to the diagonal, in whole boxes. */
__device__ int width_of(const arguments &all, const place at, int group)
{
    const int row = at.row + group * BOX, width = row + BOX - at.column;
    return row >= all.n ? 0 : width < COLUMNS ? width : (int)COLUMNS;
}

/* ---- copying --------------------------------------------------------------------------------- */

/* SLICE rows of a factor at depth k. */
template <bool COLUMNS_FIRST>
__device__ void copy_factor(__half *to, const CUtensorMap *map, uint64_t *barrier, int k, int row,
                            int batch)
{
    if (!COLUMNS_FIRST)
        copy_tile(to, map, barrier, k, row, batch);
    else
        for (int b = 0; b < SLICE / BOX; b++)
            copy_tile(to + b * BOX * BOX, map, barrier, row + b * BOX, k, batch);
}

/* What a tile needs at depth k; half of b's rows are enough where the others' columns are above the
 * diagonal. */
template <bool COLUMNS_FIRST>
__device__ void copy_stage(const maps &m, const arguments &all, const place at, stage *s,
                           uint64_t *full, int k)
{
    static_assert((int)ROWS == (int)SLICE, "both factors come in the same boxes");
    const bool a = !only_b(all, at), b = !only_a(all, at), second = at.column < at.row;
    const uint32_t slice = SLICE * DEPTH * sizeof(__half);
    barrier_expect(full, (a + b + second) * slice);
    if (a)
        copy_factor<COLUMNS_FIRST>(s->a, &m.a, full, k, at.row, at.batch);
    if (b)
        copy_factor<COLUMNS_FIRST>(s->b, &m.b, full, k, at.column, at.batch);
    if (second)
        copy_factor<COLUMNS_FIRST>(s->b + SLICE * DEPTH, &m.b, full, k, at.column + SLICE, at.batch);
}

struct pipeline {
    int stage;
    uint32_t phase;

    __device__ void next(void)
    {
        if (++stage == STAGES) {
            stage = 0;
            phase ^= 1;
        }
    }
};

/* Blocks take the next tile when they are done with one, as tiles take different times. */
template <bool COLUMNS_FIRST>
__device__ void copy_all(const maps &m, const arguments &all, shared *memory)
{
    pipeline p = {0, 0};
    int index = blockIdx.x;
    while (index < all.tiles * all.batch) {
        const int following = (int)gridDim.x + atomicAdd(all.next, 1);
        const place at = find_tile(all, index);
        for (int k = 0; k < all.k; k += DEPTH) {
            barrier_wait(&memory->empty[p.stage], p.phase ^ 1);
            memory->tile[p.stage] = index;
            copy_stage<COLUMNS_FIRST>(m, all, at, &memory->stages[p.stage], &memory->full[p.stage], k);
            p.next();
        }
        index = following;
    }
    barrier_wait(&memory->empty[p.stage], p.phase ^ 1);
    memory->tile[p.stage] = -1;
    barrier_arrive(&memory->full[p.stage]);
}

/* The boxes of d that the group needs, into where c's will be; `rows` holds the left half. */
__device__ void fetch_d(const maps &m, const place at, shared *memory, int group, int width)
{
    const int boxes = width / BOX;
    barrier_expect(&memory->d[group], (uint32_t)(boxes * sizeof(box)));
    for (int b = 0; b < boxes; b++)
        copy_tile(b < 2 ? memory->rows[group][b].at : memory->mirrored[group][b - 2].at, &m.d,
                  &memory->d[group], at.column + b * BOX, at.row + group * BOX, at.batch);
}

/* ---- multiplying ------------------------------------------------------------------------------ */

/* Lets all stages of a tile pass that the group has no part in. */
__device__ void pass_tile(const arguments &all, shared *memory, pipeline &p, int group, int thread)
{
    for (int k = 0; k < all.k; k += DEPTH) {
        barrier_wait(&memory->full[p.stage], p.phase);
        group_wait(group);
        if (thread == 0)
            barrier_arrive(&memory->empty[p.stage]);
        p.next();
    }
}

template <int WIDTH, bool COLUMNS_FIRST>
__device__ void multiply_tile(float (&sum)[ACCUMULATORS], const maps &m, const arguments &all,
                              const place at, shared *memory, pipeline &p, int group, int thread)
{
    const int last = (all.k - 1) / DEPTH;
    const int fetching = (last < 2 ? last : 2) * DEPTH; /* earlier stores are done */
    const int deeper = COLUMNS_FIRST ? 16 * BOX * 2 / 16 : 16 * 2 / 16; /* 16 elements, in 16 bytes */
    int before = -1;
    for (int k = 0; k < all.k; k += DEPTH) {
        barrier_wait(&memory->full[p.stage], p.phase);
        if (all.with_d && thread == 0 && k == fetching) {
            stores_wait();
            fetch_d(m, at, memory, group, WIDTH);
        }
        const struct stage *const s = &memory->stages[p.stage];
        const __half *const rows = only_b(all, at) ? s->b + SLICE * DEPTH : s->a;
        const uint64_t a = descriptor<COLUMNS_FIRST>(rows + group * BOX * DEPTH);
        const uint64_t b = descriptor<COLUMNS_FIRST>(only_a(all, at) ? s->a : s->b);
        products_begin();
#pragma unroll
        for (int step = 0; step < DEPTH / 16; step++)
            multiply<WIDTH, COLUMNS_FIRST>(sum, a + step * deeper, b + step * deeper);
        products_commit();
        products_wait<1>();
        if (before >= 0 && thread == 0)
            barrier_arrive(&memory->empty[before]);
        before = p.stage;
        p.next();
    }
    products_wait<0>();
    if (thread == 0)
        barrier_arrive(&memory->empty[before]);
}

__device__ void write_tile(float (&sum)[ACCUMULATORS], const maps &m, const arguments &all,
                           const place at, shared *memory, int group, int thread, uint32_t phase)
{
    box *const rows = memory->rows[group], *const mirrored = memory->mirrored[group];
    const int row = at.row + group * BOX, half = ACCUMULATORS / 2;
    const float by = all.by == NULL ? 1 : all.by[at.batch];
    if (all.with_d) {
        barrier_wait(&memory->d[group], phase);
        finish<true>(sum, 0, rows, row, at.column, all, by, thread);
        finish<true>(sum, half, mirrored, row, at.column + SLICE, all, by, thread);
    } else {
        finish<false>(sum, 0, rows, row, at.column, all, by, thread);
        finish<false>(sum, half, mirrored, row, at.column + SLICE, all, by, thread);
        if (thread == 0)
            stores_wait();
    }
    group_wait(group);
#pragma unroll
    for (int part = 0; part < 2; part++) {
        if (at.column + part * SLICE > row)
            continue;
        if (part > 0) {
            if (thread == 0)
                stores_wait();
            group_wait(group);
        }
        fill_boxes(sum, part * half, rows, mirrored, thread);
        show_to_copies();
        group_wait(group);
        write_slice(m, all, rows, mirrored, row, at.column + part * SLICE, at.batch, thread);
    }
    group_wait(group); /* boxes on the diagonal have been read */
}

template <bool COLUMNS_FIRST>
__device__ void multiply_all(const maps &m, const arguments &all, shared *memory, int group, int thread)
{
    pipeline p = {0, 0};
    uint32_t phase = 0; /* of d */
    for (;;) {
        if (thread == 0) { /* who lets stages pass: no other thread reads what belongs to them */
            barrier_wait(&memory->full[p.stage], p.phase);
            memory->index[group] = memory->tile[p.stage];
        }
        group_wait(group);
        const int index = memory->index[group];
        if (index < 0)
            break;
        const place at = find_tile(all, index);
        const int width = width_of(all, at, group);
        float sum[ACCUMULATORS];
#pragma unroll
        for (float &one : sum)
            one = 0;

        if (width == 256)
            multiply_tile<256, COLUMNS_FIRST>(sum, m, all, at, memory, p, group, thread);
        else if (width == 192)
            multiply_tile<192, COLUMNS_FIRST>(sum, m, all, at, memory, p, group, thread);
        else if (width == 128)
            multiply_tile<128, COLUMNS_FIRST>(sum, m, all, at, memory, p, group, thread);
        else if (width == 64)
            multiply_tile<64, COLUMNS_FIRST>(sum, m, all, at, memory, p, group, thread);
        else {
            pass_tile(all, memory, p, group, thread);
            continue;
        }
        write_tile(sum, m, all, at, memory, group, thread, phase);
        phase ^= 1;
    }
    if (thread == 0)
        stores_wait();
}

#endif /* defined(__CUDA_ARCH_FEAT_SM90_ALL) */

template <bool COLUMNS_FIRST>
__global__ void __launch_bounds__(THREADS, 1)
    symmetric_kernel(const __grid_constant__ maps m, const __grid_constant__ arguments all)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ __align__(1024) unsigned char raw[];
    shared *const memory = (shared *)raw;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_init(&memory->full[i], 1);
            barrier_init(&memory->empty[i], 2);
        }
        barrier_init(&memory->d[0], 1);
        barrier_init(&memory->d[1], 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    const int group = threadIdx.x / GROUP;
    if (group == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
        if (threadIdx.x == 0)
            copy_all<COLUMNS_FIRST>(m, all, memory);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
        multiply_all<COLUMNS_FIRST>(m, all, memory, group - 1, threadIdx.x % GROUP);
    }
#endif
}

/* ---- the host -------------------------------------------------------------------------------- */

PFN_cuTensorMapEncodeTiled_v12000 find_encode(void)
{
    return (PFN_cuTensorMapEncodeTiled_v12000)hone_cuda_driver("cuTensorMapEncodeTiled", 12000);
}

/* `batch` row-major matrices of n rows and k columns, copied in boxes of `rows` x DEPTH; what lies
 * outside arrives as zeros. */
cudaError_t encode(PFN_cuTensorMapEncodeTiled_v12000 function, CUtensorMap *map, const __half *data,
                   int n, int k, int batch, int rows)
{
    const cuuint64_t sizes[3] = {(cuuint64_t)k, (cuuint64_t)n, (cuuint64_t)batch};
    const cuuint64_t strides[2] = {(cuuint64_t)k * 2, (cuuint64_t)n * k * 2};
    const cuuint32_t box[3] = {DEPTH, (cuuint32_t)rows, 1}, steps[3] = {1, 1, 1};
    const CUresult result =
        function(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, (void *)data, sizes, strides, box, steps,
                 CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

/* Tiles of one matrix. */
int count_tiles(int n)
{
    int count = 0;
    for (int row = 0; row < n; row += ROWS)
        count += (row + ROWS - 1) / COLUMNS + 1;
    return count;
}

/* Both factors' maps. */
cudaError_t encode_factors(PFN_cuTensorMapEncodeTiled_v12000 function, maps *m,
                           const struct hone_symmetric *product)
{
    const bool turned = product->columns_first;
    const int rows = turned ? product->k : product->n, columns = turned ? product->n : product->k;
    const int of_box = turned ? (int)BOX : (int)SLICE;
    const cudaError_t status =
        encode(function, &m->a, product->a, rows, columns, product->batch, of_box);
    return status != cudaSuccess
               ? status
               : encode(function, &m->b, product->b, rows, columns, product->batch, of_box);
}

} // namespace

bool hone_symmetric_available(int device)
{
    int major = 0, minor = 0;
    return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
           cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess &&
           major == 9 && minor == 0 && find_encode() != NULL;
}

cudaError_t hone_symmetric_product(const struct hone_symmetric *product, cudaStream_t stream)
{
    const PFN_cuTensorMapEncodeTiled_v12000 function = find_encode();
    if (function == NULL)
        return cudaErrorNotSupported;
    const int n = product->n, batch = product->batch;
    maps m;
    cudaError_t status = encode_factors(function, &m, product);
    if (status == cudaSuccess)
        status = encode(function, &m.c, product->c, n, n, batch, BOX);
    if (status == cudaSuccess)
        status = encode(function, &m.d, product->d != NULL ? product->d : product->c, n, n, batch, BOX);
    int device = 0, processors = 0;
    if (status == cudaSuccess)
        status = cudaGetDevice(&device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    const auto kernel = product->columns_first ? symmetric_kernel<true> : symmetric_kernel<false>;
    if (status == cudaSuccess)
        status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      sizeof(shared));
    if (status != cudaSuccess)
        return status;
    const arguments all = {product->alpha,    product->beta,      product->gamma, product->by,
                           product->next,     n,                  product->k,     product->diagonal,
                           batch,             count_tiles(n),     product->c,     product->d != NULL,
                           product->a == product->b};
    const long long tiles = (long long)all.tiles * batch;
    kernel<<<tiles < processors ? (int)tiles : processors, THREADS, sizeof(shared), stream>>>(m, all);
    return cudaGetLastError();
}
