/* SPDX-License-Identifier: Apache-2.0 */
/* A persistent kernel for Hopper: one warp group brings tiles of both factors to shared memory with
 * the bulk copy engine, two multiply them (wgmma) and write the result twice, as it is and mirrored.
 *
 * The layouts of wgmma's accumulators and shared-memory descriptors, and the barriers between copy
 * engine and tensor cores, are those of NVIDIA's PTX ISA manual (sections "wgmma.mma_async",
 * "cp.async.bulk.tensor", "mbarrier", "stmatrix"). */
#include "cuda/symmetric.h"

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
    SLICE = 2 * BOX,     /* columns that leave at once */
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
};

struct arguments {
    float alpha, beta, gamma;
    int n, k, diagonal, batch, tiles; /* tiles of one matrix */
    __half *c;
    bool with_d;
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

__device__ void copy_tile(__half *to, const CUtensorMap *map, uint64_t *barrier, int k, int row,
                          int batch)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(address(to)),
                 "l"(map), "r"(address(barrier)), "r"(k), "r"(row), "r"(batch)
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

/* A factor of depth 16 in shared memory: rows of 128 swizzled bytes, 1024 from 8 rows to the next. */
__device__ uint64_t descriptor(const __half *factor)
{
    const uint64_t start = (address(factor) & 0x3ffff) >> 4;
    return start | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

/* sum := [sum +] a b^T, 64 x 256 x 16 */
__device__ void multiply(float (&sum)[ACCUMULATORS], uint64_t a, uint64_t b, int add)
{
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "setp.ne.b32 p, %130, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
                 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
                 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
                 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
                 "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
                 "}, %128, %129, p, 1, 1, 0, 0;\n"
                 "}\n"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]),
                   "+f"(sum[4]), "+f"(sum[5]), "+f"(sum[6]), "+f"(sum[7]),
                   "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]),
                   "+f"(sum[12]), "+f"(sum[13]), "+f"(sum[14]), "+f"(sum[15]),
                   "+f"(sum[16]), "+f"(sum[17]), "+f"(sum[18]), "+f"(sum[19]),
                   "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]),
                   "+f"(sum[24]), "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]),
                   "+f"(sum[28]), "+f"(sum[29]), "+f"(sum[30]), "+f"(sum[31]),
                   "+f"(sum[32]), "+f"(sum[33]), "+f"(sum[34]), "+f"(sum[35]),
                   "+f"(sum[36]), "+f"(sum[37]), "+f"(sum[38]), "+f"(sum[39]),
                   "+f"(sum[40]), "+f"(sum[41]), "+f"(sum[42]), "+f"(sum[43]),
                   "+f"(sum[44]), "+f"(sum[45]), "+f"(sum[46]), "+f"(sum[47]),
                   "+f"(sum[48]), "+f"(sum[49]), "+f"(sum[50]), "+f"(sum[51]),
                   "+f"(sum[52]), "+f"(sum[53]), "+f"(sum[54]), "+f"(sum[55]),
                   "+f"(sum[56]), "+f"(sum[57]), "+f"(sum[58]), "+f"(sum[59]),
                   "+f"(sum[60]), "+f"(sum[61]), "+f"(sum[62]), "+f"(sum[63]),
                   "+f"(sum[64]), "+f"(sum[65]), "+f"(sum[66]), "+f"(sum[67]),
                   "+f"(sum[68]), "+f"(sum[69]), "+f"(sum[70]), "+f"(sum[71]),
                   "+f"(sum[72]), "+f"(sum[73]), "+f"(sum[74]), "+f"(sum[75]),
                   "+f"(sum[76]), "+f"(sum[77]), "+f"(sum[78]), "+f"(sum[79]),
                   "+f"(sum[80]), "+f"(sum[81]), "+f"(sum[82]), "+f"(sum[83]),
                   "+f"(sum[84]), "+f"(sum[85]), "+f"(sum[86]), "+f"(sum[87]),
                   "+f"(sum[88]), "+f"(sum[89]), "+f"(sum[90]), "+f"(sum[91]),
                   "+f"(sum[92]), "+f"(sum[93]), "+f"(sum[94]), "+f"(sum[95]),
                   "+f"(sum[96]), "+f"(sum[97]), "+f"(sum[98]), "+f"(sum[99]),
                   "+f"(sum[100]), "+f"(sum[101]), "+f"(sum[102]), "+f"(sum[103]),
                   "+f"(sum[104]), "+f"(sum[105]), "+f"(sum[106]), "+f"(sum[107]),
                   "+f"(sum[108]), "+f"(sum[109]), "+f"(sum[110]), "+f"(sum[111]),
                   "+f"(sum[112]), "+f"(sum[113]), "+f"(sum[114]), "+f"(sum[115]),
                   "+f"(sum[116]), "+f"(sum[117]), "+f"(sum[118]), "+f"(sum[119]),
                   "+f"(sum[120]), "+f"(sum[121]), "+f"(sum[122]), "+f"(sum[123]),
                   "+f"(sum[124]), "+f"(sum[125]), "+f"(sum[126]), "+f"(sum[127])
                 : "l"(a), "l"(b), "r"(add));
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

/* sum := alpha sum + beta d + gamma I for the slice at `row` and `column`, whose sums begin at `first` */
template <bool WITH_D>
__device__ void finish(float (&sum)[ACCUMULATORS], int first, box *d, int row, int column,
                       const arguments &all, int thread)
{
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
            sum[at] = all.alpha * sum[at] + (WITH_D ? all.beta * pair.x : 0);
            sum[at + 1] = all.alpha * sum[at + 1] + (WITH_D ? all.beta * pair.y : 0);
            if (i == k && i < all.diagonal)
                sum[at] += all.gamma;
            if (i == k + 1 && i < all.diagonal)
                sum[at + 1] += all.gamma;
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

/* The boxes of d that the tile needs, into where c's will be; `rows` holds the left half. */
__device__ void fetch_d(const maps &m, const place at, shared *memory, int group)
{
    barrier_expect(&memory->d[group], 4 * sizeof(box));
    for (int b = 0; b < 4; b++)
        copy_tile(b < 2 ? memory->rows[group][b].at : memory->mirrored[group][b - 2].at, &m.d,
                  &memory->d[group], at.column + b * BOX, at.row + group * BOX, at.batch);
}

__device__ void write_tile(float (&sum)[ACCUMULATORS], const maps &m, const arguments &all,
                           const place at, shared *memory, int group, int thread, uint32_t phase)
{
    box *const rows = memory->rows[group], *const mirrored = memory->mirrored[group];
    const int row = at.row + group * BOX;
    if (all.with_d) {
        barrier_wait(&memory->d[group], phase);
        finish<true>(sum, 0, rows, row, at.column, all, thread);
        finish<true>(sum, ACCUMULATORS / 2, mirrored, row, at.column + SLICE, all, thread);
    } else {
        finish<false>(sum, 0, rows, row, at.column, all, thread);
        finish<false>(sum, ACCUMULATORS / 2, mirrored, row, at.column + SLICE, all, thread);
        if (thread == 0)
            stores_wait();
    }
    group_wait(group);
#pragma unroll
    for (int part = 0; part < 2; part++) {
        const int column = at.column + part * SLICE;
        if (column > row)
            continue;
        if (part > 0) {
            if (thread == 0)
                stores_wait();
            group_wait(group);
        }
        fill_boxes(sum, part * ACCUMULATORS / 2, rows, mirrored, thread);
        show_to_copies();
        group_wait(group);
        write_slice(m, all, rows, mirrored, row, column, at.batch, thread);
    }
    group_wait(group); /* boxes on the diagonal have been read */
}

/* ---- the kernel ------------------------------------------------------------------------------ */

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

__device__ void copy_all(const maps &m, const arguments &all, shared *memory)
{
    int stage = 0;
    uint32_t phase = 0;
    for (int index = blockIdx.x; index < all.tiles * all.batch; index += gridDim.x) {
        const place at = find_tile(all, index);
        for (int k = 0; k < all.k; k += DEPTH) {
            barrier_wait(&memory->empty[stage], phase ^ 1);
            barrier_expect(&memory->full[stage], sizeof memory->stages[0].a + sizeof memory->stages[0].b);
            copy_tile(memory->stages[stage].a, &m.a, &memory->full[stage], k, at.row, at.batch);
            copy_tile(memory->stages[stage].b, &m.b, &memory->full[stage], k, at.column, at.batch);
            if (++stage == STAGES) {
                stage = 0;
                phase ^= 1;
            }
        }
    }
}

__device__ void multiply_all(const maps &m, const arguments &all, shared *memory, int group, int thread)
{
    float sum[ACCUMULATORS];
    int stage = 0;
    uint32_t phase = 0, d_phase = 0;
    const int last = (all.k - 1) / DEPTH, fetching = last < 2 ? last : 2; /* earlier stores are done */
    for (int index = blockIdx.x; index < all.tiles * all.batch; index += gridDim.x) {
        const place at = find_tile(all, index);
        int before = -1;
        for (int k = 0; k < all.k; k += DEPTH) {
            barrier_wait(&memory->full[stage], phase);
            if (all.with_d && thread == 0 && k == fetching * DEPTH) {
                stores_wait();
                fetch_d(m, at, memory, group);
            }
            const uint64_t a = descriptor(memory->stages[stage].a + group * BOX * DEPTH);
            const uint64_t b = descriptor(memory->stages[stage].b);
            products_begin();
#pragma unroll
            for (int step = 0; step < DEPTH / 16; step++) /* 16 halves: 32 bytes further */
                multiply(sum, a + step * 2, b + step * 2, k > 0 || step > 0);
            products_commit();
            products_wait<1>();
            if (before >= 0 && thread == 0)
                barrier_arrive(&memory->empty[before]);
            before = stage;
            if (++stage == STAGES) {
                stage = 0;
                phase ^= 1;
            }
        }
        products_wait<0>();
        if (thread == 0)
            barrier_arrive(&memory->empty[before]);
        write_tile(sum, m, all, at, memory, group, thread, d_phase);
        d_phase ^= 1;
    }
    if (thread == 0)
        stores_wait();
}

#endif /* defined(__CUDA_ARCH_FEAT_SM90_ALL) */

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
            copy_all(m, all, memory);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
        multiply_all(m, all, memory, group - 1, threadIdx.x % GROUP);
    }
#endif
}

/* ---- the host -------------------------------------------------------------------------------- */

/* The driver's function, without linking the driver. */
PFN_cuTensorMapEncodeTiled_v12000 find_encode(void)
{
    void *function = NULL;
    cudaDriverEntryPointQueryResult found;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                         cudaEnableDefault, &found) != cudaSuccess ||
        found != cudaDriverEntryPointSuccess)
        return NULL;
    return (PFN_cuTensorMapEncodeTiled_v12000)function;
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

} // namespace

int hone_symmetric_tiles(int n)
{
    int count = 0;
    for (int row = 0; row < n; row += ROWS)
        count += (row + ROWS - 1) / COLUMNS + 1;
    return count;
}

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
    const int n = product->n, k = product->k, batch = product->batch;
    maps m;
    cudaError_t status = encode(function, &m.a, product->a, n, k, batch, ROWS);
    if (status == cudaSuccess)
        status = encode(function, &m.b, product->b, n, k, batch, COLUMNS);
    if (status == cudaSuccess)
        status = encode(function, &m.c, product->c, n, n, batch, BOX);
    if (status == cudaSuccess)
        status = encode(function, &m.d, product->d != NULL ? product->d : product->c, n, n, batch, BOX);
    int device = 0, processors = 0;
    if (status == cudaSuccess)
        status = cudaGetDevice(&device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    if (status == cudaSuccess)
        status = cudaFuncSetAttribute(symmetric_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      sizeof(shared));
    if (status != cudaSuccess)
        return status;
    const arguments all = {product->alpha, product->beta,     product->gamma, n,
                           k,              product->diagonal, batch,          hone_symmetric_tiles(n),
                           product->c,     product->d != NULL};
    const long long tiles = (long long)all.tiles * all.batch;
    const int blocks = tiles < processors ? (int)tiles : processors;
    symmetric_kernel<<<blocks, THREADS, sizeof(shared), stream>>>(m, all);
    return cudaGetLastError();
}
