/* SPDX-License-Identifier: Apache-2.0 */
/* Writing safetensors files: the bytes of the layout, and that a file at the target is replaced
 * whole or stays as it was, with nothing left beside it. */
#define _XOPEN_SOURCE 700

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <hone/hone.h>

#define LENGTH(array) (int)(sizeof(array) / sizeof(*(array)))

static hone_context *context;
static char folder[64];
static char path[128];

static void place(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", folder, name);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/hone-test-XXXXXX");
    return mkdtemp(folder) == NULL || hone_context_create(&context, NULL, NULL) != HONE_OK;
}

static int teardown(void **state)
{
    (void)state;
    hone_context_free(context);
    return rmdir(folder); /* fails, and the tests with it, when something is left behind */
}

static int files_in_folder(void)
{
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    int count = -2; /* . and .. */
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void put(const char *text, mode_t mode)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(descriptor, mode), 0);
    close(descriptor);
}

static size_t get(char *bytes, size_t room)
{
    int descriptor = open(path, O_RDONLY);
    assert_true(descriptor >= 0);
    ssize_t size = read(descriptor, bytes, room);
    assert_true(size >= 0);
    close(descriptor);
    return (size_t)size;
}

static mode_t mode_of(const char *file)
{
    struct stat about;
    assert_int_equal(lstat(file, &about), 0);
    return about.st_mode;
}

static const int64_t three = 3;
static float floats[3] = {1, -2, 0.5f};
static const hone_file_entry *small(void)
{
    static hone_file_entry entry;
    entry = (hone_file_entry){"w", hone_tensor_view(floats, HONE_F32, 1, &three)};
    return &entry;
}

/* ---- what is written ------------------------------------------------------------------------ */

static void writes_the_expected_bytes(void **state)
{
    (void)state;
    unsigned char bytes[2] = {7, 8};
    double number = 1;
    const int64_t pair[] = {1, 2}, none[] = {4, 0};
    const hone_file_entry entries[] = {
        {"z\"\\\n\x01\xc3\xa9", hone_tensor_view(bytes, HONE_U8, 2, pair)},
        {"w", hone_tensor_view(floats, HONE_F32, 1, &three)},
        {"nothing", hone_tensor_view(NULL, HONE_F32, 2, none)},
        {"d", hone_tensor_view(&number, HONE_F64, 0, NULL)},
    };
    const hone_file_pair metadata[] = {{"k", "v\t"}, {"a", ""}};
    place("layout");
    hone_error error;
    assert_int_equal(hone_file_write(context, path, entries, 4, metadata, 2, &error), HONE_OK);
    static const char header[] =
        "{\"__metadata__\":{\"k\":\"v\\t\",\"a\":\"\"},"
        "\"d\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
        "\"nothing\":{\"dtype\":\"F32\",\"shape\":[4,0],\"data_offsets\":[8,8]},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[8,20]},"
        "\"z\\\"\\\\\\n\\u0001\xc3\xa9\":{\"dtype\":\"U8\",\"shape\":[1,2],\"data_offsets\":[20,22]"
        "}}";
    size_t padded = (sizeof(header) - 1 + 7) / 8 * 8;
    char found[1024];
    size_t size = get(found, sizeof(found));
    assert_int_equal(size, 8 + padded + 22);
    uint64_t length;
    memcpy(&length, found, 8);
    assert_int_equal(length, padded);
    assert_memory_equal(found + 8, header, sizeof(header) - 1);
    for (size_t i = sizeof(header) - 1; i < padded; i++)
        assert_int_equal(found[8 + i], ' ');
    assert_memory_equal(found + 8 + padded, &number, 8);
    assert_memory_equal(found + 8 + padded + 8, floats, 12);
    assert_memory_equal(found + 8 + padded + 20, bytes, 2);
    assert_int_equal(unlink(path), 0);
}

/* Every dtype and rank comes back with its name, shape, bytes and metadata. */
static void round_trips_every_dtype(void **state)
{
    (void)state;
    enum { RANKS = 4, COUNT = HONE_DTYPE_COUNT * RANKS };
    static const int64_t shape[] = {2, 1, 3};
    static union {
        double alignment;
        unsigned char bytes[COUNT][6 * 16];
    } data;
    static char names[COUNT][32];
    hone_file_entry entries[COUNT];
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "layer.%d \xe2\x82\xac/%d", i, i % RANKS);
        for (int k = 0; k < 6 * 16; k++)
            data.bytes[i][k] = (unsigned char)(i * 31 + k);
        entries[i] = (hone_file_entry){
            names[i], hone_tensor_view(data.bytes[i], (hone_dtype)(i / RANKS), i % RANKS, shape)};
    }
    const hone_file_pair metadata[] = {{"\xf0\x9f\x98\x80", "\x7f \x1f \" \\ \b\f\n\r\t /"}};
    place("all");
    hone_error error;
    assert_int_equal(hone_file_write(context, path, entries, COUNT, metadata, 1, &error), HONE_OK);
    hone_file *file = NULL;
    assert_int_equal(hone_file_open(&file, context, path, &error), HONE_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hone_file_count(file), COUNT);
    for (int i = 0; i < COUNT; i++) {
        hone_tensor tensor;
        int64_t index = hone_file_find(file, names[i]);
        assert_true(index >= 0);
        assert_int_equal(hone_file_tensor(file, index, &tensor, &error), HONE_OK);
        assert_int_equal(tensor.dtype, i / RANKS);
        assert_int_equal(tensor.ndim, i % RANKS);
        if (tensor.ndim > 0)
            assert_memory_equal(tensor.shape, shape, sizeof(*shape) * (size_t)tensor.ndim);
        size_t size = (size_t)hone_tensor_numel(&tensor) * hone_dtype_size(tensor.dtype);
        assert_memory_equal(tensor.data, data.bytes[i], size);
    }
    assert_string_equal(hone_file_metadata(file, metadata[0].key), metadata[0].value);
    hone_file_close(file);
}

static void writes_a_file_of_nothing(void **state)
{
    (void)state;
    place("nothing");
    assert_int_equal(hone_file_write(context, path, NULL, 0, NULL, 0, NULL), HONE_OK);
    char found[64];
    assert_int_equal(get(found, sizeof(found)), 16);
    assert_memory_equal(found, "\x08\0\0\0\0\0\0\0{}      ", 16);
    assert_int_equal(unlink(path), 0);
}

/* ---- where it is written -------------------------------------------------------------------- */

static void replaces_a_file_that_is_open(void **state)
{
    (void)state;
    place("same");
    hone_error error;
    assert_int_equal(hone_file_write(context, path, small(), 1, NULL, 0, &error), HONE_OK);
    hone_file *file = NULL;
    assert_int_equal(hone_file_open(&file, context, path, &error), HONE_OK);
    hone_file_entry entries[2] = {{"first", {0}}, {"second", {0}}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(hone_file_tensor(file, 0, &entries[i].tensor, &error), HONE_OK);
    assert_int_equal(hone_file_write(context, path, entries, 2, NULL, 0, &error), HONE_OK);
    assert_memory_equal(entries[0].tensor.data, floats, sizeof(floats)); /* still the old bytes */
    hone_file_close(file);
    assert_int_equal(hone_file_open(&file, context, path, &error), HONE_OK);
    assert_int_equal(hone_file_count(file), 2);
    hone_tensor tensor;
    assert_int_equal(hone_file_tensor(file, 1, &tensor, &error), HONE_OK);
    assert_memory_equal(tensor.data, floats, sizeof(floats));
    hone_file_close(file);
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(unlink(path), 0);
}

static void keeps_modes(void **state)
{
    (void)state;
    place("mode");
    mode_t mask = umask(027);
    assert_int_equal(hone_file_write(context, path, small(), 1, NULL, 0, NULL), HONE_OK);
    assert_int_equal(mode_of(path) & 07777, 0640);
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(hone_file_write(context, path, small(), 1, NULL, 0, NULL), HONE_OK);
    assert_int_equal(mode_of(path) & 07777, 0604);
    umask(mask);
    assert_int_equal(unlink(path), 0);
}

static void follows_links(void **state)
{
    (void)state;
    char link[128];
    place("link");
    strcpy(link, path);
    place("behind");
    put("old", 0644);
    assert_int_equal(symlink("behind", link), 0);
    assert_int_equal(hone_file_write(context, link, small(), 1, NULL, 0, NULL), HONE_OK);
    assert_true(S_ISLNK(mode_of(link)));
    hone_file *file = NULL;
    assert_int_equal(hone_file_open(&file, context, path, NULL), HONE_OK);
    hone_file_close(file);
    assert_int_equal(unlink(path), 0);
    hone_error error;
    hone_status status = hone_file_write(context, link, small(), 1, NULL, 0, &error);
    assert_int_equal(status, HONE_ERROR_IO); /* it points to nothing now */
    assert_non_null(strstr(error.message, "cannot follow the link"));
    assert_int_equal(unlink(link), 0);
}

static void writes_beside_a_relative_name(void **state)
{
    (void)state;
    char here[4096];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(hone_file_write(context, "relative", small(), 1, NULL, 0, NULL), HONE_OK);
    assert_int_equal(chdir(here), 0);
    place("relative");
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(unlink(path), 0);
}

/* ---- failures ------------------------------------------------------------------------------- */

static void expect_failure(const char *target, const char *words)
{
    hone_error error;
    int before = files_in_folder();
    assert_int_equal(hone_file_write(context, target, small(), 1, NULL, 0, &error), HONE_ERROR_IO);
    if (strstr(error.message, words) == NULL)
        fail_msg("'%s' was expected in: %s", words, error.message);
    assert_int_equal(files_in_folder(), before);
}

static void refuses_bad_places(void **state)
{
    (void)state;
    char target[160];
    expect_failure("", "does not name a file");
    expect_failure("/tmp/", "does not name a file");
    expect_failure(folder, "is not a regular file");
    expect_failure("/dev/null", "is not a regular file");
    expect_failure("/proc/hone", "cannot create a file beside '/proc/hone': ");
    place("missing/file");
    expect_failure(path, "No such file or directory");
    place("plain");
    put("old", 0600);
    snprintf(target, sizeof(target), "%s/below", path);
    expect_failure(target, "Not a directory");
    assert_int_equal(unlink(path), 0);
    place("pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_failure(path, "is not a regular file");
    assert_true(S_ISFIFO(mode_of(path)));
    assert_int_equal(unlink(path), 0);
    assert_true(S_ISCHR(mode_of("/dev/null")));
}

/* A file-size limit stops the writing after any number of bytes, as a full disk does. */
static void a_full_disk_changes_nothing(void **state)
{
    (void)state;
    static float many[25000];
    const int64_t count = LENGTH(many);
    const hone_file_entry entry = {"w", hone_tensor_view(many, HONE_F32, 1, &count)};
    struct rlimit old, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    place("full");
    put("old", 0600);
    static const rlim_t limits[] = {0, 4, 8, 50, 1000, 99999, 100071};
    for (int i = 0; i < LENGTH(limits); i++) {
        limit = old;
        limit.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        hone_error error;
        hone_status status = hone_file_write(context, path, &entry, 1, NULL, 0, &error);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, HONE_ERROR_IO);
        assert_non_null(strstr(error.message, "File too large"));
        char found[16];
        assert_int_equal(get(found, sizeof(found)), 3);
        assert_memory_equal(found, "old", 3);
        assert_int_equal(files_in_folder(), 1);
    }
    assert_int_equal(hone_file_write(context, path, &entry, 1, NULL, 0, NULL), HONE_OK);
    signal(SIGXFSZ, handler);
    assert_int_equal(unlink(path), 0);
}

static void refuses_bad_entries(void **state)
{
    (void)state;
    place("never");
    const int64_t shape[] = {3}, negative[] = {-1}, strides[] = {2};
    const hone_tensor good = hone_tensor_view(floats, HONE_F32, 1, shape);
    hone_tensor strided = good, elsewhere = good;
    strided.strides = strides;
    elsewhere.device = HONE_CUDA;
    const struct {
        hone_file_entry entries[2];
        int count;
        hone_status status;
        const char *words;
    } cases[] = {
        {{{NULL, good}}, 1, HONE_ERROR_ARGUMENT, "entry 0 has no name"},
        {{{"w", good}, {"w", good}}, 2, HONE_ERROR_NAME, "two tensors are called 'w'"},
        {{{"__metadata__", good}}, 1, HONE_ERROR_NAME, "reserved"},
        {{{"\xff", good}}, 1, HONE_ERROR_NAME, "'?' is not UTF-8"},
        {{{"\xc0\x80", good}}, 1, HONE_ERROR_NAME, "is not UTF-8"},
        {{{"\xed\xa0\x80", good}}, 1, HONE_ERROR_NAME, "is not UTF-8"},
        {{{"\xe2\x82", good}}, 1, HONE_ERROR_NAME, "is not UTF-8"},
        {{{"\xf4\x90\x80\x80", good}}, 1, HONE_ERROR_NAME, "is not UTF-8"},
        {{{"\xe0\x9f\xbf", good}}, 1, HONE_ERROR_NAME, "is not UTF-8"},
        {{{"\xf0\x8f\xbf\xbf", good}}, 1, HONE_ERROR_NAME, "is not UTF-8"},
        {{{"w", hone_tensor_view(NULL, HONE_F32, 1, shape)}}, 1, HONE_ERROR_ARGUMENT, "'w'"},
        {{{"w", hone_tensor_view(floats, HONE_F32, 1, negative)}}, 1, HONE_ERROR_SHAPE, "'w'"},
        {{{"w", hone_tensor_view(floats, HONE_DTYPE_COUNT, 1, shape)}}, 1, HONE_ERROR_DTYPE, "'w'"},
        {{{"w", strided}}, 1, HONE_ERROR_SHAPE, "'w'"},
        {{{"w", elsewhere}}, 1, HONE_ERROR_UNSUPPORTED, "'w'"},
    };
    for (int i = 0; i < LENGTH(cases); i++) {
        hone_error error;
        hone_status status =
            hone_file_write(context, path, cases[i].entries, cases[i].count, NULL, 0, &error);
        if (status != cases[i].status || strstr(error.message, cases[i].words) == NULL)
            fail_msg("case %d gave %s: %s", i, hone_status_name(status), error.message);
        assert_int_equal(files_in_folder(), 0);
    }
}

static void refuses_bad_arguments(void **state)
{
    (void)state;
    place("never");
    const hone_file_pair twice[] = {{"k", "1"}, {"k", "2"}}, no_key = {NULL, "v"},
                         no_value = {"k", NULL}, no_text = {"k", "\x80"};
    hone_error e;
    assert_int_equal(hone_file_write(NULL, path, small(), 1, NULL, 0, &e), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_write(context, NULL, small(), 1, NULL, 0, &e), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_write(context, path, NULL, 1, NULL, 0, &e), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_write(context, path, NULL, 0, NULL, 1, &e), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_write(context, path, NULL, -1, NULL, 0, &e), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_write(context, path, NULL, 0, NULL, -1, &e), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_write(context, path, NULL, 0, &no_key, 1, &e), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_write(context, path, NULL, 0, &no_value, 1, &e),
                     HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_write(context, path, NULL, 0, &no_text, 1, &e), HONE_ERROR_NAME);
    assert_int_equal(hone_file_write(context, path, NULL, 0, twice, 2, &e), HONE_ERROR_NAME);
    assert_int_equal(hone_file_write(context, path, NULL, 0, twice, 2, NULL), HONE_ERROR_NAME);
    assert_int_equal(files_in_folder(), 0);
}

static void refuses_a_header_beyond_the_format(void **state)
{
    (void)state;
    place("never");
    size_t size = 100000001;
    char *value = malloc(size);
    assert_non_null(value);
    memset(value, 'x', size - 1);
    value[size - 1] = '\0';
    const hone_file_pair pair = {"k", value};
    hone_error error;
    assert_int_equal(hone_file_write(context, path, NULL, 0, &pair, 1, &error), HONE_ERROR_FORMAT);
    assert_non_null(strstr(error.message, "at most 100000000"));
    assert_int_equal(files_in_folder(), 0);
    free(value);
}

static void opening_fails_with_the_reason(void **state)
{
    (void)state;
    hone_file *file = NULL;
    hone_error error;
    place("absent");
    assert_int_equal(hone_file_open(&file, context, path, &error), HONE_ERROR_IO);
    assert_non_null(strstr(error.message, "absent': No such file or directory"));
    assert_int_equal(hone_file_open(&file, context, folder, &error), HONE_ERROR_IO);
    assert_non_null(strstr(error.message, "it is a directory"));
    assert_int_equal(hone_file_open(&file, context, "/dev/zero", &error), HONE_ERROR_IO);
    assert_non_null(strstr(error.message, "it is not a regular file"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(hone_file_open(&file, context, path, &error), HONE_ERROR_IO);
    assert_non_null(strstr(error.message, "it is not a regular file"));
    assert_int_equal(unlink(path), 0);
    put("", 0600);
    assert_int_equal(hone_file_open(&file, context, path, &error), HONE_ERROR_FORMAT);
    assert_non_null(strstr(error.message, "absent': the file is empty"));
    put("1234567", 0600);
    assert_int_equal(hone_file_open(&file, context, path, &error), HONE_ERROR_FORMAT);
    assert_non_null(strstr(error.message, "absent': it holds 7 bytes"));
    assert_int_equal(error.offset, 0);
    assert_int_equal(hone_file_open(&file, context, path, NULL), HONE_ERROR_FORMAT);
    assert_int_equal(unlink(path), 0);
    assert_null(file);
}

/* ---- a failing allocation ------------------------------------------------------------------- */

struct failing_memory {
    int allowed, live;
};

static void *allocate_some(size_t size, size_t alignment, void *user)
{
    struct failing_memory *memory = user;
    if (memory->allowed-- <= 0)
        return NULL;
    memory->live++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void release_some(void *block, size_t size, void *user)
{
    (void)size;
    struct failing_memory *memory = user;
    memory->live--;
    free(block);
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    struct failing_memory memory = {.allowed = 1000};
    hone_context_options options;
    hone_context_options_init(&options);
    options.allocator = (hone_allocator){allocate_some, release_some, &memory};
    hone_context *failing = NULL;
    assert_int_equal(hone_context_create(&failing, &options, NULL), HONE_OK);
    int before = memory.live, failures = 0;
    place("file");
    for (int allowed = 0;; allowed++, failures++) {
        memory.allowed = allowed;
        hone_error error;
        hone_status status = hone_file_write(failing, path, small(), 1, NULL, 0, &error);
        assert_int_equal(memory.live, before);
        assert_int_equal(files_in_folder(), status == HONE_OK);
        if (status == HONE_OK)
            break;
        assert_int_equal(status, HONE_ERROR_MEMORY);
    }
    assert_true(failures >= 4); /* the order, the header, two paths */
    for (int allowed = 0;; allowed++) {
        memory.allowed = allowed;
        hone_file *file = NULL;
        hone_error error;
        hone_status status = hone_file_open(&file, failing, path, &error);
        hone_file_close(file);
        assert_int_equal(memory.live, before);
        if (status == HONE_OK)
            break;
        assert_int_equal(status, HONE_ERROR_MEMORY);
    }
    memory.allowed = 1000;
    hone_context_free(failing);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_expected_bytes),
        cmocka_unit_test(round_trips_every_dtype),
        cmocka_unit_test(writes_a_file_of_nothing),
        cmocka_unit_test(replaces_a_file_that_is_open),
        cmocka_unit_test(keeps_modes),
        cmocka_unit_test(follows_links),
        cmocka_unit_test(writes_beside_a_relative_name),
        cmocka_unit_test(refuses_bad_places),
        cmocka_unit_test(a_full_disk_changes_nothing),
        cmocka_unit_test(refuses_bad_entries),
        cmocka_unit_test(refuses_bad_arguments),
        cmocka_unit_test(refuses_a_header_beyond_the_format),
        cmocka_unit_test(opening_fails_with_the_reason),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
