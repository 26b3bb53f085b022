/* rwkv_web.c: what the page calls: one model, one state, one sampler. It needs no C
 * library; `make web` has the command. What is said in words goes to `message`.
 * Memory is taken from the end of the module's, and never given back: for another
 * model rwkv.js makes another module.                                         */
#define RWKV_API static __attribute__((unused))
#define RWKV_NO_STDIO
#define RWKV_NO_MALLOC
#define RWKV_NO_THREADS
#define RWKV_IMPLEMENTATION
#include "../../rwkv.h"

#define EXPORT(name) __attribute__((export_name(#name)))

extern unsigned char __heap_base; /* the linker's: here the memory that nothing uses begins */

static size_t       used, kept; /* the end of what is taken; of what stays taken       */
static rwkv_model  *model;
static rwkv_state  *state;
static rwkv_sampler sampler;
static rwkv_utf8    stream;
static rwkv_error   error;
static int         *tokens, n_tokens, n_read; /* of the prompt                         */
static float       *decays;
static char         text[3 * (1024 + 3)]; /* a token has at most 1024 bytes            */

/* ---- memory --------------------------------------------------------------- */

/* `size` bytes at a multiple of `align`, a power of two; NULL: there are no more. */
static void *take(size_t size, size_t align, void *user)
{
    const size_t page = 65536, begin = (used + align - 1) & ~(align - 1);
    const size_t have = __builtin_wasm_memory_size(0) * page;
    (void)user;
    if (begin < used || size > (size_t)0 - page - begin) return NULL;
    if (begin + size > have &&
        __builtin_wasm_memory_grow(0, (begin + size - have + page - 1) / page) == (size_t)-1)
        return NULL;
    used = begin + size;
    return (void *)begin;
}

/* Memory for what the page hands over or asks for, until it next calls this. The
 * tokens of a prompt that are not read yet come before it.                    */
EXPORT(room) void *room(size_t size)
{
    if (!kept) kept = (size_t)&__heap_base;
    used = n_read < n_tokens ? (size_t)(tokens + n_tokens) : kept;
    return take(size, 64, NULL);
}

/* ---- the model ------------------------------------------------------------ */

/* How much of what it remembers each channel keeps, w of the paper as exp(-w), for
 * the picture. No key reaches an exponent of 64, so after one token it is 64 less w. */
static void find_decays(const rwkv_info *info)
{
    int l, i;
    for (l = 0; l < info->n_layer; l++) {
        float *p = rwkv_state_view(state, RWKV_PART_ATT_P, l, NULL);
        for (i = 0; i < info->n_att; i++) p[i] = 64;
    }
    rwkv_eval(0, state);
    for (l = 0; l < info->n_layer; l++) {
        const float *p = rwkv_state_view(state, RWKV_PART_ATT_P, l, NULL);
        for (i = 0; i < info->n_att; i++) decays[l * info->n_att + i] = p[i] - 64;
    }
    rwkv_state_reset(state);
}

/* Use the `size` bytes of a model file that lie in the last room(). 0, or an error. */
EXPORT(load) int load(const void *file, size_t size)
{
    rwkv_options options = {0};
    rwkv_info    info;
    options.allocator.alloc = take;
    options.chunk = 16;
    model = rwkv_load_memory(file, size, &options, &error);
    if (!model || rwkv_verify(model, &error) != RWKV_OK) return error.code;
    info = rwkv_model_info(model);
    state = rwkv_state_new(model);
    decays = (float *)take((size_t)info.n_layer * (size_t)info.n_att * sizeof *decays, 64, NULL);
    if (!state || !decays) return RWKV_ERR_MEMORY;
    find_decays(&info);
    kept = used;
    return RWKV_OK;
}

EXPORT(message) const char *message(void) { return error.message; }
EXPORT(result_string) const char *result_string(int code)
{
    return rwkv_result_string((rwkv_result)code);
}

/* Twelve numbers of 32 bits. */
EXPORT(info) const rwkv_info *info(void)
{
    static rwkv_info of_model;
    of_model = rwkv_model_info(model);
    return &of_model;
}

/* (layers, n_att): logarithms of what is kept from token to token. */
EXPORT(decay) const float *decay(void) { return decays; }

/* One part of a layer's state, an rwkv_part. */
EXPORT(view) const float *view(int part, int layer)
{
    return rwkv_state_view(state, (rwkv_part)part, layer, NULL);
}

/* ---- writing -------------------------------------------------------------- */

EXPORT(set_sampler) void set_sampler(float temperature, float top_p)
{
    sampler.temperature = temperature;
    sampler.top_p = top_p;
}

EXPORT(set_seed) void set_seed(uint64_t seed) { sampler.seed = seed; }
EXPORT(seed) uint64_t seed(void) { return sampler.seed; }

/* Token 0 ends a text and begins the next, but in a vocabulary of bytes, where it is
 * a byte like others.                                                         */
static int has_end(void)
{
    int length = 0;
    rwkv_token_bytes(model, 0, &length);
    return length == 0;
}

/* Begin a text with a prompt, which lies in the last room(). Returns how many tokens
 * that makes, to be read by read_prompt. If there are none, or it is negative, an
 * error, nothing has changed.                                                 */
EXPORT(begin) int begin(const char *prompt, size_t length)
{
    const int first = has_end();
    int       n = rwkv_tokenize(model, prompt, length, NULL, 0), *made;
    if (n < 0 || n + first == 0) return n;
    made = (int *)take((size_t)(n + first) * sizeof *made, 64, NULL);
    if (!made) return -RWKV_ERR_MEMORY;
    if (first) made[0] = 0;
    rwkv_tokenize(model, prompt, length, made + first, n);
    n_tokens = n + first;
    n_read = 0;
    tokens = (int *)(kept + (-kept & (sizeof *tokens - 1)));
    memmove(tokens, made, (size_t)n_tokens * sizeof *tokens);
    rwkv_state_reset(state);
    memset(&stream, 0, sizeof stream);
    return n_tokens;
}

/* Read up to `most` tokens of the prompt. Returns how many there are still. */
EXPORT(read_prompt) int read_prompt(int most)
{
    const int n = most < n_tokens - n_read ? most : n_tokens - n_read;
    if (n && !rwkv_eval_sequence(tokens + n_read, n, state)) return -RWKV_ERR_ARGUMENT;
    n_read += n;
    return n_tokens - n_read;
}

/* Write a token. Returns how many bytes it adds to the text, which are then in
 * written(); -1: the text ends here.                                          */
EXPORT(write_token) int write_token(void)
{
    int         length, token = rwkv_sample(&sampler, state);
    const char *bytes = rwkv_token_bytes(model, token, &length);
    if (token == 0 && length == 0) return -1;
    rwkv_eval(token, state);
    return rwkv_utf8_push(&stream, bytes, length, text, sizeof text);
}

EXPORT(written) const char *written(void) { return text; }

/* Go on after the end of a text, with the next one. */
EXPORT(pass_end) void pass_end(void) { rwkv_eval(0, state); }

/* ---- the state ------------------------------------------------------------ */

/* What save() writes: the state, the seed, lowest byte first, and the beginning of a
 * character.                                                                  */
EXPORT(save_size) size_t save_size(void)
{
    return rwkv_state_save(state, NULL, 0) + sizeof sampler.seed + sizeof stream;
}

/* To the last room(). */
EXPORT(save) void save(unsigned char *out)
{
    out += rwkv_state_save(state, out, rwkv_state_save(state, NULL, 0));
    memcpy(out, &sampler.seed, sizeof sampler.seed);
    memcpy(out + sizeof sampler.seed, &stream, sizeof stream);
}

/* From there, as many bytes. 0, or an error, and then nothing has changed. */
EXPORT(restore) int restore(const unsigned char *in)
{
    const size_t size = rwkv_state_save(state, NULL, 0);
    const int    result = rwkv_state_load(state, in, size);
    if (result != RWKV_OK) return result;
    memcpy(&sampler.seed, in + size, sizeof sampler.seed);
    memcpy(&stream, in + size + sizeof sampler.seed, sizeof stream);
    if (stream.n_tail > 3) stream.n_tail = 0;
    n_tokens = n_read = 0;
    return RWKV_OK;
}

/* ---- the C library -------------------------------------------------------- */

void *memcpy(void *to, const void *from, size_t n) { return __builtin_memcpy(to, from, n); }
void *memmove(void *to, const void *from, size_t n) { return __builtin_memmove(to, from, n); }
void *memset(void *to, int c, size_t n) { return __builtin_memset(to, c, n); }

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = (const unsigned char *)a, *q = (const unsigned char *)b;
    for (; n && *p == *q; n--, p++, q++) continue;
    return n ? *p - *q : 0;
}

int strcmp(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++) continue;
    return (unsigned char)*a - (unsigned char)*b;
}

size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n]) n++;
    return n;
}
