// SPDX-License-Identifier: Apache-2.0
// hone's index against the hash maps people use: random 64-bit keys to row numbers. Prints CSV:
// map, threads, keys, millions of operations per second growing, finding hits, finding misses,
// bytes per key where the map can tell, and the longest batch over the median one while growing.
// Arguments: keys, then the maps to run (hone, hone2: two threads, boost, absl, khash, std); all if
// none is named.
#include <absl/container/flat_hash_map.h>
#include <boost/unordered/unordered_flat_map.hpp>
#include <htslib/khash.h>

#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include "subject.h"
#include "support.h"

namespace
{
constexpr size_t batch_size = 65536;

// splitmix64: a different key for every i, and no key of one stream in another.
int64_t key_of(uint64_t i)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return static_cast<int64_t>(x ^ x >> 31);
}

struct hone_map {
    explicit hone_map(int threads) : subject(subject_create(threads))
    {
    }
    ~hone_map()
    {
        subject_free(subject);
    }
    void insert(const int64_t *keys, size_t n, int64_t *rows)
    {
        subject_insert(subject, keys, n, rows);
    }
    void find(const int64_t *keys, size_t n, int64_t *rows)
    {
        subject_find(subject, keys, n, rows);
    }
    double bytes() const
    {
        return static_cast<double>(subject_bytes(subject));
    }
    struct subject *subject;
};

// Any map with the standard's interface, one key at a time.
template <typename map> struct standard_map {
    void insert(const int64_t *keys, size_t n, int64_t *rows)
    {
        for (size_t i = 0; i < n; i++)
            rows[i] = items.try_emplace(keys[i], static_cast<int64_t>(items.size())).first->second;
    }
    void find(const int64_t *keys, size_t n, int64_t *rows)
    {
        for (size_t i = 0; i < n; i++) {
            const auto it = items.find(keys[i]);
            rows[i] = it == items.end() ? -1 : it->second;
        }
    }
    double bytes() const
    {
        return 0;
    }
    map items;
};

// The maps' own defaults for integers, except where that is the identity and needs mixing.
struct mixed_hash {
    size_t operator()(int64_t key) const
    {
        uint64_t x = static_cast<uint64_t>(key);
        x = (x ^ x >> 32) * 0x9e3779b97f4a7c15u;
        return x ^ x >> 32;
    }
};

/* khash's own narrowing. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
KHASH_MAP_INIT_INT64(rows, int64_t)
#pragma GCC diagnostic pop

struct khash_map {
    khash_map() : items(kh_init(rows))
    {
    }
    ~khash_map()
    {
        kh_destroy(rows, items);
    }
    void insert(const int64_t *keys, size_t n, int64_t *rows)
    {
        for (size_t i = 0; i < n; i++) {
            int added;
            const khint_t at = kh_put(rows, items, static_cast<khint64_t>(keys[i]), &added);
            if (added)
                kh_val(items, at) = static_cast<int64_t>(kh_size(items)) - 1;
            rows[i] = kh_val(items, at);
        }
    }
    void find(const int64_t *keys, size_t n, int64_t *rows)
    {
        for (size_t i = 0; i < n; i++) {
            const khint_t at = kh_get(rows, items, static_cast<khint64_t>(keys[i]));
            rows[i] = at == kh_end(items) ? -1 : kh_val(items, at);
        }
    }
    double bytes() const
    {
        return 0;
    }
    khash_t(rows) * items;
};

// Lets the heap own `size` bytes of touched memory, in huge pages if the system has them, and never
// give them back: all maps grow in the same warm memory. Else the first touches measure the system
// and, in a virtual machine, the host: there a page may cost a hundred times what it costs later.
void warm_heap(size_t size)
{
    mallopt(M_MMAP_THRESHOLD, INT32_MAX);
    mallopt(M_TRIM_THRESHOLD, -1); // never: the largest positive one is only 2 GiB
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TOP_PAD, 0);
    void *const memory = std::malloc(size);
    if (memory == nullptr)
        return;
    const uintptr_t page = uintptr_t{2} << 20, from = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t first = (from + page - 1) / page * page;
    madvise(reinterpret_cast<void *>(first), (from + size - first) / page * page, MADV_HUGEPAGE);
    for (size_t i = 0; i < size; i += 4096)
        static_cast<volatile char *>(memory)[i] = 1;
    std::free(memory);
}

volatile int64_t sink;

template <typename map> void measure(const char *name, int threads, size_t count, map &&subject)
{
    std::vector<int64_t> keys(batch_size), rows(batch_size);
    std::vector<double> batches;
    double growing = 0;
    for (size_t first = 0; first < count; first += batch_size) {
        const size_t n = std::min(batch_size, count - first);
        for (size_t i = 0; i < n; i++)
            keys[i] = key_of(first + i);
        const double start = bench_now();
        subject.insert(keys.data(), n, rows.data());
        const double took = bench_now() - start;
        growing += took;
        if (n == batch_size && first >= count / 2)
            batches.push_back(took);
        sink = rows[n - 1];
    }
    uint64_t state = 1;
    const auto look = [&](size_t n, uint64_t offset, bool present) {
        for (size_t i = 0; i < n; i++)
            keys[i] = key_of(offset + bench_random(&state, count));
        const double start = bench_now();
        subject.find(keys.data(), n, rows.data());
        const double took = bench_now() - start;
        for (size_t i = 0; i < n; i++)
            if ((rows[i] >= 0) != present) {
                std::fprintf(stderr, "bench: %s lost a key\n", name);
                std::exit(1);
            }
        return took;
    };
    // Batches of both kinds take turns: the memory's speed varies from second to second.
    const size_t lookups = std::min<size_t>(count, 20000000);
    double hitting = 0, missing = 0;
    for (size_t first = 0; first < lookups; first += batch_size) {
        const size_t n = std::min(batch_size, lookups - first);
        hitting += look(n, 0, true);
        missing += look(n, uint64_t{1} << 40, false);
    }
    const double hits = static_cast<double>(lookups) / hitting / 1e6;
    const double misses = static_cast<double>(lookups) / missing / 1e6;
    double stall = 0;
    if (!batches.empty()) {
        const double median = bench_median(batches.data(), batches.size());
        stall = batches.back() / median; // they are in order now
    }
    std::printf("%s,%d,%zu,%.2f,%.2f,%.2f,%.2f,%.2f\n", name, threads, count,
                static_cast<double>(count) / growing / 1e6, hits, misses,
                subject.bytes() / static_cast<double>(count), stall);
    std::fflush(stdout);
}
} // namespace

int main(int argc, char **argv)
{
    const size_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000000;
    const std::vector<std::string> only(argv + std::min(argc, 2), argv + argc);
    const auto wanted = [&](const char *name) {
        return only.empty() || std::find(only.begin(), only.end(), name) != only.end();
    };
    warm_heap(count * 64 + (size_t{64} << 20));
    std::printf("map,threads,keys,grow_Mps,hit_Mps,miss_Mps,bytes_per_key,longest_over_median\n");
    if (wanted("hone"))
        measure("hone", 1, count, hone_map(1));
    if (wanted("hone2"))
        measure("hone", 2, count, hone_map(2));
    if (wanted("boost"))
        measure("boost::unordered_flat_map", 1, count,
                standard_map<boost::unordered_flat_map<int64_t, int64_t>>());
    if (wanted("absl"))
        measure("absl::flat_hash_map", 1, count,
                standard_map<absl::flat_hash_map<int64_t, int64_t>>());
    if (wanted("khash"))
        measure("khash", 1, count, khash_map());
    if (wanted("std"))
        measure("std::unordered_map", 1, count,
                standard_map<std::unordered_map<int64_t, int64_t, mixed_hash>>());
    return 0;
}
