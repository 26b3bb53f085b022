/* test_failures.c: no failure loses anything. Every allocation and every call of the system fails in
 * turn, once and for ever, in all that the library does with files and memory; then come memory of
 * every size, files of every kind, a full disk, a program that ends while it writes, and files
 * beyond 4 GB. */
#define _DEFAULT_SOURCE /* fork, mkfifo, symlink, setrlimit, MAP_ANONYMOUS */
#define _DARWIN_C_SOURCE
#define _FILE_OFFSET_BITS 64
#include "../rwkv.h"
#include "test.h"
#include <errno.h>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#define TEST_POSIX 1
#if !defined(MAP_ANONYMOUS)
#define MAP_ANONYMOUS MAP_ANON
#endif
#else
#define TEST_POSIX 0
#endif
#if defined(_WIN32)
#include <windows.h>
#endif

/* ---- the system, as the library sees it ---------------------------------- */

typedef enum call {
    CALL_ALLOC, CALL_OPEN, CALL_FSTAT, CALL_MMAP, CALL_MUNMAP, CALL_CLOSE, CALL_STAT,
    CALL_FOPEN, CALL_FSEEK, CALL_FTELL, CALL_FREAD, CALL_FCLOSE, /* of what is read       */
    CALL_CREATE, CALL_FWRITE, CALL_FFLUSH, CALL_REWIND, CALL_FINISH, /* and of what is written */
    CALL_RENAME, CALL_REMOVE,
    CALLS, CALL_ANY = CALLS
} call;

/* What must come of it when one of them fails; RWKV_OK: nothing, it is done without. The
 * message begins with the name of the input or of the part that is written.   */
enum { NAMES_NONE, NAMES_INPUT, NAMES_PART };
static const struct {
    const char *name;
    rwkv_result code;
    int         names;
    const char *message;
} calls[CALLS] = {
    {"alloc", RWKV_ERR_MEMORY, NAMES_NONE, "no memory for "},
    {"open", RWKV_ERR_FILE, NAMES_INPUT, ": cannot open"},
    {"fstat", RWKV_ERR_FILE, NAMES_INPUT, ": not a regular file"},
    {"mmap", RWKV_OK, NAMES_NONE, NULL}, /* the file is read                       */
    {"munmap", RWKV_OK, NAMES_NONE, NULL},
    {"close", RWKV_OK, NAMES_NONE, NULL},
    {"stat", RWKV_OK, NAMES_NONE, NULL},
    {"fopen", RWKV_ERR_FILE, NAMES_INPUT, ": cannot open"},
    {"fseek", RWKV_ERR_FILE, NAMES_INPUT, ": cannot tell its size"},
    {"ftell", RWKV_ERR_FILE, NAMES_INPUT, ": cannot tell its size"},
    {"fread", RWKV_ERR_FILE, NAMES_INPUT, ": read ends at byte "},
    {"fclose", RWKV_OK, NAMES_NONE, NULL},
    {"fopen to write", RWKV_ERR_FILE, NAMES_PART, ": cannot open"},
    {"fwrite", RWKV_ERR_FILE, NAMES_PART, ": cannot write byte "},
    {"fflush", RWKV_ERR_FILE, NAMES_PART, ": cannot write "},
    {"fseek to write", RWKV_ERR_FILE, NAMES_PART, ": cannot write "},
    {"fclose after writing", RWKV_ERR_FILE, NAMES_PART, ": cannot write "},
    {"rename", RWKV_ERR_FILE, NAMES_PART, ": cannot be renamed to "},
    {"remove", RWKV_OK, NAMES_NONE, NULL},
};

static test_heap heap; /* all memory of the library                              */

static struct {
    call   fails;         /* calls of this kind fail, CALL_ANY: of any kind         */
    long   at;            /* this one, from 1; 0: none                              */
    int    for_ever;      /* and all after it                                       */
    int    portion;       /* of a read or a write that fails: 0: nothing is done, 1: half,
                             2: all but a byte                                      */
    int    ends;          /* the program ends instead                               */
    int    never_maps;
    long   count[CALLS + 1];
    long   refused;
    int    first;         /* refused call that cannot be made up for, -1: none      */
    size_t size;          /* of the last allocation refused                         */
    long   position;      /* in the file when a read or a write was                 */
    long   files, maps;   /* open                                                   */
    FILE  *written;
} sys;
static long seen[CALLS]; /* failures, in all                                     */

static int refuses(call c)
{
    sys.count[c]++;
    sys.count[CALL_ANY]++;
    if (!sys.at || (sys.fails != c && sys.fails != CALL_ANY)) return 0;
    if (sys.count[sys.fails] < sys.at || (sys.count[sys.fails] > sys.at && !sys.for_ever)) return 0;
#if TEST_POSIX
    if (sys.ends && c != CALL_FWRITE) _exit(7);
#endif
    sys.refused++;
    seen[c]++;
    errno = EMFILE;
    if (sys.first >= 0 || !calls[c].code) return 1;
    sys.first = (int)c;
    return 2;
}

static void *failing_alloc(size_t size, size_t align, void *user)
{
    const int refused = refuses(CALL_ALLOC);
    if (refused && sys.first == CALL_ALLOC) sys.size = size;
    return refused ? NULL : heap_alloc(size, align, user);
}

static void *failing_malloc(size_t size)
{
    const int refused = refuses(CALL_ALLOC);
    if (refused && sys.first == CALL_ALLOC) sys.size = size - 128; /* which rwkv__alloc adds */
    return refused ? NULL : heap_alloc(size, 2 * sizeof(void *), &heap);
}

static void failing_free(void *p)
{
    heap_free(p, &heap);
}

static size_t portion(size_t n)
{
    return sys.portion == 0 ? 0 : sys.portion == 1 ? n / 2 : n - 1;
}

static FILE *failing_fopen(const char *path, const char *mode)
{
    FILE *file = refuses(*mode == 'w' ? CALL_CREATE : CALL_FOPEN) ? NULL : fopen(path, mode);
    if (file && *mode == 'w') sys.written = file;
    if (file && sys.ends) setvbuf(file, NULL, _IONBF, 0);
    sys.files += file != NULL;
    return file;
}

static int failing_fclose(FILE *file)
{
    const int refused = refuses(file == sys.written ? CALL_FINISH : CALL_FCLOSE);
    if (file == sys.written) sys.written = NULL;
    sys.files--;
    return fclose(file) != 0 || refused ? EOF : 0; /* it is closed in any case */
}

static int failing_fseek(FILE *file, long offset, int from)
{
    return refuses(file == sys.written ? CALL_REWIND : CALL_FSEEK) ? -1 : fseek(file, offset, from);
}

static long failing_ftell(FILE *file)
{
    return refuses(CALL_FTELL) ? -1 : ftell(file);
}

#if TEST_POSIX
static size_t read_sparse(void *p, size_t n, FILE *file);
#endif

static size_t failing_fread(void *p, size_t size, size_t n, FILE *file)
{
    const int refused = refuses(CALL_FREAD);
#if TEST_POSIX
    if (n >> 16 >> 15) return read_sparse(p, n, file);
#endif
    n = fread(p, size, refused ? portion(n) : n, file);
    if (refused == 2) sys.position = ftell(file);
    return n;
}

static size_t failing_fwrite(const void *p, size_t size, size_t n, FILE *file)
{
    const int refused = refuses(CALL_FWRITE);
    n = fwrite(p, size, refused ? portion(n) : n, file);
    if (refused == 2) sys.position = ftell(file);
#if TEST_POSIX
    if (refused && sys.ends) _exit(7);
#endif
    return n;
}

static int failing_fflush(FILE *file)
{
    return refuses(CALL_FFLUSH) ? EOF : fflush(file);
}

#if defined(_WIN32)
static BOOL failing_move(const char *from, const char *to, DWORD flags)
{
    return !refuses(CALL_RENAME) && MoveFileExA(from, to, flags);
}
#else
static int failing_rename(const char *from, const char *to)
{
    return refuses(CALL_RENAME) ? -1 : rename(from, to);
}
#endif

static int failing_remove(const char *path)
{
    return refuses(CALL_REMOVE) ? -1 : remove(path);
}

#if TEST_POSIX
static int failing_open(const char *path, int flags)
{
    const int file = refuses(CALL_OPEN) ? -1 : open(path, flags);
    sys.files += file >= 0;
    return file;
}

static int failing_close(int file)
{
    const int refused = refuses(CALL_CLOSE);
    sys.files--;
    return close(file) != 0 || refused ? -1 : 0;
}

static int failing_fstat(int file, struct stat *info)
{
    return refuses(CALL_FSTAT) ? -1 : fstat(file, info);
}

static int failing_stat(const char *path, struct stat *info)
{
    return refuses(CALL_STAT) ? -1 : stat(path, info);
}

static void *failing_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    const int refused = refuses(CALL_MMAP) || sys.never_maps;
    void *map = refused ? MAP_FAILED : mmap(at, size, protection, flags, file, offset);
    sys.maps += map != MAP_FAILED;
    return map;
}

static int failing_munmap(void *at, size_t size)
{
    const int refused = refuses(CALL_MUNMAP);
    sys.maps--;
    return munmap(at, size) != 0 || refused ? -1 : 0;
}

#define open(path, flags) failing_open(path, flags)
#define close(file) failing_close(file)
#define fstat(file, info) failing_fstat(file, info)
#define stat(path, info) failing_stat(path, info)
#define mmap(at, size, protection, flags, file, offset) \
    failing_mmap(at, size, protection, flags, file, offset)
#define munmap(at, size) failing_munmap(at, size)
#endif

#define malloc(size) failing_malloc(size)
#define FREE(first, second, which, ...) which /* an allocator's `free` has two arguments */
#define free(...) FREE(__VA_ARGS__, free, failing_free, 0)(__VA_ARGS__)
#define fopen(path, mode) failing_fopen(path, mode)
#define fclose(file) failing_fclose(file)
#define fseek(file, offset, from) failing_fseek(file, offset, from)
#define ftell(file) failing_ftell(file)
#if defined(_WIN32)
#define _fseeki64(file, offset, from) failing_fseek(file, offset, from)
#define _ftelli64(file) failing_ftell(file)
#define MoveFileExA(from, to, flags) failing_move(from, to, flags)
#else
#define rename(from, to) failing_rename(from, to)
#endif
#define fread(p, size, n, file) failing_fread(p, size, n, file)
#define fwrite(p, size, n, file) failing_fwrite(p, size, n, file)
#define fflush(file) failing_fflush(file)
#define remove(path) failing_remove(path)

#define RWKV_NO_SIMD /* what fails is above the kernels, and compiles faster without them */
#define RWKV__STREAMS 1
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

#if TEST_POSIX
#undef open
#undef close
#undef fstat
#undef stat
#undef mmap
#undef munmap
#endif
#undef malloc
#undef free
#undef fopen
#undef fclose
#undef fseek
#undef ftell
#if defined(_WIN32)
#undef _fseeki64
#undef _ftelli64
#undef MoveFileExA
#else
#undef rename
#endif
#undef fread
#undef fwrite
#undef fflush
#undef remove

#include "model.h"

/* ---- what is done ---------------------------------------------------------- */

static const shape plain = {300, 5, 7, 9, 2, RWKV_TYPE_F16, TOKENIZER_WORLD, PLAIN, 1};
static const shape small = {3, 2, 2, 2, 1, RWKV_TYPE_F32, TOKENIZER_BYTES, PLAIN, 2};
static const char before[] = "what was there before";

static struct {
    model_image image;
    char        in[512], out[512], part[520];
} made;

typedef struct outcome {
    rwkv_result result;
    rwkv_error  error;
    int         told;  /* error is about it                                     */
    uint64_t    bits;  /* of all that came out                                  */
    size_t      size;  /* of the file that was written                          */
} outcome;

typedef struct scenario {
    const char *name;
    void      (*run)(const struct scenario *s, outcome *o);
    int         from_memory, never_maps, in_place;
    uint32_t    flags;
    rwkv_type   type;
    int         own;   /* allocator, not malloc: all that then differs is what is allocated */
    int         brief; /* calls fail, but not each kind for itself: it takes long  */
} scenario;

static rwkv_options options_of(const scenario *s)
{
    rwkv_options o = options_isa(NULL);
    o.flags = s->flags;
    o.chunk = 3;
    if (s->own) {
        o.allocator.alloc = failing_alloc;
        o.allocator.free = heap_free;
        o.allocator.user = &heap;
    }
    return o;
}

static uint64_t hash_state(uint64_t hash, const rwkv_state *state)
{
    size_t size;
    uint8_t *data = saved(state, &size);
    hash = hash_bytes(hash, data, size);
    free(data);
    return hash_bytes(hash, rwkv_logits(state), sizeof(float) * (size_t)plain.V);
}

/* Everything that can be done with states, none of which asks the system for anything. */
static uint64_t work(const rwkv_model *model, rwkv_state *state, rwkv_state *other)
{
    static const char text[] = "aab abc\n\n caaab\xFF";
    static float all[sizeof text * 300];
    const long asked = sys.count[CALL_ANY];
    const size_t size = rwkv_model_info(model).state_bytes;
    const rwkv_bias bias = {5, 1};
    rwkv_state *two[2], *third;
    rwkv_sampler sampler;
    rwkv_utf8 stream;
    int tokens[sizeof text], n, i, length;
    char whole[3 * 43];
    uint64_t hash;
    void *memory = test_alloc(size);
    uint8_t *data;
    size_t bytes;
    two[0] = state;
    two[1] = other;
    memset(&sampler, 0, sizeof sampler);
    memset(&stream, 0, sizeof stream);
    sampler.temperature = 1;
    sampler.bias = &bias;
    sampler.n_bias = 1;
    n = rwkv_tokenize(model, text, sizeof text - 1, tokens, (int)sizeof text);
    CHECK(n > 0 && rwkv_tokenize_special(model, text, sizeof text - 1, NULL, 0) == n);
    hash = hash_bytes(0, tokens, sizeof *tokens * (size_t)n);
    for (i = 0; i < n; i++) {
        const char *token = rwkv_token_bytes(model, tokens[i], &length);
        length = rwkv_utf8_push(&stream, token, length, whole, (int)sizeof whole);
        hash = hash_bytes(hash, whole, (size_t)length);
    }
    CHECK(rwkv_eval(tokens[0], state) != NULL);
    CHECK(rwkv_eval_sequence(tokens, n, state) != NULL);
    CHECK_INT(rwkv_eval_all(tokens, n, other, all), RWKV_OK);
    hash = hash_bytes(hash, all, sizeof *all * (size_t)(n * plain.V));
    CHECK_INT(rwkv_score(tokens, n, other, all), RWKV_OK);
    all[n] = rwkv_logprob(state, 7);
    hash = hash_bytes(hash, all, sizeof *all * (size_t)(n + 1));
    CHECK_INT(rwkv_eval_batch(tokens, two, 2), RWKV_OK);
    tokens[0] = rwkv_sample(&sampler, state);
    third = rwkv_state_init(model, memory, size);
    rwkv_state_copy(third, state);
    CHECK(rwkv_eval(tokens[0], third) != NULL);
    hash = hash_state(hash_state(hash_state(hash, state), other), third);
    data = saved(other, &bytes);
    rwkv_state_reset(third);
    CHECK_INT(rwkv_state_load(third, data, bytes), RWKV_OK);
    free(data);
    hash = hash_state(hash, third);
    CHECK_INT(rwkv_verify(model, NULL), RWKV_OK);
    rwkv_state_free(third);
    free(memory);
    CHECK_INT(sys.count[CALL_ANY], asked);
    return hash;
}

/* Load a model, make a state of it and clone that, and let them work.        */
static void load(const scenario *s, outcome *o)
{
    const rwkv_options options = options_of(s);
    rwkv_state *state, *clone;
    rwkv_model *model = s->from_memory ? rwkv_load_memory(made.image.data, made.image.size, &options, &o->error)
                                       : rwkv_load(made.in, &options, &o->error);
    o->told = model == NULL;
    o->result = model ? RWKV_ERR_MEMORY : o->error.code; /* unless all is well */
    CHECK(!model || (o->error.code == RWKV_OK && !o->error.message[0]));
    state = rwkv_state_new(model);
    if (state) CHECK(rwkv_eval(7, state) != NULL);
    o->bits = state ? hash_state(0, state) : 0;
    clone = rwkv_state_clone(state);
    if (state) CHECK_MSG(hash_state(0, state) == o->bits, "%s: a state was changed", s->name);
    if (clone) {
        CHECK(hash_state(0, clone) == o->bits);
        o->bits = work(model, state, clone);
        o->result = RWKV_OK;
    }
    rwkv_state_free(clone);
    rwkv_state_free(state);
    rwkv_free(model);
}

static const char *out_of(const scenario *s)
{
    return s->in_place ? made.in : made.out;
}

static void quantize(const scenario *s, outcome *o)
{
    const rwkv_options options = options_of(s);
    void *memory;
    uint8_t *data;
    o->result = rwkv_quantize_with(made.in, out_of(s), s->type, &options, NULL, NULL, &o->error);
    o->told = o->result != RWKV_OK;
    CHECK_INT(o->error.code, o->result);
    data = read_file(out_of(s), &o->size, &memory);
    o->bits = data ? hash_bytes(0, data, o->size) : 0;
    free(memory);
}

static const scenario scenarios[] = {
    {"from memory", load, 1, 0, 0, 0, RWKV_TYPE_DEFAULT, 0, 0},
    {"from memory, own allocator", load, 1, 0, 0, 0, RWKV_TYPE_DEFAULT, 1, 0},
    {"mapped", load, 0, 0, 0, 0, RWKV_TYPE_DEFAULT, 0, 0},
    {"mapped, own allocator", load, 0, 0, 0, 0, RWKV_TYPE_DEFAULT, 1, 0},
    {"read, as it cannot be mapped", load, 0, 1, 0, 0, RWKV_TYPE_DEFAULT, 0, 0},
    {"read", load, 0, 0, 0, RWKV_FLAG_NO_MMAP, RWKV_TYPE_DEFAULT, 0, 0},
    {"read, own allocator", load, 0, 0, 0, RWKV_FLAG_NO_MMAP, RWKV_TYPE_DEFAULT, 1, 0},
    {"to Q8", quantize, 0, 0, 0, 0, RWKV_TYPE_Q8, 0, 0},
    {"to Q8, own allocator", quantize, 0, 0, 0, 0, RWKV_TYPE_Q8, 1, 0},
    {"to Q8, read", quantize, 0, 1, 0, 0, RWKV_TYPE_Q8, 0, 1},
    {"to Q8 in place", quantize, 0, 0, 1, 0, RWKV_TYPE_Q8, 0, 1},
    {"to Q4", quantize, 0, 0, 0, 0, RWKV_TYPE_Q4, 0, 1},
    {"to Q4, own allocator", quantize, 0, 0, 0, 0, RWKV_TYPE_Q4, 1, 0},
};
enum { N_SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* ---- and what comes of it -------------------------------------------------- */

static int exists(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

static int holds(const char *path, const void *data, size_t size)
{
    size_t n = 0;
    void *memory;
    const uint8_t *is = read_file(path, &n, &memory);
    const int same = is && n == size && memcmp(is, data, size) == 0;
    free(memory);
    return same;
}

static void put_input(const shape *s)
{
    memset(&sys, 0, sizeof sys);
    made.image = model_image_new(s);
    temporary_path(made.in);
    temporary_path(made.out);
    snprintf(made.part, sizeof made.part, "%s.part", made.out);
    CHECK_INT(write_file(made.in, made.image.data, made.image.size), 0);
}

static void remove_input(void)
{
    remove(made.in);
    remove(made.out);
    model_image_free(&made.image);
}

/* Files as they are before, and nothing fails.                               */
static void prepare(const scenario *s)
{
    if (s->run == quantize) {
        CHECK_INT(write_file(made.in, made.image.data, made.image.size), 0);
        CHECK_INT(write_file(made.out, before, sizeof before), 0);
    }
    memset(&sys, 0, sizeof sys);
    sys.first = -1;
    sys.never_maps = s->never_maps;
}

/* Nothing is open, nothing is kept, no file is left or changed but the new one. */
static void check_clean(const scenario *s, const outcome *o, const char *what)
{
    const char *out = out_of(s);
    char part[520];
    snprintf(part, sizeof part, "%s.part", out);
    CHECK_MSG(heap.live == 0 && heap.errors == 0, "%s: %ld blocks of memory, %ld errors", what, heap.live,
              heap.errors);
    CHECK_MSG(sys.files == 0 && sys.maps == 0, "%s: %ld files, %ld mappings", what, sys.files, sys.maps);
    if (!s->in_place || o->result != RWKV_OK)
        CHECK_MSG(holds(made.in, made.image.data, made.image.size), "%s: the input is not what it was", what);
    if (s->run != quantize) return;
    if (!s->in_place && o->result != RWKV_OK)
        CHECK_MSG(holds(out, before, sizeof before), "%s: the old file is not what it was", what);
    if (sys.count[CALL_REMOVE] && sys.refused && (sys.fails == CALL_REMOVE || sys.fails == CALL_ANY)) remove(part);
    else CHECK_MSG(!exists(part), "%s: %s is left", what, part);
}

/* The message names the thing and what it was about, with its numbers.       */
static void check_message(const scenario *s, const outcome *o, const outcome *good, const char *what)
{
    const int names = calls[sys.first].names;
    const char *m = o->error.message, *about = calls[sys.first].message;
    const char *path = names == NAMES_INPUT ? made.in : out_of(s);
    const unsigned long whole = (unsigned long)(names == NAMES_INPUT ? made.image.size : good->size);
    char expected[1200];
    int n = snprintf(expected, sizeof expected, "%s%s%s", names ? path : "",
                     names == NAMES_PART ? ".part" : "", about);
    CHECK_MSG(strncmp(m, expected, (size_t)n) == 0, "%s: \"%s\" in \"%s\"", what, expected, m);
    switch (sys.first) {
    case CALL_ALLOC:
        snprintf(expected, sizeof expected, "(%lu bytes)", (unsigned long)sys.size);
        break;
    case CALL_FREAD:
    case CALL_FWRITE:
        snprintf(expected + n, sizeof expected - (size_t)n, "%ld of %lu", sys.position, whole);
        break;
    case CALL_FFLUSH:
    case CALL_REWIND:
    case CALL_FINISH:
        snprintf(expected + n, sizeof expected - (size_t)n, "%lu bytes", whole);
        break;
    case CALL_RENAME:
        snprintf(expected + n, sizeof expected - (size_t)n, "%s", path);
        break;
    }
    CHECK_MSG(strstr(m, expected) != NULL, "%s: \"%s\" in \"%s\"", what, expected, m);
    if (sys.first == CALL_FREAD || sys.first == CALL_FWRITE) CHECK_INT(o->error.offset, sys.position);
}

static outcome run(const scenario *s)
{
    outcome o;
    memset(&o, 0, sizeof o);
    memset(&o.error, 0xC3, sizeof o.error);
    s->run(s, &o);
    return o;
}

/* Let call number `at` fail. Returns whether there is such a call.           */
static int check_failure(const scenario *s, const outcome *good, int fails, long at, int for_ever, int part)
{
    char what[200];
    outcome o;
    snprintf(what, sizeof what, "%s: %s %ld%s, portion %d", s->name,
             fails == CALL_ANY ? "any call" : calls[fails].name, at, for_ever ? " and all later ones" : "", part);
    prepare(s);
    sys.fails = (call)fails;
    sys.at = at;
    sys.for_ever = for_ever;
    sys.portion = part;
    o = run(s);
    CHECK_MSG(o.result == (sys.first < 0 ? RWKV_OK : calls[sys.first].code), "%s: %d, \"%s\"", what,
              (int)o.result, o.told ? o.error.message : "");
    CHECK_MSG(o.result != RWKV_OK || o.bits == good->bits, "%s: not the same bits", what);
    if (o.told) CHECK_INT(o.error.code, o.result);
    if (o.told && sys.first >= 0) check_message(s, &o, good, what);
    check_clean(s, &o, what);
    if (!sys.refused) return 0;
    prepare(s);
    o = run(s);
    CHECK_MSG(o.result == RWKV_OK && o.bits == good->bits, "%s, then again: %s", what, o.error.message);
    check_clean(s, &o, what);
    return 1;
}

static void check_scenario(const scenario *s)
{
    outcome good;
    int fails, for_ever, part;
    long n;
    prepare(s);
    good = run(s);
    CHECK_MSG(good.result == RWKV_OK, "%s: %s", s->name, good.error.message);
    check_clean(s, &good, s->name);
    for (fails = 0; fails <= CALL_ANY; fails++) {
        const int portions = fails == CALL_FREAD || fails == CALL_FWRITE ? 3 : 1;
        if (fails != CALL_ALLOC && (s->own || (s->brief && fails != CALL_ANY))) continue;
        if (fails != CALL_ALLOC && TEST_SLOW_MACHINE && s->run == quantize && !s->never_maps) continue;
        for (for_ever = 0; for_ever < 2; for_ever++) {
            for (part = 0; part < portions; part++) {
                for (n = 1; check_failure(s, &good, fails, n, for_ever, part); n++) {}
            }
        }
    }
}

static void every_call_fails(void)
{
    int i, which;
    for (which = 0; which < 2; which++) {
        put_input(which ? &small : &plain);
        for (i = 0; i < N_SCENARIOS; i++)
            if ((scenarios[i].run == quantize) == which) check_scenario(&scenarios[i]);
        remove_input();
    }
    for (i = 0; i < CALLS && TEST_POSIX; i++)
        CHECK_MSG(seen[i] > 1, "%s: %ld failures", calls[i].name, seen[i]);
}

/* ---- memory of every size -------------------------------------------------- */

/* An arena gives memory until there is none; nothing is ever freed. Beside it nothing may
 * be written.                                                                 */
enum { GUARD = 64 };

typedef struct arena {
    unsigned char *base, *begin, *at, *end; /* base: the guard before it            */
    int            refused;
} arena;

static void *arena_alloc(size_t size, size_t align, void *user)
{
    arena *a = (arena *)user;
    const size_t skip = (align - (uintptr_t)a->at % align) % align;
    unsigned char *p = a->at + skip;
    if ((size_t)(a->end - a->at) < skip || (size_t)(a->end - a->at) - skip < size) {
        a->refused++;
        return NULL;
    }
    a->at = p + size;
    return p;
}

static void arena_begin(arena *a, size_t offset, size_t size)
{
    a->refused = 0;
    a->begin = a->at = a->base + GUARD + offset;
    a->end = a->begin + size;
    memset(a->begin - GUARD, 0xA5, GUARD);
    memset(a->end, 0xA5, GUARD);
}

static int arena_overrun(const arena *a)
{
    int i, bad = 0;
    for (i = 0; i < GUARD; i++) bad += (a->begin - GUARD)[i] != 0xA5 || a->end[i] != 0xA5;
    return bad;
}

/* A model, a state and its clone from an arena of this size. Returns whether it was enough.  */
static int check_arena(arena *a, size_t offset, size_t size, uint32_t flags, uint64_t expected)
{
    rwkv_options o = options_isa(NULL);
    rwkv_error error;
    rwkv_model *model;
    rwkv_state *state, *clone;
    int enough;
    arena_begin(a, offset, size);
    o.chunk = 1;
    o.flags = flags;
    o.allocator.alloc = arena_alloc;
    o.allocator.user = a;
    model = flags ? rwkv_load(made.in, &o, &error)
                  : rwkv_load_memory(made.image.data, made.image.size, &o, &error);
    CHECK_MSG(model || a->refused == 1, "%lu bytes at %lu", (unsigned long)size, (unsigned long)offset);
    CHECK(model || (error.code == RWKV_ERR_MEMORY && strncmp(error.message, "no memory for ", 14) == 0));
    state = rwkv_state_new(model);
    clone = rwkv_state_clone(state);
    enough = clone != NULL;
    CHECK_MSG(enough == (a->refused == 0), "%lu bytes at %lu", (unsigned long)size, (unsigned long)offset);
    if (state) {
        CHECK(rwkv_eval(2, state) != NULL);
        if (clone) rwkv_state_copy(clone, state);
        CHECK(hash_bytes(0, rwkv_logits(clone ? clone : state), sizeof(float) * 3) == expected);
    }
    rwkv_state_free(clone);
    rwkv_state_free(state);
    rwkv_free(model);
    CHECK_MSG(!arena_overrun(a), "%lu bytes at %lu: wrote beside them", (unsigned long)size, (unsigned long)offset);
    return enough;
}

static uint64_t expected_logits(void)
{
    rwkv_model *model = load_image(&made.image, NULL);
    rwkv_state *state = rwkv_state_new(model);
    const uint64_t hash = hash_bytes(0, rwkv_eval(2, state), sizeof(float) * 3);
    rwkv_state_free(state);
    rwkv_free(model);
    return hash;
}

/* Every size from none to 64 bytes more than are needed, at every misalignment. */
static void arenas_of_every_size(void)
{
    enum { MOST = 1 << 16 };
    uint32_t flags;
    uint64_t expected;
    void *memory;
    arena a;
    put_input(&small);
    expected = expected_logits();
    a.base = aligned_bytes(MOST + 3 * GUARD, &memory);
    for (flags = 0; flags <= RWKV_FLAG_NO_MMAP; flags++) {
        size_t offset, size, need;
        for (offset = 0; offset < 64; offset += flags ? 21 : TEST_SLOW_MACHINE ? 9 : 1) { /* files are slow */
            need = check_arena(&a, offset, MOST, flags, expected) ? (size_t)(a.at - a.begin) : 0;
            CHECK_MSG(need > 500 && need < MOST, "%lu bytes", (unsigned long)need);
            for (size = 0; size <= need + 64; size++)
                CHECK_INT(check_arena(&a, offset, size, flags, expected), size >= need);
        }
    }
    free(memory);
    remove_input();
}

/* The same of a state in memory of yours, which stays as it is if it is too little. */
static void memory_of_a_state(void)
{
    rwkv_options o = options_isa(NULL);
    uint64_t expected;
    rwkv_model *model;
    unsigned char *same;
    size_t need, offset, size;
    void *memory;
    arena a;
    o.chunk = 1;
    put_input(&small);
    expected = expected_logits();
    model = load_image(&made.image, &o);
    need = rwkv_model_info(model).state_bytes;
    a.base = aligned_bytes(need + 64 + 64 + 2 * GUARD, &memory);
    same = (unsigned char *)test_alloc(need);
    memset(same, 0xA5, need);
    CHECK(rwkv_state_init(model, NULL, need) == NULL);
    for (offset = 0; offset < 64; offset++) {
        for (size = 0; size <= need + 64; size++) {
            rwkv_state *state;
            arena_begin(&a, offset, size);
            if (size < need) memset(a.begin, 0xA5, size);
            state = rwkv_state_init(model, a.begin, size);
            CHECK_MSG((state != NULL) == (size >= need), "%lu of %lu bytes at %lu", (unsigned long)size,
                      (unsigned long)need, (unsigned long)offset);
            if (state) CHECK(hash_bytes(0, rwkv_eval(2, state), sizeof(float) * 3) == expected);
            else CHECK_SAME(a.begin, same, size);
            rwkv_state_free(state);
            CHECK_MSG(!arena_overrun(&a), "%lu bytes at %lu", (unsigned long)size, (unsigned long)offset);
        }
    }
    free(same);
    free(memory);
    rwkv_free(model);
    remove_input();
}

/* Without an alloc all memory is malloc's, so the free beside it is not used. */
static void free_of_another(void *p, void *user)
{
    (void)p;
    ++*(int *)user;
}

static void free_without_alloc(void)
{
    rwkv_options o = options_isa(NULL);
    rwkv_model *model;
    int calls_of_it = 0;
    put_input(&small);
    o.allocator.free = free_of_another;
    o.allocator.user = &calls_of_it;
    model = load_image(&made.image, &o);
    rwkv_state_free(rwkv_state_new(model));
    rwkv_free(model);
    CHECK_INT(calls_of_it, 0);
    CHECK_INT(heap.live, 0);
    remove_input();
}

/* ---- files of every kind ---------------------------------------------------- */

#if defined(_WIN32)
static void hold_part(const rwkv_quantized *matrix, void *user)
{
    if (matrix->done == 1) *(FILE **)user = fopen(made.part, "rb");
}

/* There a file that is open cannot be renamed: the old one stays.             */
static void part_in_use(void)
{
    FILE *held = NULL;
    rwkv_error error;
    put_input(&small);
    CHECK_INT(write_file(made.out, before, sizeof before), 0);
    CHECK_INT(rwkv_quantize_with(made.in, made.out, RWKV_TYPE_Q8, NULL, hold_part, &held, &error), RWKV_ERR_FILE);
    CHECK_MSG(strstr(error.message, ".part: cannot be renamed to ") != NULL, "%s", error.message);
    CHECK(holds(made.out, before, sizeof before));
    if (CHECK(held != NULL)) fclose(held);
    CHECK_INT(rwkv_quantize(made.in, made.out, RWKV_TYPE_Q8, &error), RWKV_OK);
    CHECK(!exists(made.part) && !holds(made.out, before, sizeof before));
    remove_input();
}
#endif

#if TEST_POSIX
/* Of a path that is no model file: the code and what the message says, however it is asked for. */
static void check_refused(const char *path, rwkv_result expected, const char *message)
{
    int i;
    for (i = 0; i < N_SCENARIOS; i++) {
        const scenario *s = &scenarios[i];
        const rwkv_options o = options_of(s);
        rwkv_error error;
        rwkv_result result;
        if (s->from_memory || s->in_place) continue;
        prepare(s);
        memset(&error, 0xC3, sizeof error);
        if (s->run == quantize) {
            result = rwkv_quantize_with(path, made.out, s->type, &o, NULL, NULL, &error);
        } else {
            CHECK(rwkv_load(path, &o, &error) == NULL);
            result = error.code;
        }
        CHECK_MSG(result == expected && error.code == expected, "%s: %s: %d: %s", s->name, path, (int)error.code,
                  error.message);
        CHECK_MSG(strstr(error.message, message) != NULL, "%s: \"%s\" in: %s", s->name, message, error.message);
        CHECK_MSG(result != RWKV_ERR_FILE || strncmp(error.message, path, strlen(path)) == 0, "%s: %s", s->name,
                  error.message);
        CHECK_MSG(heap.live == 0 && heap.errors == 0 && sys.files == 0 && sys.maps == 0, "%s: %s", s->name, path);
        if (s->run == quantize) CHECK(holds(made.out, before, sizeof before) && !exists(made.part));
    }
}

/* None of them may be waited for.                                            */
static void inputs_of_every_kind(void)
{
    static const char *const devices[] = {"/dev/null", "/dev/full", "/dev/zero"};
    char path[512], below[600];
    rwkv_model *model;
    int i;
    alarm(120);
    put_input(&small);
    temporary_path(path);
    check_refused(path, RWKV_ERR_FILE, ": cannot open (no such file)");
    CHECK_INT(write_file(path, before, 0), 0);
    check_refused(path, RWKV_ERR_FORMAT, "header: file ends at byte 0, needs 128");
    snprintf(below, sizeof below, "%s/model", path);
    check_refused(below, RWKV_ERR_FILE, ": cannot open");
    if (geteuid() != 0) {
        CHECK_INT(chmod(path, 0), 0);
        check_refused(path, RWKV_ERR_FILE, ": cannot open (permission denied)");
    }
    remove(path);
    CHECK_INT(mkdir(path, 0700), 0);
    check_refused(path, RWKV_ERR_FILE, ": not a regular file");
    remove(path);
    CHECK_INT(mkfifo(path, 0600), 0);
    check_refused(path, RWKV_ERR_FILE, ": not a regular file");
    remove(path);
    CHECK_INT(symlink(path, path), 0); /* to itself */
    check_refused(path, RWKV_ERR_FILE, ": cannot open");
    remove(path);
    CHECK_INT(symlink(made.in, path), 0); /* to a model, which is none of these */
    model = rwkv_load(path, NULL, NULL);
    CHECK(model != NULL);
    rwkv_free(model);
    remove(path);
    for (i = 0; i < 3; i++)
        if (exists(devices[i])) check_refused(devices[i], RWKV_ERR_FILE, ": not a regular file");
    remove_input();
    alarm(0);
}

/* What is there and is no file is not replaced by one.                       */
static void check_not_written(const char *out, rwkv_result expected, const char *message)
{
    struct stat was, is;
    rwkv_error error;
    char part[600];
    const int there = lstat(out, &was) == 0;
    snprintf(part, sizeof part, "%s.part", out);
    prepare(&scenarios[0]);
    CHECK_MSG(rwkv_quantize(made.in, out, RWKV_TYPE_Q8, &error) == expected, "%s: %s", out, error.message);
    CHECK_MSG(strncmp(error.message, out, strlen(out)) == 0 && strstr(error.message, message) != NULL,
              "\"%s\" in: %s", message, error.message);
    CHECK_MSG((lstat(out, &is) == 0) == there && (!there || was.st_ino == is.st_ino), "%s was replaced", out);
    CHECK_MSG(lstat(part, &is) != 0 || S_ISDIR(is.st_mode), "%s is left", part);
    CHECK(heap.live == 0 && sys.files == 0 && sys.maps == 0);
}

static void outputs_of_every_kind(void)
{
    char path[512], other[600];
    alarm(120);
    put_input(&small);
    temporary_path(path);
    CHECK_INT(mkdir(path, 0700), 0);
    check_not_written(path, RWKV_ERR_FILE, ": not a regular file");
    remove(path);
    CHECK_INT(mkfifo(path, 0600), 0);
    check_not_written(path, RWKV_ERR_FILE, ": not a regular file");
    remove(path);
    if (exists("/dev/null")) { /* by a link: who may, would replace the device      */
        CHECK_INT(symlink("/dev/null", path), 0);
        check_not_written(path, RWKV_ERR_FILE, ": not a regular file");
        remove(path);
    }
    snprintf(other, sizeof other, "%s/model", path);
    check_not_written(other, RWKV_ERR_FILE, ": cannot open (no such file)");
    snprintf(other, sizeof other, "%s.part", path);
    CHECK_INT(mkdir(other, 0700), 0);
    check_not_written(path, RWKV_ERR_FILE, ".part: cannot open");
    remove(other);
    remove_input();
    alarm(0);
}

/* ---- a full disk, and the end of the program --------------------------------- */

/* No room after so many bytes, by the system itself.                         */
static void check_full(const scenario *s, rlim_t room, const outcome *good)
{
    struct rlimit limit, old;
    outcome o;
    char what[100];
    snprintf(what, sizeof what, "%s: room for %lu of %lu bytes", s->name, (unsigned long)room,
             (unsigned long)good->size);
    prepare(s);
    if (getrlimit(RLIMIT_FSIZE, &old) != 0) return;
    limit = old;
    limit.rlim_cur = room;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return;
    o = run(s);
    setrlimit(RLIMIT_FSIZE, &old);
    if (room >= good->size) {
        CHECK_MSG(o.result == RWKV_OK && o.bits == good->bits, "%s: %s", what, o.error.message);
    } else {
        CHECK_MSG(o.result == RWKV_ERR_FILE, "%s: %d", what, (int)o.result);
        CHECK_MSG(strstr(o.error.message, ".part: cannot write ") != NULL, "%s: %s", what, o.error.message);
    }
    check_clean(s, &o, what);
}

static void full_disk(void)
{
    static const shape larger = {400, 40, 40, 60, 2, RWKV_TYPE_F16, TOKENIZER_WORLD, PLAIN, 3};
    void (*heard)(int) = signal(SIGXFSZ, SIG_IGN);
    rlim_t room;
    int i;
    put_input(&larger);
    for (i = 0; i < N_SCENARIOS; i++) {
        const scenario *s = &scenarios[i];
        outcome good;
        if (s->type != RWKV_TYPE_Q8 || s->own || s->never_maps) continue;
        prepare(s);
        good = run(s);
        CHECK_MSG(good.result == RWKV_OK && good.size > 20000, "%s", good.error.message);
        for (room = 0; room < 200; room += 9) check_full(s, room, &good);
        for (; room < good.size + 5000; room += 2039) check_full(s, room, &good);
        for (room = good.size - 2; room < good.size + 2; room++) check_full(s, room, &good);
    }
    prepare(&scenarios[0]);
    remove(made.out);
    CHECK_INT(write_file(made.in, made.image.data, made.image.size), 0);
    if (exists("/dev/full") && symlink("/dev/full", made.part) == 0) {
        rwkv_error error;
        CHECK_INT(rwkv_quantize(made.in, made.out, RWKV_TYPE_Q8, &error), RWKV_ERR_FILE);
        CHECK_MSG(strstr(error.message, ".part: cannot write ") != NULL, "%s", error.message);
        CHECK(!exists(made.part) && !exists(made.out));
    }
    remove_input();
    signal(SIGXFSZ, heard);
}

/* The program ends at any call: the old file is there, or the new one whole. What was
 * begun does not look like a model, and is in nobody's way.                  */
static int check_end(const scenario *s, long at, int portions, const outcome *good)
{
    char what[100];
    int status = 0;
    pid_t child;
    outcome o;
    rwkv_model *model;
    snprintf(what, sizeof what, "%s: ends at call %ld, portion %d", s->name, at, portions);
    prepare(s);
    sys.fails = CALL_ANY;
    sys.at = at;
    sys.ends = 1;
    sys.portion = portions;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        run(s);
        _exit(0);
    }
    sys.at = sys.ends = 0;
    if (!CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status))) return 0;
    CHECK(holds(made.in, made.image.data, made.image.size));
    if (WEXITSTATUS(status) == 0) return 0;
    CHECK_INT(WEXITSTATUS(status), 7);
    o.bits = 0;
    if (!holds(made.out, before, sizeof before)) {
        size_t size;
        void *memory;
        const uint8_t *data = read_file(made.out, &size, &memory);
        CHECK_MSG(data && hash_bytes(0, data, size) == good->bits, "%s: neither the old file nor the new", what);
        free(memory);
    }
    model = rwkv_load(made.part, NULL, NULL); /* in vain, or it is all there        */
    CHECK_MSG(!model || (rwkv_model_info(model).model_bytes == good->size && rwkv_verify(model, NULL) == RWKV_OK),
              "%s: what was begun looks like a model", what);
    rwkv_free(model);
    o = run(s);
    CHECK_MSG(o.result == RWKV_OK && o.bits == good->bits, "%s, then again: %s", what, o.error.message);
    check_clean(s, &o, what);
    return 1;
}

static void the_program_ends(void)
{
    const scenario s = {"to Q8", quantize, 0, 0, 0, 0, RWKV_TYPE_Q8, 0, 0};
    outcome good;
    int portions;
    long n;
    put_input(&small);
    prepare(&s);
    good = run(&s);
    for (portions = 0; portions < 3; portions++) {
        for (n = 1; check_end(&s, n, portions, &good); n++) {}
        CHECK_MSG(n > 40, "%ld calls", n);
    }
    remove_input();
}

/* ---- files beyond 4 GB ------------------------------------------------------ */

/* Some of a file; the rest of it is a hole.                                  */
typedef struct extent {
    off_t  at;
    size_t size;
} extent;

static struct {
    char    folder[512]; /* of this program: temporary files may be in memory       */
    char    path[600];
    FILE   *file;
    extent  extents[4096];
    int     n;
} big;

static void put_extent(uint64_t at, const void *data, size_t size)
{
    if (size == 0) return;
    CHECK(fseeko(big.file, (off_t)at, SEEK_SET) == 0 && fwrite(data, 1, size, big.file) == size);
    if (!CHECK(big.n < 4096)) return;
    big.extents[big.n].at = (off_t)at;
    big.extents[big.n++].size = size;
}

/* The same numbers as in the small model, at the end of each tensor, and zeros before them. */
static uint64_t big_write(const shape *s, const model_image *from)
{
    const uint64_t vocab = get64(from->data + AT_VOCAB_BYTES);
    uint64_t at = HEADER_BYTES, was = HEADER_BYTES;
    uint8_t header[HEADER_BYTES];
    int i;
    big.n = 0;
    big.file = fopen(big.path, "wb");
    if (!CHECK_MSG(big.file != NULL, "%s", big.path)) return 0;
    for (i = 0; i < tensor_count(s); i++) {
        const tensor t = tensor_form(s, i), small_one = tensor_form(&from->s, i);
        put_extent(at + t.bytes - small_one.bytes, from->data + was, (size_t)small_one.bytes);
        at += t.bytes;
        was += small_one.bytes;
    }
    put_extent(at, from->data + was, (size_t)vocab);
    header_write(header, s, vocab, 1);
    put_extent(0, header, HEADER_BYTES);
    CHECK_INT(ftruncate(fileno(big.file), (off_t)(at + vocab)), 0);
    CHECK_INT(fclose(big.file), 0);
    return at + vocab;
}

/* Into memory that is zero, so that holes cost nothing.                       */
static size_t read_sparse(void *p, size_t n, FILE *file)
{
    const off_t from = ftello(file), to = from + (off_t)n;
    int i;
    for (i = 0; i < big.n; i++) {
        const extent *e = &big.extents[i];
        if (e->at < from || e->at >= to) continue;
        if (fseeko(file, e->at, SEEK_SET) != 0) return 0;
        if (fread((unsigned char *)p + (e->at - from), 1, e->size, file) != e->size) return 0;
    }
    return fseeko(file, to, SEEK_SET) == 0 ? n : 0;
}

static size_t lazy_bytes;

static void *lazy_alloc(size_t size, size_t align, void *user)
{
    void *p;
    (void)align;
    (void)user;
    if (size >> 16 == 0) return heap_alloc(size, align, &heap);
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    lazy_bytes = size;
    return p == MAP_FAILED ? NULL : p;
}

static void lazy_free(void *p, void *user)
{
    (void)user;
    if ((uintptr_t)p % 4096 == 0) munmap(p, lazy_bytes);
    else heap_free(p, &heap);
}

static int has_holes(void)
{
    struct stat info;
    FILE *file;
    int good;
    snprintf(big.path, sizeof big.path, "%s/rwkv-test-%ld.tmp", big.folder, (long)getpid());
    file = fopen(big.path, "wb");
    good = file && fseeko(file, (off_t)1 << 26, SEEK_SET) == 0 && fputc(1, file) == 1 &&
                     fflush(file) == 0 && fstat(fileno(file), &info) == 0 && info.st_blocks < 2048;
    if (file) fclose(file);
    remove(big.path);
    return good;
}

static rwkv_options big_options(uint32_t flags)
{
    rwkv_options o = options_isa(NULL);
    o.chunk = 1;
    o.flags = flags;
    o.allocator.alloc = lazy_alloc;
    o.allocator.free = lazy_free;
    return o;
}

/* All the numbers that two states of models with the same layers have.        */
static void check_same_numbers(rwkv_state *x, rwkv_state *y, const shape *s)
{
    int l, part, n;
    CHECK_SAME(rwkv_logits(x), rwkv_logits(y), sizeof(float) * (size_t)s->V);
    for (l = 0; l < s->L; l++) {
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X; part++) {
            const float *a = rwkv_state_view(x, (rwkv_part)part, l, &n);
            if (!CHECK_SAME(a, rwkv_state_view(y, (rwkv_part)part, l, NULL), sizeof(float) * (size_t)n)) return;
        }
    }
}

static void check_big_model(const rwkv_model *model, const rwkv_model *few, const shape *s)
{
    static const char text[] = "aab abc\n\n caaab\xFF";
    rwkv_state *state = rwkv_state_new(model), *expected = rwkv_state_new(few);
    int tokens[2][sizeof text], i, n[2];
    CHECK(rwkv_eval(300, state) && rwkv_eval(300, expected));
    check_same_numbers(state, expected, s);
    n[0] = rwkv_tokenize(model, text, sizeof text - 1, tokens[0], (int)sizeof text);
    n[1] = rwkv_tokenize(few, text, sizeof text - 1, tokens[1], (int)sizeof text);
    CHECK(n[0] > 0 && n[0] == n[1] && memcmp(tokens[0], tokens[1], sizeof(int) * (size_t)n[0]) == 0);
    for (i = 0; i < s->V; i++) {
        const char *a = rwkv_token_bytes(model, i, &n[0]), *b = rwkv_token_bytes(few, i, &n[1]);
        CHECK(n[0] == n[1] && memcmp(a, b, (size_t)n[0]) == 0);
    }
    rwkv_state_free(state);
    rwkv_state_free(expected);
}

/* 64 layers, each with a million channels of which the last 16 are not zero: the values of the
 * others are never read, so that it evaluates quickly. From the 58th layer on they lie past 4 GB. */
static void files_beyond_4_gb(void)
{
    static const shape few = {400, 2, 3, 16, 64, RWKV_TYPE_F32, TOKENIZER_WORLD, PLAIN, 9};
    shape many = few;
    model_image image;
    rwkv_model *expected;
    uint32_t flags;
    uint64_t bytes;
    long live;
    many.F = 1 << 20;
    if (!has_holes()) SKIP("files beyond 4 GB (none with holes beside the program)");
    if (TEST_SLOW_MACHINE && sizeof(size_t) > 4) SKIP("files beyond 4 GB (a slow machine)");
    image = model_image_new(&few);
    expected = load_image(&image, NULL);
    live = heap.live;
    bytes = big_write(&many, &image);
    CHECK(bytes > (uint64_t)9 << 29);
    for (flags = 0; flags <= RWKV_FLAG_NO_MMAP; flags++) {
        const rwkv_options o = big_options(flags);
        rwkv_error error;
        rwkv_model *model;
        memset(&sys, 0, sizeof sys);
        model = rwkv_load(big.path, &o, &error);
        if (sizeof(size_t) > 4) {
            CHECK_MSG(model != NULL, "%s", error.message);
            CHECK(rwkv_model_info(model).model_bytes == bytes);
            if (model) check_big_model(model, expected, &few);
        } else { /* told, not cut off                                              */
            CHECK(model == NULL && error.code == RWKV_ERR_FILE);
            CHECK_MSG(strstr(error.message, "too large for this machine") != NULL, "%s", error.message);
        }
        rwkv_free(model);
        CHECK(heap.live == live && heap.errors == 0 && sys.files == 0 && sys.maps == 0);
    }
    remove(big.path);
    rwkv_free(expected);
    model_image_free(&image);
}

/* The embedding of a token, and what the last 16 rows of the head make of it.   */
static void embed_and_read(const rwkv_model *model, int token, float *x, float *logits)
{
    rwkv_state *state = rwkv_state_new(model);
    rwkv__matmul head;
    rwkv__pass pass;
    if (!CHECK(state != NULL)) return;
    memset(&pass, 0, sizeof pass);
    pass.m = model;
    pass.T = 1;
    pass.state = state;
    rwkv__lay_out_pass(&pass);
    rwkv__embed(&pass, &token);
    memcpy(x, pass.x, sizeof *x * rwkv__D(model));
    head = rwkv__product(&pass, RWKV__HEAD, 0, pass.x, logits);
    rwkv__skip_panels(&head, head.n_out / 16 - 1);
    head.n_out = 16;
    rwkv__multiply(&pass, &head, 1, RWKV__OP_NONE);
    rwkv_state_free(state);
}

/* An embedding and a head of 4 GB each: their last rows.                      */
static void matrices_beyond_4_gb(void)
{
    static const shape few = {16, 65, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 9};
    shape many = few;
    model_image image;
    const rwkv_options o = big_options(0);
    rwkv_model *model, *expected;
    rwkv_error error;
    float x[2][65], logits[2][16];
    int i;
    many.V = 1 << 24;
    if (!has_holes()) SKIP("matrices beyond 4 GB (no files with holes beside the program)");
    if (TEST_SLOW_MACHINE || sizeof(size_t) < 8) SKIP("matrices beyond 4 GB (a small machine)");
    image = model_image_new(&few);
    expected = load_image(&image, &o);
    CHECK(big_write(&many, &image) > (uint64_t)8 << 30);
    model = rwkv_load(big.path, &o, &error);
    CHECK_MSG(model != NULL, "%s", error.message);
    for (i = 0; i < 16 && model; i++) {
        embed_and_read(model, many.V - 16 + i, x[0], logits[0]);
        embed_and_read(expected, i, x[1], logits[1]);
        CHECK_SAME(x[0], x[1], sizeof x[0]);
        CHECK_SAME(logits[0], logits[1], sizeof logits[0]);
    }
    rwkv_free(model);
    rwkv_free(expected);
    CHECK_INT(heap.live, 0);
    remove(big.path);
    model_image_free(&image);
}
#endif

/* ---- what no call brings about ---------------------------------------------- */

/* malloc would be asked for more, which must not wrap around.                 */
static void size_beyond_the_largest(void)
{
    rwkv_allocator none;
    size_t less;
    memset(&none, 0, sizeof none);
    for (less = 0; less <= 128; less += 32) CHECK(rwkv__alloc(&none, SIZE_MAX - less) == NULL);
}

static void reasons_of_the_system(void)
{
    errno = ENOENT;
    CHECK_STR(rwkv__why(), " (no such file)");
    errno = EACCES;
    CHECK_STR(rwkv__why(), " (permission denied)");
#ifdef EOVERFLOW
    errno = EOVERFLOW;
    CHECK_STR(rwkv__why(), " (too large for this machine)");
#endif
    errno = EMFILE;
    CHECK_STR(rwkv__why(), "");
}

/* Cut off after 191 characters, wherever that is: in the format, in a text, in the dots
 * that stand for the beginning of a long one, in a number.                   */
static void full_messages(void)
{
    struct {
        rwkv_error error;
        char       after[8];
    } e;
    char format[256], text[256], full[1024];
    int ahead, length;
    memset(text, 't', sizeof text);
    text[255] = 0;
    for (ahead = 1; ahead < 240; ahead++) {
        for (length = 0; length < 130; length += 3) {
            memset(&e, 0x5A, sizeof e);
            memset(format, '0', sizeof format);
            memcpy(format + ahead, "%s%u!!", 7);
            CHECK_INT(rwkv__fail(&e.error, RWKV_ERR_FORMAT, 7, format, text + 255 - length,
                                 (uint64_t)4096), RWKV_ERR_FORMAT);
            snprintf(full, sizeof full, "%0*d%s%s%d!!", ahead, 0, length > 96 ? "..." : "",
                     text + 255 - (length > 96 ? 93 : length), 4096);
            full[sizeof e.error.message - 1] = 0;
            CHECK_STR(e.error.message, full);
            CHECK_INT(e.error.offset, 7);
            CHECK_INT(e.after[0], 0x5A);
        }
    }
}

/* 2^31 tokens, which only 700 MB of text make.                                */
static void tokens_are_counted_to_the_largest_int(void)
{
    rwkv__tokens out = {NULL, 0, INT_MAX - 1};
    rwkv__put(&out, 1);
    CHECK_INT(out.n, INT_MAX);
    rwkv__put(&out, 1);
    CHECK_INT(out.n, INT_MAX);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(every_call_fails);
    RUN(arenas_of_every_size);
    RUN(memory_of_a_state);
    RUN(free_without_alloc);
    RUN(size_beyond_the_largest);
    RUN(reasons_of_the_system);
    RUN(full_messages);
    RUN(tokens_are_counted_to_the_largest_int);
#if defined(_WIN32)
    RUN(part_in_use);
#endif
#if TEST_POSIX
    RUN(inputs_of_every_kind);
    RUN(outputs_of_every_kind);
    RUN(full_disk);
    RUN(the_program_ends);
    snprintf(big.folder, sizeof big.folder, "%.*s.",
             strchr(argv[0], '/') ? (int)(strrchr(argv[0], '/') + 1 - argv[0]) : 0, argv[0]);
    RUN(files_beyond_4_gb);
    RUN(matrices_beyond_4_gb);
#endif
    return test_end();
}

