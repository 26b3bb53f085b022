/* prove.c: what `make prove` has Frama-C's Eva follow: any bytes as a model file, in memory and
 * through the system, and any bytes as a saved state. tests/prove.sh has the options.
 *
 * For each variable Eva knows the numbers that it can be, but not that a size belongs to an
 * address. So what comes from outside lies, for the loader, where nothing can be read, and
 * prove_byte stands before rwkv__byte: it checks that the size is not more than there is, and then
 * lets it read. For any size at all, Eva's domain of octagons proves that check. So no other
 * function reads these bytes, and this one none that is not there.
 *
 * The header includes itself for its kernels. Here it includes this file instead, which does the
 * same and then puts prove_byte before rwkv__byte. */
#ifdef RWKV__PASS
#include "../rwkv.h"
static unsigned char prove_byte(const unsigned char *data, uint64_t size, uint64_t at);
#define rwkv__byte(data, size, at) prove_byte(data, size, at)
#else

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <__fc_builtin.h>

/* The system, below: the calls that the loader makes.                        */
static void  *prove_memcpy(void *to, const void *from, size_t n);
static int    prove_stat(struct stat *info);
static void  *prove_mmap(size_t n);
static void   prove_munmap(void *at, size_t n);
static long   prove_ftell(void);
static size_t prove_fread(void *to, size_t n);
static int    prove_fails(void);
static FILE   prove_stream;
#define memcpy(to, from, n)                              prove_memcpy(to, from, n)
#define open(path, flags)                                (prove_fails() ? -1 : 3)
#define close(file)                                      ((void)(file))
#define stat(path, info)                                 prove_stat(info)
#define fstat(file, info)                                prove_stat(info)
#define mmap(at, n, protection, flags, file, offset)     prove_mmap(n)
#define munmap(at, n)                                    prove_munmap(at, n)
#define fopen(path, mode)                                (prove_fails() ? NULL : &prove_stream)
#define fseek(file, offset, whence)                      (prove_fails() ? -1 : 0)
#define ftell(file)                                      prove_ftell()
#define rewind(file)                                     ((void)(file))
#define fread(to, size, n, file)                         prove_fread(to, n)
#define fclose(file)                                     ((void)(file), 0)

/* Any system that maps files. No threads, and memory from prove_alloc alone. */
#undef __linux__
#undef __unix__
#define __unix__ 1
#undef __GCC_HAVE_SYNC_COMPARE_AND_SWAP_4
#define RWKV_NO_SIMD
#define RWKV_NO_MALLOC
#define RWKV_IMPLEMENTATION
#define RWKV_FILENAME "tests/prove.c"
#include "../rwkv.h"

#define MOST (1 << 20) /* bytes of a file                                         */

/* To come here is an alarm.                                                  */
/*@ requires never: \false; assigns \nothing; */
void prove_failed(void);
#define CHECK(condition) \
    do { \
        if (!(condition)) \
            prove_failed(); \
    } while (0)

/* ---- what comes from outside, and copies of it ---------------------------- */

#define OUTSIDE ((const unsigned char *)0x10000) /* nothing may be read there     */
static unsigned char prove_bytes[MOST];          /* but by rwkv__byte, these       */
static uint64_t      prove_size;                 /* so many                        */

static rwkv_model    prove_model;
static unsigned char prove_copy[MOST]; /* the loader's own copy, of so many:         */
static uint64_t      prove_copy_size;
static int           prove_allocated, prove_copied;

static unsigned char prove_byte(const unsigned char *data, uint64_t size, uint64_t at)
{
    if (!prove_copied && (uintptr_t)data == (uintptr_t)OUTSIDE) {
        CHECK(size <= prove_size);
        return (rwkv__byte)(prove_bytes, size, at);
    }
    if (prove_copied && data == prove_copy)
        CHECK(size <= prove_copy_size);
    return (rwkv__byte)(data, size, at); /* else of an array, whose size Eva knows  */
}

/* ---- the system ----------------------------------------------------------- */

static int prove_calls, prove_fails_at; /* one call of the system fails, or none    */

static int prove_fails(void)
{
    return prove_calls++ == prove_fails_at;
}

/* First the model, then the copy.                                            */
static void *prove_alloc(size_t size, size_t align, void *user)
{
    (void)user;
    CHECK(align <= 64);
    if (prove_allocated++ == 0) {
        CHECK(size == sizeof prove_model);
        return prove_fails() ? NULL : &prove_model;
    }
    prove_copy_size = size;
    return prove_fails() ? NULL : prove_copy;
}

static void prove_free(void *memory, void *user)
{
    (void)user;
    CHECK(memory == &prove_model || memory == prove_copy);
}

/* What is written first to the copy is its beginning, or all of it.           */
static void *prove_memcpy(void *to, const void *from, size_t n)
{
    if (prove_allocated < 2 || prove_copied)
        return (memcpy)(to, from, n);
    prove_copied = 1;
    CHECK(to == prove_copy);
    CHECK(n <= prove_copy_size);
    if ((uintptr_t)from == (uintptr_t)OUTSIDE) {
        CHECK(n <= prove_size);
        from = prove_bytes;
    }
    return (memcpy)(to, from, n);
}

static int prove_stat(struct stat *info)
{
    info->st_mode = prove_fails() ? S_IFIFO : S_IFREG;
    info->st_size = (off_t)prove_size;
    return prove_fails() ? -1 : 0;
}

static void *prove_mmap(size_t n)
{
    CHECK(n == prove_size);
    return prove_fails() ? MAP_FAILED : (void *)OUTSIDE;
}

static void prove_munmap(void *at, size_t n)
{
    CHECK((uintptr_t)at == (uintptr_t)OUTSIDE);
    CHECK(n == prove_size);
}

static long prove_ftell(void)
{
    return prove_fails() ? -1 : (long)prove_size;
}

/* The header, and then what follows it to the copy. Too little is nothing.   */
static size_t prove_fread(void *to, size_t n)
{
    if (prove_copied) {
        CHECK(to == prove_copy + RWKV__HEADER_BYTES);
        CHECK(n <= prove_copy_size - RWKV__HEADER_BYTES);
        CHECK(n <= prove_size - RWKV__HEADER_BYTES);
        if (prove_fails())
            return 0;
        return n;
    }
    CHECK(n == RWKV__HEADER_BYTES);
    if (prove_fails())
        return 0;
    n = rwkv__min(n, (size_t)prove_size);
    (memcpy)(to, prove_bytes, n);
    return n;
}

/* ---- a model file --------------------------------------------------------- */

static void prove_begin(rwkv_options *options, uint64_t size)
{
    prove_size = size;
    prove_allocated = prove_copied = prove_calls = 0;
    prove_fails_at = -1;
    memset(options, 0, sizeof *options);
    options->n_threads = Frama_C_interval(0, 256);
    options->chunk = Frama_C_interval(0, 65536);
    options->allocator.alloc = prove_alloc;
    options->allocator.free = prove_free;
}

/* Any bytes, any number of them, and whether there is an error to fill or not. */
static void prove_memory(void)
{
    const uint64_t size = Frama_C_unsigned_int_interval(0, MOST);
    rwkv_options   options;
    rwkv_error     error;
    rwkv_model    *model;
    prove_begin(&options, size);
    prove_fails_at = Frama_C_interval(-1, 1);
    Frama_C_make_unknown((char *)prove_bytes, MOST);
    model = rwkv_load_memory(OUTSIDE, (size_t)size, &options, Frama_C_nondet(0, 1) ? &error : NULL);
    if (model) {
        rwkv_model_info(model);
        rwkv_free(model);
    }
}

/* The header of a small model in prove_bytes, its checksum and all data being
 * anything; returns the bytes of the file.                                   */
static uint64_t prove_header(void)
{
    static const unsigned char magic[8] = {'R', 'W', 'K', 'V', 0x0d, 0x0a, 0x1a, 0x0a};
    static const uint32_t      words[9] = {2, 4, RWKV_TYPE_F16, 0, 1, 1, 1, 1, 1};
    rwkv__file                 file;
    int                        i;
    memset(&file, 0, sizeof file);
    file.type = RWKV_TYPE_F16;
    file.n_vocab = file.n_embd = file.n_att = file.n_ffn = file.n_layer = 1;
    rwkv__lay_out(&file);
    Frama_C_make_unknown((char *)prove_bytes, MOST);
    memset(prove_bytes, 0, 120);
    (memcpy)(prove_bytes, magic, sizeof magic);
    for (i = 0; i < 9; i++)
        rwkv__put32(prove_bytes + 8 + 4 * i, words[i]);
    rwkv__put32(prove_bytes + 48, (uint32_t)file.vocab_offset);
    return file.vocab_offset;
}

/* Such a file, as it is, cut, or longer; mapped and read; and one call of the system
 * fails, or none.                                                            */
static void prove_file(uint64_t size, uint32_t flags, int fails_at)
{
    static const char path[] = "a name of more than 96 bytes / with a control character / "
                               "\n / and so that its beginning will be left out /";
    rwkv_options      options;
    rwkv_error        error;
    rwkv_model       *model;
    prove_begin(&options, size);
    options.flags = flags;
    prove_fails_at = fails_at;
    errno = Frama_C_nondet(ENOENT, Frama_C_nondet(EACCES, Frama_C_nondet(EOVERFLOW, 0)));
    model = rwkv_load(path, &options, &error);
    if (model) {
        rwkv_verify(model, &error);
        rwkv_free(model);
    }
}

static void prove_files(void)
{
    const uint64_t bytes = prove_header();
    uint32_t       flags;
    int            i;
    for (flags = 0; flags <= RWKV_FLAG_NO_MMAP; flags++) {
        prove_file(0, flags, -1);
        prove_file(RWKV__HEADER_BYTES - 1, flags, -1);
        prove_file(bytes - 64, flags, -1);
        prove_file(bytes + 64, flags, -1);
        prove_file(bytes, flags, -1);
        for (i = 0; i < 11; i++)
            prove_file(bytes, flags, i);
    }
}

/* What can be wrong with the arguments.                                      */
static void prove_arguments(void)
{
    rwkv_options options;
    rwkv_error   error;
    int          i;
    CHECK(!rwkv_load(NULL, NULL, &error));
    CHECK(!rwkv_load_memory(NULL, 0, NULL, &error));
    prove_begin(&options, 0);
    CHECK(!rwkv_load_memory(OUTSIDE, 0, NULL, &error)); /* no allocator               */
    CHECK(rwkv_verify(NULL, &error) == RWKV_ERR_ARGUMENT);
    CHECK(!rwkv_model_info(NULL).version);
    rwkv_free(NULL);
    for (i = 0; i < 5; i++) {
        prove_begin(&options, 0);
        options.flags = i == 0 ? 2 : 0;
        options.n_threads = i == 1 ? Frama_C_interval(257, INT_MAX) : 1;
        options.chunk = i == 2 ? Frama_C_interval(INT_MIN, -1) : 0;
        options.isa = i == 3 ? "no such" : "scalar";
        CHECK(!rwkv_load_memory(OUTSIDE + (i == 4), 0, &options, &error));
    }
}

/* ---- a saved state -------------------------------------------------------- */

/* Where states are made: at its beginning, and so that they end where it ends. The
 * run-time alignment needs addresses that are numbers.                       */
#define STATES     0x200000u
#define STATES_END 0x600000u

/* All that is read of a model is its head.                                   */
static unsigned char prove_weights[MOST];

typedef struct prove_shape {
    uint32_t V, D, A, F, L, type, bits;
} prove_shape;

/* A model of these dimensions; the rest of it is anything.                   */
static const rwkv_model *prove_shaped(const prove_shape *shape)
{
    rwkv_model *m = &prove_model;
    rwkv__file *f = &m->file;
    memset(m, 0, sizeof *m);
    f->n_vocab = shape->V;
    f->n_embd = shape->D;
    f->n_att = shape->A;
    f->n_ffn = shape->F;
    f->n_layer = shape->L;
    f->type = shape->type;
    memset(f->bits, (int)shape->bits, sizeof f->bits);
    f->header_crc = Frama_C_unsigned_int_interval(0, UINT_MAX);
    f->data_crc = Frama_C_unsigned_int_interval(0, UINT_MAX);
    m->data = prove_weights + MOST - rwkv__places_of(f, RWKV__HEAD).bytes;
    m->n_threads = m->chunk = 1;
    CHECK(rwkv__kernels_choose(&m->kernels, NULL));
    return m;
}

/* Any bytes, any number of them.                                             */
static void prove_state(const prove_shape *shape, int at_end)
{
    const rwkv_model *m = prove_shaped(shape);
    const size_t      bytes = rwkv_model_info(m).state_bytes;
    const uint64_t    size = Frama_C_unsigned_int_interval(0, MOST);
    rwkv_state       *state;
    CHECK(bytes <= STATES_END - STATES);
    state = rwkv_state_init(m, (void *)(uintptr_t)(at_end ? STATES_END - bytes : STATES), bytes);
    CHECK(state);
    prove_size = size;
    rwkv_state_load(state, OUTSIDE, (size_t)size);
    CHECK(rwkv_state_load(state, NULL, 0) == RWKV_ERR_ARGUMENT);
    CHECK(rwkv_state_load(NULL, OUTSIDE, 0) == RWKV_ERR_ARGUMENT);
}

static void prove_states(void)
{
    static const prove_shape shapes[] = {
        {1, 1, 1, 1, 1, RWKV_TYPE_F32, 0},
        {5, 4, 4, 8, 2, RWKV_TYPE_BF16, 0},
        {20, 17, 33, 3, 3, RWKV_TYPE_Q8, 8},
        {1, 1, 1, 1, 4096, RWKV_TYPE_F16, 0},  /* the most layers                  */
        {1, 1, 10900, 1, 8, RWKV_TYPE_F32, 0}, /* nearly 1 MiB                     */
    };
    int i;
    Frama_C_make_unknown((char *)prove_bytes, MOST);
    Frama_C_make_unknown((char *)prove_weights, MOST);
    prove_allocated = prove_copied = 0;
    prove_state(&shapes[2], 0);
    for (i = 0; i < 5; i++)
        prove_state(&shapes[i], 1);
}

/* The kernel that rounds the inputs of a product with codes to 8 bits. That none of
 * them is more than 127 times the scale is beyond intervals: it is not proved here.   */
/*@ assigns x[0 .. n - 1] \from x[0 .. n - 1]; */
static void rwkv__pack_scalar(float *x, size_t n);

/* ---- all of it ------------------------------------------------------------ */

/* Here Eva does know the size.                                               */
static void prove_reader(void)
{
    static const unsigned char one[1] = {1}, seven[7] = {1};
    const uint64_t             at = Frama_C_unsigned_long_long_interval(0, UINT64_MAX);
    (rwkv__byte)(one, 0, at);
    (rwkv__byte)(one, sizeof one, at);
    (rwkv__byte)(seven, sizeof seven, at);
}

void prove_main(void)
{
    const uint32_t       number = 1;
    const unsigned char *bytes = (const unsigned char *)&number;
#ifdef RWKV__BIG_ENDIAN
    CHECK(bytes[3] == 1);
#else
    CHECK(bytes[0] == 1);
#endif
    prove_reader();
    prove_memory();
    prove_files();
    prove_arguments();
    prove_states();
}
#endif
