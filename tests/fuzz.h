/* fuzz.h: what every fuzz target is but for its function; include it alone.
 *
 *     fuzz_NAME FILE...       run these inputs; the last line is "N passed, 0 failed"
 *
 * With FUZZ_LIBFUZZER libFuzzer brings the main function (`make fuzz`). A finding
 * aborts.                                                                    */
#ifndef FUZZ_H_INCLUDED
#define FUZZ_H_INCLUDED

#include "../rwkv.h"

#if defined(FUZZ_LIBFUZZER) /* which looks for new paths, but not in here */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif
#include "model.h"
#include "ref_text.h"
#if defined(FUZZ_LIBFUZZER)
#pragma clang attribute pop
#endif
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            fflush(stdout); \
            abort(); \
        } \
    } while (0)

/* What an input says: bytes and numbers, zeros when it is at its end.        */
typedef struct source {
    const uint8_t *at, *end;
} source;

static inline uint32_t next_byte(source *s)
{
    return s->at < s->end ? *s->at++ : 0;
}

static inline uint32_t next_half(source *s)
{
    uint32_t low = next_byte(s);
    return low | next_byte(s) << 8;
}

static inline uint32_t next_word(source *s)
{
    uint32_t low = next_half(s);
    return low | next_half(s) << 16;
}

#ifndef FUZZ_LIBFUZZER
int main(int argc, char **argv)
{
    int i;
    for (i = 1; i < argc; i++) {
        size_t size;
        void *memory;
        uint8_t *data = read_file(argv[i], &size, &memory);
        if (!data) {
            printf("no file %s\n", argv[i]);
            return 1;
        }
        printf("%s\n", argv[i]);
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, size);
        free(memory);
    }
    printf("%d passed, 0 failed\n", argc - 1);
    return 0;
}
#endif

#endif /* FUZZ_H_INCLUDED */
