/* rwkv.h - RWKV language models in one C header. MIT licence, at the end.
 *
 * RWKV is a recurrent network with the quality of a transformer (Peng et al.,
 * "RWKV: Reinventing RNNs for the Transformer Era", arXiv 2305.13048): reading
 * a token takes the same time and memory however long the text is.
 *
 * DO THIS
 *
 *   #define RWKV_IMPLEMENTATION
 *   #include "rwkv.h"
 *
 * in one C or C++ file, and #include "rwkv.h" alone in the others. It needs
 * libc and libm (link with -lm), C99 or C++11, and no compiler flags: kernels
 * for the processor it runs on are chosen when a model is loaded.
 *
 * EXAMPLE
 *
 *   rwkv_sampler sampler = {0};         // all zero: the likeliest token
 *   rwkv_error   error;
 *   rwkv_model  *model = rwkv_load("story.rwkv", NULL, &error);
 *   rwkv_state  *state = rwkv_state_new(model);     // NULL if model is NULL
 *   int          token = 0, size, i;    // 0 begins a text
 *   const char  *bytes;
 *
 *   if (!state)
 *       return fprintf(stderr, "%s\n", model ? "no memory" : error.message), 1;
 *   for (i = 0; i < 100 && rwkv_eval(token, state); i++) {
 *       token = rwkv_sample(&sampler, state);
 *       bytes = rwkv_token_bytes(model, token, &size);
 *       fwrite(bytes, 1, (size_t)size, stdout);
 *   }
 *   rwkv_state_free(state);
 *   rwkv_free(model);
 *
 * A model file is made with tools/convert_pth.py from the checkpoints that are
 * published.
 *
 * CONTENTS                                        search for the >>tag
 *
 *    1  >>api           what a program calls; stop reading after it
 *    2  >>platform      compilers, processors, systems
 *    3  >>errors        codes and messages
 *    4  >>types         scalars, layouts, and the table of kernels
 *    5  >>kernels       the arithmetic, once for every instruction set
 *    6  >>dispatch      choosing the instruction set
 *    7  >>parallel      splitting work over threads
 *    8  >>file          the model file: header, tensors, checks
 *    9  >>model         loading, mapping, freeing
 *   10  >>layers        what both kinds of layers do
 *   11  >>time_mix      the five equations of the time mix
 *   12  >>channel_mix   the three of the channel mix
 *   13  >>forward       one pass, and the ways to call it
 *   14  >>state         making, copying, saving states
 *   15  >>utf8          bytes to whole characters
 *   16  >>tokenizer     text to tokens and back
 *   17  >>sampler       choosing a token
 *   18  >>quantize      making files of 8 and 4 bits
 *   19  >>end           version and licence
 *
 * OPTIONS, to be defined before the #include of the implementation; those with
 * a star before every #include. What can be chosen when the program runs is in
 * rwkv_options instead.
 *
 *   RWKV_IMPLEMENTATION     put the functions here, in exactly one file
 *   RWKV_STATIC         *   the functions are static: several files, several copies
 *   RWKV_API            *   what stands before every public function (extern)
 *   RWKV_FILENAME           how the file includes itself ("rwkv.h"); change it if
 *                           you rename the file: the name alone, no folder
 *   RWKV_ASSERT(c)          checks of the library's own reasoning (none); never
 *                           fails on bad input
 *   RWKV_NO_STDIO       *   no files: no rwkv_load, no rwkv_quantize
 *   RWKV_NO_MMAP            rwkv_load reads files and never maps them
 *   RWKV_NO_MALLOC          no malloc: options.allocator must be given, states may
 *                           be made by rwkv_state_init
 *   RWKV_NO_SIMD            scalar kernels only: a third of the code, much slower
 *   RWKV_NO_THREADS         no OpenMP and no options.parallel
 *   RWKV_NO_TOKENIZER   *   no rwkv_tokenize*, rwkv_token_bytes, rwkv_utf8_push
 *   RWKV_NO_SAMPLER     *   no rwkv_sample, and less scratch if the chunk is small
 *   RWKV_NO_QUANTIZE    *   no rwkv_quantize
 *   RWKV_NO_ERROR_STRINGS   error messages are empty, codes and offsets stay
 *
 * DOES NOT
 *
 *   - run RWKV versions other than 4, or models whose parts differ from it
 *   - read checkpoints: the converter does that
 *   - train, or use a GPU
 *   - print, exit, abort, or keep anything in global variables
 *   - read the weights while loading: damage to them goes unnoticed (unless you
 *     call rwkv_verify), and NaN in is NaN out; but NaN and infinity in ffn.value
 *     may count for nothing when times 0
 *   - use vector instructions with MSVC, or wide ones with gcc for Windows (clang
 *     does); scalar code without a fused multiply-add is some 40 times slower
 *
 * MEMORY
 *
 *   A mapped model costs no memory of its own, and pages of it come and go as
 *   the system likes. rwkv_info tells the size of a state: the numbers that are
 *   the text so far, the logits, and the scratch of one evaluation, which grows
 *   with options.chunk (and by 32 KB for each thread, if it is more than 1) and is
 *   small at chunk = 1. All memory of a model comes with rwkv_load, all memory
 *   of a state with rwkv_state_new or rwkv_state_clone; nothing else allocates.
 *   Of the stack, rwkv_tokenize takes 40 KB with the 20B vocabulary, rwkv_quantize
 *   8, anything else less than 4, on 32-bit machines less than 2 (compiled with
 *   optimization). No function calls itself.
 *   Failure leaves nothing behind and changes nothing.
 *
 * THREADS
 *
 *   A model may be used by all threads at once, a state by one at a time. One
 *   evaluation runs on the calling thread, unless built with OpenMP (-fopenmp)
 *   or given options.parallel and options.n_threads.
 *
 * NUMERICS
 *
 *   The same model file and tokens give the same bits of logits, whatever the
 *   instruction set, the compiler, its flags short of -ffast-math, the number
 *   of threads, the chunk, and whether tokens come one by one, in a sequence or
 *   in a batch. This holds because every number is defined by one sequence of
 *   IEEE-754 binary32 operations, in >>types and >>kernels:
 *
 *   - Every multiplication that feeds an addition is written as a fused
 *     multiply-add, FMA(a, b, c), so that there is nothing a compiler may fuse
 *     or not, unless its product is exact anyway (2^n in exp; floats multiplied
 *     as doubles). Without the instruction it is computed in software.
 *   - A dot product is FMA over ascending columns, in blocks of 256 columns
 *     that start from 0; the blocks' sums are added to 0 in ascending order.
 *     Columns times 0 may be left out, because they change nothing.
 *   - Sums over a vector (layer norm, softmax) run in 16 lanes, lane i taking
 *     elements i, i + 16, ...; then halves are added: 8, 4, 2, 1.
 *   - exp is the one in >>types, the logarithm of a probability the one in
 *     >>forward. Division and square root are IEEE's.
 *   - Sums of probabilities are doubles, added in one order; nothing but floats
 *     and quotients is added to them.
 *   - Threads split the rows of a matrix, never a sum.
 *
 *   It does not hold for the bits of a NaN, or if the program sets another
 *   rounding mode or flushes subnormal numbers to zero.
 *
 * FILE FORMAT, version 2
 *
 *   Little-endian. The file is laid out as the kernels read it, so loading is:
 *   map, check, point. Everything begins at a multiple of 64; gaps are zero.
 *
 *     0  u8[8]  'R' 'W' 'K' 'V' 13 10 26 10    44  u32  n_head: 0
 *     8  u32    format version: 2              48  u64  bytes of the whole file
 *    12  u32    RWKV version: 4                56  u64  bytes of the vocabulary
 *    16  u32    type: rwkv_type                64  f32  eps of the layer norms
 *    20  u32    tokenizer: 0 none, 1 bytes,    76       zero
 *               2 World, 3 20B                120  u32  CRC-32 of all bytes from
 *    24  u32    n_vocab    V, up to 2^24                128 on
 *    28  u32    n_embd     D, up to 2^20      124  u32  CRC-32 of the 124 bytes
 *    32  u32    n_att      A, up to 2^20                before
 *    36  u32    n_ffn      F, up to 2^20
 *    40  u32    n_layer    L, up to 4096
 *    68  u8[8]  types Q8 and Q4: bits of the codes, 8, 6, 5 or 4 (Q8: 8), of
 *               att.receptance, key, value, output, ffn.receptance, key, value
 *               (8 or 4) and head; else zero
 *
 *   From byte 128 on, the tensors in the order of the table in >>file, which is
 *   the order in which an evaluation reads them; layer after layer. Where each
 *   one lies follows from the dimensions alone.
 *
 *     vector     f32, padded with zeros to a multiple of 16. time_decay holds
 *                w = -exp(time_decay) of the checkpoint
 *     embedding  rows one after another, of the file's type, as in the
 *                checkpoint: ln0 is applied when a row is looked up, because the
 *                result would have to be rounded again to be stored in 16 bits
 *     matrix     (rows, columns) of the file's type, in panels of 16 rows,
 *                interleaved: for each column the panel's 16 elements side by
 *                side. Element (r, k) is number r/16*16*columns + k*16 + r%16.
 *                Rows that are missing in the last panel are zero. A vector
 *                register of any width reads whole lanes, a lane is a row, and
 *                there is never a sum across lanes.
 *
 *         panel 0, column 0     column 1              panel 1, column 0
 *       | r0 r1 r2 ... r15 | r0 r1 r2 ... r15 | ... | r16 r17 ... r31 | ...
 *
 *     by columns (ffn.value alone, most of whose inputs are 0, so that the columns
 *                they are multiplied with need not be read): the columns one after
 *                another, each with its rows, to whole panels as above. Element
 *                (r, k) is number k*R + r, R being the rows rounded up to 16.
 *
 *   In a Q8 or Q4 file a matrix is codes of 8 to 4 bits, each for an integer,
 *   times a scale for each block of 32 columns of a row:
 *
 *         weight(r, k) = scale(r, k / 32) * value(code(r, k))
 *
 *     u8  exponent[panels]
 *     u8  scale[panels][blocks][16]      of each row of the panel
 *         code[panels][blocks]           at a multiple of 64
 *
 *   blocks is columns / 32, rounded up; what lies past the last column counts for
 *   nothing. Rows that are missing in the last panel have codes for 0. The bits of a
 *   scale as a float, E being the panel's exponent:
 *
 *          31     30 ... 26    25 ... 19    18 ... 0
 *       | bit 7 |    0       |  bits 6..0 |    0     |   + E * 2^23
 *
 *   so that it is +-(1 + m / 16) * 2^(e + E - 127): 1 bit of sign, 3 of e, 4 of m.
 *   The 32 columns of a block are 8 groups of 4. Of a group, byte 4i + j is of
 *   row i of the panel and column j of the group:
 *
 *     8 bits   [8][64] bytes, a group each: the value itself, as an int8
 *     4 bits   [4][64] bytes: in the low half of byte i of line q the code of
 *              byte i of group 2q, in the high half that of group 2q + 1
 *     5 bits   the same with the low 4 bits of the codes; then [64] bytes, bit g
 *              of byte i being the fifth bit of byte i of group g
 *     6 bits   the same with another [64] bytes, for the sixth bits
 *
 *   By columns there are scale[blocks][R], and no groups:
 *
 *     8 bits   [columns][R] bytes, the values themselves
 *     4 bits   [columns][R / 32, rounded up][16] bytes: in the low half of byte i the
 *              code of row i of 32, in the high half that of row i + 16
 *
 *   The value of a code of 4, 5 or 6 bits is number `code` of 16, 32 or 64 that
 *   suit weights as they are distributed; they stand in >>types. In such a file the
 *   embedding is rows of codes of 8 bits, for each row
 *
 *     i8 value[blocks * 32], f16 scale[blocks]
 *
 *   Then the vocabulary, if the tokenizer is not 0:
 *
 *     u32  n_cells, n_bytes, n_pairs, n_words
 *     u32  offset[V + 1]    token i is bytes offset[i] to offset[i + 1]; none: it
 *                           has no text
 *     u32  cell[n_cells][3]  {base, parent, token + 1}: a trie of the tokens' bytes
 *                           (20B: of the tokens that their own bytes are merged
 *                           to). Cell 0 is the root; the child of cell s by byte
 *                           c is cell base + c if its parent is s. Unused:
 *                           {0, 2^32 - 1, 0}; without children: base is 2^32 - 1
 *     only for 20B, where n_pairs > 0:
 *     u32  first_pair[V + 1]  the merges with token i on the left are
 *                           pair[first_pair[i]] to pair[first_pair[i + 1]]
 *     u32  pair[n_pairs][2]  {right, merged token}, by right. Of all merges the
 *                           one with the lowest merged token goes first
 *     and n_words words about text:
 *     u32  n_runs, n_specials, n_blocks, n_decomposed, n_sequence, n_composed,
 *          0, 0
 *     u32  run[n_runs]      token of i + 1 spaces, or 2^32 - 1
 *     u32  special[n_specials][3]  {token, begin, length}: of its name in bytes[],
 *                           after the tokens' texts; the first that fits is taken,
 *                           so the longest come first
 *     u16  block[8704]      where the properties of 128 code points each are
 *     u16  property[n_blocks][128]  bits 0-1: 0 other, 1 letter, 2 number, 3 white
 *                           space; 2-9: canonical combining class; 10: can be
 *                           decomposed; 11: may compose with what is before it;
 *                           12: NFC changes it even alone
 *     u32  decomposed[n_decomposed][2]  {code point, begin * 8 + length}, by code
 *                           point: fully decomposed it is sequence[begin] on
 *     u32  sequence[n_sequence]  code points
 *     u32  composed[n_composed][3]  {first, second, both}, by first and second;
 *                           Hangul is in none of these three. What is out of
 *                           order in any of these tables is not found.
 *     u8   bytes[n_bytes]
 */
#ifndef RWKV__PASS

/* ============================================================================
 * 1. MARK: api                                                          >>api
 *
 * Everything a program needs. Stop at the end of this section if you are only
 * interested in using the library.
 * ========================================================================== */
#ifndef RWKV_H_INCLUDED
#define RWKV_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#define RWKV_VERSION 100 /* major * 10000 + minor * 100 + patch of this header */

#ifndef RWKV_API
#if defined(RWKV_STATIC)
#if defined(__GNUC__)
#define RWKV_API static __attribute__((unused))
#else
#define RWKV_API static
#endif
#else
#define RWKV_API extern
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The weights and the vocabulary. Read-only once loaded: any number of threads
 * and states may use one model at the same time.                             */
typedef struct rwkv_model rwkv_model;

/* One timeline of text: the recurrent numbers, the scratch of one evaluation
 * and its logits. One thread at a time; different states are independent.
 * A state borrows its model, which must outlive it.                          */
typedef struct rwkv_state rwkv_state;

/* ---- results and errors ------------------------------------------------- */

typedef enum rwkv_result {
    RWKV_OK = 0,
    RWKV_ERR_ARGUMENT,    /* NULL pointer, token out of range, bad option      */
    RWKV_ERR_MEMORY,      /* the allocator returned NULL, or there is none     */
    RWKV_ERR_FILE,        /* open, read, map or write failed                   */
    RWKV_ERR_FORMAT,      /* not a model file, truncated, or corrupt           */
    RWKV_ERR_UNSUPPORTED, /* valid, but this build or version lacks it         */
    RWKV_ERR_MISMATCH     /* a state or file that belongs elsewhere            */
} rwkv_result;

/* What went wrong, for the calls that can fail because of the world. `offset`
 * is the byte of the file that the message is about (0 if about none). The
 * message is one line, without a newline, and names the thing and the numbers:
 * "block 3 att.key.weight: file ends at byte 81920, needs 131072".           */
typedef struct rwkv_error {
    rwkv_result code;
    uint64_t    offset;
    char        message[192];
} rwkv_error;

/* A short constant English phrase for a code. Never NULL.                    */
RWKV_API const char *rwkv_result_string(rwkv_result code);

/* ---- options ------------------------------------------------------------ */

/* How the elements of the matrices and of the embedding are stored.
 * Everything else is 32-bit float, and so is the arithmetic, but for Q8 and Q4:
 * there the inputs of matrices are rounded to 8 bits too, with a scale for each
 * 32, and products are exact sums of integers, times the scales.             */
typedef enum rwkv_type {
    RWKV_TYPE_DEFAULT = 0,
    RWKV_TYPE_F32,        /* IEEE binary32                                     */
    RWKV_TYPE_F16,        /* IEEE binary16                                     */
    RWKV_TYPE_BF16,       /* the upper half of a binary32                      */
    RWKV_TYPE_Q8,         /* codes of 8 bits, 8.25 a weight with their scales  */
    RWKV_TYPE_Q4          /* codes of 4 to 6 bits, at most 5 a weight in all   */
} rwkv_type;

/* Where memory comes from. `align` is a power of two, at most 64, and the
 * memory must have that alignment; `size` need not be a multiple of it. A NULL
 * `alloc` means malloc and free, whatever the rest says (with RWKV_NO_MALLOC:
 * an error). `free` may be NULL for an allocator that gives everything back at
 * once.                                                                      */
typedef struct rwkv_allocator {
    void *(*alloc)(size_t size, size_t align, void *user);
    void  (*free)(void *ptr, void *user);
    void  *user;
} rwkv_allocator;

/* Your thread pool: run fn(ctx, i) for every i in [0, n), in any order, on any
 * threads, and return when all are done. n is never larger than n_threads. It
 * is called many times for each token, so the threads must be kept waiting,
 * not made anew; and from several threads at once if you evaluate several
 * states at once.                                                            */
typedef struct rwkv_parallel {
    void (*run)(int n, void (*fn)(void *ctx, int i), void *ctx, void *user);
    void  *user;
} rwkv_parallel;

/* Read the file into memory instead of mapping it.                           */
#define RWKV_FLAG_NO_MMAP 1u

/* All zero, or a NULL pointer, means the defaults.                           */
typedef struct rwkv_options {
    uint32_t       flags;     /* RWKV_FLAG_*, or'ed                            */
    int            n_threads; /* most parts that work is split into, up to 256.
                                 0: 1; if built with OpenMP, its count, but no
                                 more than there are cores. What is too small
                                 to gain by it is not split                    */
    int            chunk;     /* most rows in one pass over the weights, up to
                                 65536; 0: 168. Sets the scratch of a state    */
    const char    *isa;       /* a name of rwkv_isa_available; NULL: the widest */
    rwkv_allocator allocator;
    rwkv_parallel  parallel;  /* NULL run: OpenMP if built with it, else the
                                 calling thread alone                          */
} rwkv_options;

/* ---- model -------------------------------------------------------------- */

/* The vocabulary in the model file.                                          */
typedef enum rwkv_tokenizer {
    RWKV_TOKENIZER_NONE = 0,
    RWKV_TOKENIZER_BYTES, /* token b is the byte b                             */
    RWKV_TOKENIZER_WORLD, /* greedy longest match                              */
    RWKV_TOKENIZER_20B    /* byte-pair encoding of GPT-NeoX: Pile and Raven    */
} rwkv_tokenizer;

typedef struct rwkv_info {
    int         version;      /* of RWKV: 4                                    */
    int         n_vocab, n_embd, n_att, n_ffn, n_layer;
    rwkv_type   type;         /* of the matrices                               */
    size_t      model_bytes;  /* the model file                                */
    size_t      state_bytes;  /* one live state with its scratch               */
    size_t      save_bytes;   /* one saved state                               */
    const char *isa;          /* the kernels in use                            */
    rwkv_tokenizer tokenizer;
} rwkv_info;

#ifndef RWKV_NO_STDIO
/* Load a model file. It is mapped where the system can, so this takes no time
 * and no memory, and the file must not change while the model lives. The file
 * must end where the model ends. The header and the vocabulary are checked;
 * the weights are not read, so damage to them goes unnoticed: see rwkv_verify.
 * Returns NULL on failure. *error, if not NULL, is filled then, and cleared
 * otherwise.                                                                 */
RWKV_API rwkv_model *rwkv_load(const char *path, const rwkv_options *options, rwkv_error *error);
#endif

/* The same from `size` bytes in memory, which are borrowed, not copied: they
 * must stay as they are until rwkv_free. `data` must lie at a multiple of 4
 * (64 is fastest); bytes after the end of the model are ignored. Only a
 * big-endian machine makes a copy.                                           */
RWKV_API rwkv_model *rwkv_load_memory(const void *data, size_t size,
                                      const rwkv_options *options, rwkv_error *error);

/* Read the whole model, and compare it with the checksum (CRC-32) that its file
 * has in the header: for what came over a network or has lain in flash for long
 * (but a big-endian machine reads its own copy). RWKV_ERR_FORMAT if a bit is not
 * what it was, RWKV_ERR_ARGUMENT if model is NULL; *error, if not NULL, is filled
 * then, and cleared otherwise. Some 300 MB a second.                         */
RWKV_API rwkv_result rwkv_verify(const rwkv_model *model, rwkv_error *error);

/* NULL is allowed. Free every state of the model first.                      */
RWKV_API void rwkv_free(rwkv_model *model);

/* All zero for NULL.                                                         */
RWKV_API rwkv_info rwkv_model_info(const rwkv_model *model);

/* ---- state -------------------------------------------------------------- */

/* A new, empty state from the model's allocator. NULL if there is no memory. */
RWKV_API rwkv_state *rwkv_state_new(const rwkv_model *model);

/* The same in memory of yours: at least rwkv_info.state_bytes, at any
 * alignment; it must not be moved. NULL if it is too small. rwkv_state_free
 * does nothing to it.                                                        */
RWKV_API rwkv_state *rwkv_state_init(const rwkv_model *model, void *memory, size_t size);

/* A new state that goes on where this one is. NULL if there is no memory.    */
RWKV_API rwkv_state *rwkv_state_clone(const rwkv_state *state);

/* Make dst go on where src is. Both must be of one model, else dst is left as
 * it was. Never allocates.                                                   */
RWKV_API void rwkv_state_copy(rwkv_state *dst, const rwkv_state *src);

/* Back to the empty state.                                                   */
RWKV_API void rwkv_state_reset(rwkv_state *state);
RWKV_API void rwkv_state_free(rwkv_state *state);

/* Write the state to `out` and return rwkv_info.save_bytes. If `size` is less
 * than that, nothing is written: NULL, 0 asks for the size. Little-endian on
 * every machine; a state saved on one goes on, to the bit, on any other. A
 * sampler is not part of it: keep its seed and counts to draw the same tokens. */
RWKV_API size_t rwkv_state_save(const rwkv_state *state, void *out, size_t size);

/* Take up a saved state, logits included; `size` is exactly its size.
 * RWKV_ERR_MISMATCH if it belongs to another model file, RWKV_ERR_FORMAT if it
 * is cut or corrupt; the state is then as it was.                            */
RWKV_API rwkv_result rwkv_state_load(rwkv_state *state, const void *data, size_t size);

/* The parts of one layer's state; a and b are the WKV's numerator and
 * denominator, both divided by exp(p).                                       */
typedef enum rwkv_part {
    RWKV_PART_ATT_X, /* (n_embd) last input of the time mix, after ln1         */
    RWKV_PART_ATT_A, /* (n_att)                                                */
    RWKV_PART_ATT_B, /* (n_att)                                                */
    RWKV_PART_ATT_P, /* (n_att)  largest exponent so far; -1e30 when empty     */
    RWKV_PART_FFN_X  /* (n_embd) last input of the channel mix, after ln2      */
} rwkv_part;

/* The numbers themselves, to look at or to change; *count (may be NULL) is how
 * many. NULL if there is no such part or layer.                              */
RWKV_API float *rwkv_state_view(rwkv_state *state, rwkv_part part, int layer, int *count);

/* ---- evaluation --------------------------------------------------------- */

/* Read one token. Returns the logits of the next one, n_vocab of them, which
 * stay until the next evaluation; NULL, with the state unchanged, if the token
 * is out of range.                                                           */
RWKV_API const float *rwkv_eval(int token, rwkv_state *state);

/* The same in steps, for a program that has other things to do in between: a control
 * loop, a game, a page. rwkv_eval_begin takes up a token; each rwkv_eval_step runs
 * one layer, or about as much of the head, and returns how many steps are left;
 * rwkv_eval_end runs what is left and returns the logits. These are rwkv_eval's, to
 * the bit: it is the first of the three and the last.
 *
 *   if (rwkv_eval_begin(token, state) == RWKV_OK) {
 *       while (rwkv_eval_step(state) > 0)
 *           other_things();
 *       logits = rwkv_eval_end(state);
 *   }
 *
 * RWKV_ERR_ARGUMENT if the token is out of range; a step after the last does nothing
 * and returns 0; the end of nothing that was begun is NULL. Until its end the state
 * is neither before the token nor after it: all functions but these two take it for
 * NULL, and rwkv_state_reset, _load, _copy to it and _free give the token up.  */
RWKV_API rwkv_result  rwkv_eval_begin(int token, rwkv_state *state);
RWKV_API int          rwkv_eval_step(rwkv_state *state);
RWKV_API const float *rwkv_eval_end(rwkv_state *state);

/* Read n tokens, as n calls of rwkv_eval would and to the same bits, but
 * reading the weights once per chunk and the head once. Returns the logits
 * after the last; NULL, with the state unchanged, if any token is out of
 * range or n < 0. n = 0 returns rwkv_logits(state).                          */
RWKV_API const float *rwkv_eval_sequence(const int *tokens, int n, rwkv_state *state);

/* The same, and logits[i * n_vocab ...] are the logits after token i.        */
RWKV_API rwkv_result rwkv_eval_all(const int *tokens, int n, rwkv_state *state, float *logits);

/* One token for each of n different states of one model: the weights are read
 * once for up to `chunk` of them. Each state gets its own logits. On an error
 * no state is changed: RWKV_ERR_ARGUMENT if a token is out of range, a state
 * NULL or given twice, RWKV_ERR_MISMATCH if the models differ.               */
RWKV_API rwkv_result rwkv_eval_batch(const int *tokens, rwkv_state *const *states, int n);

/* Read n tokens as rwkv_eval_sequence does, and tell how expected they were:
 * logprobs[i] is what rwkv_logprob gave for tokens[i] before it was read, to the
 * bit; the first comes from the state's present logits. No memory is needed for
 * the logits. For perplexity, classification, reranking. On an error nothing
 * changes.                                                                   */
RWKV_API rwkv_result rwkv_score(const int *tokens, int n, rwkv_state *state, float *logprobs);

/* The natural logarithm of the probability, by softmax, that `token` comes
 * next: at most 0. The logits are taken as they are: no bias, penalties or
 * temperature. An empty state expects every token alike. NaN if the token is
 * out of range, or if a logit is NaN or +infinity.                           */
RWKV_API float rwkv_logprob(rwkv_state *state, int token);

/* The probabilities of all tokens, by softmax: n_vocab numbers from 0 to 1 that
 * add up to 1 but for rounding. `logits` are those of a state or a row that
 * rwkv_eval_all wrote, taken as they are; `probabilities` may be the same array.
 * The same bits everywhere, as logits are: what is decided by them is decided
 * alike on every machine. All are NaN if a logit is NaN or +infinity, or all are
 * -infinity. RWKV_ERR_ARGUMENT if an argument is NULL.                        */
RWKV_API rwkv_result rwkv_softmax(const rwkv_model *model, const float *logits,
                                  float *probabilities);

/* The logits of the last evaluation (n_vocab); zeros if there was none.      */
RWKV_API const float *rwkv_logits(const rwkv_state *state);

/* What the head made them of: the last vector after ln_out (n_embd); zeros if
 * there was none.                                                            */
RWKV_API const float *rwkv_hidden(const rwkv_state *state);

/* ---- text --------------------------------------------------------------- */

#ifndef RWKV_NO_TOKENIZER
/* A text of the World and 20B models begins and ends with token 0, which has no
 * bytes and which this never writes: evaluate it first, and stop when it is
 * drawn. In a vocabulary of bytes token 0 is just the byte 0.
 *
 * Write the tokens of `length` bytes of text (NUL bytes are text too) to
 * `tokens`, at most `capacity`, and return how many there are in all: NULL, 0
 * asks for the count. It is never more than `length`; with 20B, which
 * normalizes text to NFC, than 3 * length (but for text written to show it, not
 * more than `length` there either). If it is more than `capacity`, the rest was
 * not written. Special tokens in the text are just text.
 *
 * Any bytes will do. 20B takes a byte that is no part of a UTF-8 character as a
 * symbol of its own, but has no token for the bytes C0, C1 and F5 to FF.
 * Negative on an error: -RWKV_ERR_ARGUMENT, -RWKV_ERR_UNSUPPORTED if the model
 * file has no vocabulary, -RWKV_ERR_MISMATCH if a byte is in no token. (And
 * -RWKV_ERR_UNSUPPORTED if in a word of over 2048 bytes what is merged depends on
 * what stands 1536 bytes further on; no such word is known.)                 */
RWKV_API int rwkv_tokenize(const rwkv_model *model, const char *text, size_t length,
                           int *tokens, int capacity);

/* The same, and the names of special tokens in the text ("<|endoftext|>" of the
 * 20B vocabulary; the others have none) become those tokens. Not for text that
 * a user typed.                                                              */
RWKV_API int rwkv_tokenize_special(const rwkv_model *model, const char *text, size_t length,
                                   int *tokens, int capacity);

/* The bytes of a token, not NUL-terminated and perhaps not whole UTF-8
 * characters; *length (may be NULL) is how many. Points into the model. NULL
 * and 0 if the token is out of range or the model has no vocabulary; length 0
 * for a token without text, such as the end of text.                         */
RWKV_API const char *rwkv_token_bytes(const rwkv_model *model, int token, int *length);

/* Bytes on their way to a display; all zero at first.                        */
typedef struct rwkv_utf8 {
    unsigned char tail[3]; /* the beginning of a character                       */
    unsigned char n_tail;
} rwkv_utf8;

/* Turn bytes of tokens, in whatever pieces, into whole UTF-8 characters. They
 * are written to `out`; returns how many bytes. A character that is not whole
 * yet is held back, at most 3 bytes; what can never become one is replaced by
 * U+FFFD, one for each maximal part, as the Unicode standard recommends.
 * bytes = NULL is the end: what is held back is replaced. `out` needs room for
 * 3 * (length + 3) bytes; if `capacity` is less, or an argument is bad, nothing
 * changes and the result is -RWKV_ERR_ARGUMENT.                              */
RWKV_API int rwkv_utf8_push(rwkv_utf8 *stream, const char *bytes, int length, char *out,
                            int capacity);
#endif

#ifndef RWKV_NO_SAMPLER
/* Added to the logit of a token. -INFINITY (or NaN) bans the token: it is never
 * chosen, whatever else is set.                                              */
typedef struct rwkv_bias {
    int   token;
    float add;
} rwkv_bias;

/* How the next token is chosen. All zero is greedy: the largest logit.
 *   0. logit += each bias of the token
 *   1. logit -= presence + frequency * counts[token], where counts[token] > 0
 *   2. p = softmax(logit), at temperature 1
 *   3. top_p: keep the most probable tokens until their sum reaches top_p
 *      (and those as probable as the last one kept)
 *   4. top_k: of these keep the k most probable (the lower ids among equals);
 *      min_p: of these keep those with p >= min_p * the largest p
 *   5. p = p^(1 / temperature), normalized; draw
 *   6. every count *= decay, then counts[drawn] += 1
 * This is the order of the RWKV authors' own programs, but that theirs do not
 * count tokens of digits and blanks. Most other programs apply the temperature
 * before they truncate, as if it stood at 2: a temperature above 1 then keeps
 * more tokens, one below 1 fewer, where here it never changes which are kept. */
typedef struct rwkv_sampler {
    float    temperature; /* 0 or less: greedy, steps 0, 1 and 6 alone. Official 1.0 */
    float    top_p;       /* 0 or >= 1: off. Official default 0.85             */
    int      top_k;       /* 0: off                                            */
    float    presence;    /* official default 0.2                              */
    float    frequency;   /* official default 0.2                              */
    float    decay;       /* of counts; 0: 1, no decay. Official default 0.996 */
    float   *counts;      /* n_vocab numbers of yours, zero at first, or NULL:
                             no penalties. Tokens of the prompt count only if
                             you add them                                      */
    uint64_t seed;        /* the same seed draws the same tokens on every
                             machine; each draw moves it on                    */
    float            min_p; /* 0: off                                          */
    const rwkv_bias *bias;  /* n_bias of them, yours; NULL: none               */
    int              n_bias;
} rwkv_sampler;

/* Choose a token from the state's logits, which stay as they are. Always a
 * valid token that is not banned: a logit that is NaN counts as -infinity; of
 * +infinity, or if nothing else has a probability, the lowest id is chosen. -1,
 * and nothing changes, if all tokens are banned, an argument is NULL, n_bias is
 * negative or not 0 without `bias`, or a bias is for a token out of range.   */
RWKV_API int rwkv_sample(rwkv_sampler *sampler, rwkv_state *state);
#endif

/* ---- the rest ----------------------------------------------------------- */

#if !defined(RWKV_NO_QUANTIZE) && !defined(RWKV_NO_STDIO)
/* Turn a 32 or 16-bit model file into one of type RWKV_TYPE_Q8 or _Q4. A damaged
 * one is refused, as by rwkv_verify. For Q8 this takes seconds; for Q4 the model
 * first writes 65536 tokens, and its weights are rounded so that its products on
 * them change least. The same input gives the same output file on every machine.
 * It is written to `out_path` with ".part" after it and renamed when it is whole,
 * so what was there before stays until then, and the paths may be the same. What
 * is no file, but a folder, a pipe or a device, is not replaced. On failure
 * nothing is left behind.                                                    */
RWKV_API rwkv_result rwkv_quantize(const char *in_path, const char *out_path, rwkv_type type,
                                   rwkv_error *error);

/* What became of one matrix.                                                 */
typedef struct rwkv_quantized {
    const char *name;            /* such as "att.key.weight"                       */
    int         layer;           /* -1: in none, the head                          */
    int         bits;            /* of its codes                                   */
    double      bits_per_weight; /* with scales and padding                        */
    int         done, total;     /* matrices so far, with this one; all            */
    float       weight_error;    /* root mean square of the change of the weights,
                                    divided by that of the weights                 */
    float       output_error;    /* the same of the matrix's products, on the text
                                    that the model wrote; Q8: weight_error         */
} rwkv_quantized;

/* The same with options: allocator, isa, n_threads and parallel count, and none
 * of them changes the file. `report`, if not NULL, is told of each matrix when
 * it is done, on the calling thread; the struct is valid during the call.     */
RWKV_API rwkv_result rwkv_quantize_with(const char *in_path, const char *out_path, rwkv_type type,
                                        const rwkv_options *options,
                                        void (*report)(const rwkv_quantized *matrix, void *user),
                                        void *user, rwkv_error *error);
#endif

/* RWKV_VERSION of the implementation that is linked.                         */
RWKV_API int rwkv_version(void);

/* The instruction sets this build and this machine have kernels for: "scalar"
 * first, the widest last; NULL past the end. They give the same bits. There are
 * "ssse3", "avx2", "avxvnni", "avx512", "avx512vnni" on x86-64, "neon" and
 * "dotprod" on 64-bit ARM, "simd128" in WebAssembly.                         */
RWKV_API const char *rwkv_isa_available(int index);

#ifdef __cplusplus
}
#endif
#endif /* RWKV_H_INCLUDED */
#endif /* RWKV__PASS */

#if defined(RWKV_IMPLEMENTATION) && !defined(RWKV__DONE) && !defined(RWKV__PASS)

/* ============================================================================
 * 2. MARK: platform                                                >>platform
 *
 * What differs between compilers, processors and systems, and nothing else.
 * ========================================================================== */
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    defined(_M_FP_FAST)
#error "rwkv.h: -ffast-math and its parts change the results; compile without them"
#endif
#if defined(__FINITE_MATH_ONLY__)
#if __FINITE_MATH_ONLY__
#error "rwkv.h: -ffinite-math-only changes the results; compile without it"
#endif
#endif

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#ifndef RWKV_NO_MALLOC
#include <stdlib.h>
#endif
#ifndef RWKV_NO_STDIO
#include <errno.h>
#include <stdio.h>
#endif

#if CHAR_BIT != 8 || INT_MAX != 2147483647 || FLT_MANT_DIG != 24
#error "rwkv.h: needs 8-bit bytes, 32-bit int and IEEE-754 binary32 float"
#endif
#if defined(__TINYC__) && defined(__i386__)
#error "rwkv.h: this compiler evaluates floats in a wider type (x87)"
#elif defined(_M_IX86) && defined(_M_IX86_FP)
#if _M_IX86_FP < 2
#error "rwkv.h: floats are evaluated in a wider type (x87); compile with /arch:SSE2"
#endif
#elif defined(FLT_EVAL_METHOD)
#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "rwkv.h: floats are evaluated in a wider type; x86: -msse2 -mfpmath=sse, s390x: -std=gnu99"
#endif
#endif

#ifndef RWKV_FILENAME
#define RWKV_FILENAME "rwkv.h"
#endif

/* Called on what can only be a mistake in this file, never on input.         */
#ifndef RWKV_ASSERT
#define RWKV_ASSERT(condition) ((void)0)
#endif

/* RWKV__APART: what such functions have on the stack does not add up.        */
#if defined(__GNUC__) /* and clang */
#define RWKV__INLINE static inline __attribute__((always_inline))
#define RWKV__APART  static __attribute__((noinline))
#else
#define RWKV__INLINE static
#define RWKV__APART  static
#endif
#if defined(__clang__)
#define RWKV__UNROLL_ALL _Pragma("clang loop unroll(full)")
#define RWKV__UNROLL_TWO _Pragma("clang loop unroll_count(2)")
#elif defined(__GNUC__) && !defined(__TINYC__)
#define RWKV__UNROLL_ALL _Pragma("GCC unroll 64")
#define RWKV__UNROLL_TWO _Pragma("GCC unroll 2")
#else
#define RWKV__UNROLL_ALL
#define RWKV__UNROLL_TWO
#endif

/* Put `to` into *word if it holds `from`, as one step; returns what it held.   */
#if defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_4)
#define RWKV__ATOMIC 1
static uint32_t rwkv__exchange(uint32_t *word, uint32_t from, uint32_t to)
{
    __atomic_compare_exchange_n(word, &from, to, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return from;
}
#elif defined(_MSC_VER)
#define RWKV__ATOMIC 1
static uint32_t rwkv__exchange(uint32_t *word, uint32_t from, uint32_t to)
{
    return (uint32_t)_InterlockedCompareExchange((volatile long *)word, (long)to, (long)from);
}
#else /* not as one step: each thread keeps to its own words                    */
#define RWKV__ATOMIC 0
static uint32_t rwkv__exchange(uint32_t *word, uint32_t from, uint32_t to)
{
    const uint32_t held = *word;
    if (held == from)
        *word = to;
    return held;
}
#endif

/* Into the nearest cache, and into the one behind it.                        */
#if defined(__GNUC__) && !defined(__TINYC__)
#define RWKV__PREFETCH_NEAR(p) __builtin_prefetch((const void *)(p), 0, 3)
#define RWKV__PREFETCH_FAR(p)  __builtin_prefetch((const void *)(p), 0, 2)
#else
#define RWKV__PREFETCH_NEAR(p) ((void)(p))
#define RWKV__PREFETCH_FAR(p)  ((void)(p))
#endif

#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__)
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define RWKV__BIG_ENDIAN
#endif
#endif

/* Vector kernels: x86-64 by run-time detection, 64-bit ARM always, WebAssembly
 * with -msimd128. With gcc for Windows only those of 16 bytes, because it does
 * not align the stack for more (its bug 54412).                              */
#if !defined(RWKV_NO_SIMD) && !defined(__TINYC__)
#if defined(__x86_64__) && defined(__GNUC__)
#define RWKV__SSSE3
#if defined(__clang__) || !(defined(_WIN32) || defined(__CYGWIN__))
#define RWKV__AVX
#if !defined(__apple_build_version__) && \
    (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11) /* no Mac has it    */
#define RWKV__AVXVNNI
#endif
#endif
#include <immintrin.h>
#elif defined(__ARM_FEATURE_SIMD32) && __ARM_FEATURE_SIMD32 && !defined(RWKV__BIG_ENDIAN)
#define RWKV__SIMD32 /* Cortex-M4 and up: in the scalar kernels                   */
#include <arm_acle.h>
#elif defined(__wasm_simd128__)
#define RWKV__SIMD128
#include <wasm_simd128.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(RWKV__BIG_ENDIAN)
#define RWKV__NEON
#include <arm_neon.h>
#if defined(__ARM_FEATURE_DOTPROD)
#define RWKV__DOTPROD
#elif defined(__linux__) && !defined(__clang__) && __GNUC__ >= 8
#define RWKV__DOTPROD
#include <sys/auxv.h>
#endif
#endif
#endif

#if !defined(RWKV_NO_STDIO) && !defined(RWKV_NO_MMAP)
#if defined(__unix__) || defined(__APPLE__)
#define RWKV__MMAP
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#elif defined(_WIN32)
#define RWKV__MMAP
#endif
#endif
#if defined(_WIN32) && !defined(RWKV_NO_STDIO) && \
    (defined(RWKV__MMAP) || !defined(RWKV_NO_QUANTIZE)) /* which replaces a file      */
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#endif

#if defined(_OPENMP) && !defined(RWKV_NO_THREADS)
#define RWKV__OPENMP
#include <omp.h>
#endif
#if defined(RWKV__SSSE3) || \
    (defined(RWKV__OPENMP) && defined(__x86_64__) && defined(__GNUC__) && !defined(__TINYC__))
#define RWKV__ASK_CPU
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ============================================================================
 * 3. MARK: errors                                                    >>errors
 *
 * One way to report a failure of the world. The messages are put together by
 * hand, so that no printf is needed where there is none.
 * ========================================================================== */
RWKV_API const char *rwkv_result_string(rwkv_result code)
{
    switch (code) {
    case RWKV_OK:              return "no error";
    case RWKV_ERR_ARGUMENT:    return "bad argument";
    case RWKV_ERR_MEMORY:      return "out of memory";
    case RWKV_ERR_FILE:        return "file error";
    case RWKV_ERR_FORMAT:      return "bad format";
    case RWKV_ERR_UNSUPPORTED: return "unsupported";
    case RWKV_ERR_MISMATCH:    return "mismatch";
    }
    return "unknown error";
}

#ifndef RWKV_NO_ERROR_STRINGS
/* Of a long text, a path, the end: it must not push the reason out. Control
 * characters would break the line.                                           */
static size_t rwkv__put_text(char *out, size_t at, size_t size, const char *text)
{
    const size_t length = strlen(text);
    int          dots;
    if (length > 96) {
        text += length - 93;
        for (dots = 0; dots < 3 && at + 1 < size; dots++)
            out[at++] = '.';
    }
    for (; *text && at + 1 < size; text++)
        out[at++] = (unsigned char)*text < ' ' ? '?' : *text;
    return at;
}

static size_t rwkv__put_number(char *out, size_t at, size_t size, uint64_t value)
{
    char   digits[21];
    size_t n = sizeof digits;
    digits[--n] = 0;
    do
        digits[--n] = (char)('0' + (int)(value % 10));
    while (value /= 10);
    return rwkv__put_text(out, at, size, digits + n);
}
#endif

/* Fill *error (which may be NULL): in `format`, %s is a string and %u a
 * uint64_t; there is nothing else. Returns the code, to be passed on.        */
static rwkv_result rwkv__fail(rwkv_error *error, rwkv_result code, uint64_t offset,
                              const char *format, ...)
{
    if (!error)
        return code;
    error->code = code;
    error->offset = offset;
    error->message[0] = 0;
#ifndef RWKV_NO_ERROR_STRINGS
    {
        const size_t size = sizeof error->message;
        size_t       at = 0;
        va_list      args;
        va_start(args, format);
        for (; *format && at + 1 < size; format++) {
            if (*format != '%') {
                error->message[at++] = *format;
                continue;
            }
            format++;
            if (*format == 's')
                at = rwkv__put_text(error->message, at, size, va_arg(args, const char *));
            else
                at = rwkv__put_number(error->message, at, size, va_arg(args, uint64_t));
        }
        va_end(args);
        error->message[at] = 0;
    }
#else
    (void)format;
#endif
    return code;
}

/* ============================================================================
 * 4. MARK: types                                                      >>types
 *
 * The scalars everything is made of: bits of floats, 16-bit floats, the fused
 * multiply-add, exp, and the blocked layout of activations.
 * ========================================================================== */
static uint32_t rwkv__bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float rwkv__float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float rwkv__from_bf16(uint16_t h)
{
    return rwkv__float((uint32_t)h << 16);
}

static float rwkv__from_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t rest = h & 0x7fffu;
    if (rest >= 0x7c00u) /* infinity; a NaN is made quiet, as the hardware does */
        return rwkv__float(sign | 0x7f800000u | rest << 13 | (rest > 0x7c00u ? 0x400000u : 0));
    if (rest >= 0x0400u) /* normal: move the exponent's bias from 15 to 127     */
        return rwkv__float(sign | ((rest << 13) + (112u << 23)));
    return rwkv__float(sign | rwkv__bits((float)rest * 5.9604644775390625e-8f)); /* 2^-24 */
}

/* a * b + c, rounded once. Where the processor has it, this is one instruction
 * and correct by IEEE-754. Elsewhere: the product of two floats is exact in a
 * double; the sum is rounded to odd there, after which rounding it to float
 * is the same as rounding the exact sum (Boldo and Melquiond, 2008).         */
#if defined(__GNUC__) && !defined(__TINYC__) && \
    (defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__aarch64__))
RWKV__INLINE float rwkv__fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}
#else
static float rwkv__fma(float a, float b, float c)
{
    const double p = (double)a * (double)b;
    double       s = p + (double)c;
    const double t = s - p;
    const double e = (p - (s - t)) + ((double)c - t); /* what the sum lost       */
    if (e != 0 && s - s == 0) {                       /* inexact, and finite     */
        uint64_t bits;
        memcpy(&bits, &s, sizeof bits);
        if (!(bits & 1)) {
            bits += ((e > 0) == (s > 0)) ? 1u : (uint64_t)-1;
            memcpy(&s, &bits, sizeof s);
        }
    }
    return (float)s;
}
#endif

/* exp(x) for x <= 0, the only sign needed here, to less than one unit in the
 * last place; 0 where it would be subnormal. With n = round(x / ln 2) and
 * r = x - n ln 2, exp(x) = 2^n (1 + r + r^2 (c0 + ... + c4 r^4)). The vector
 * kernels do the same operations on these same numbers.                      */
#define RWKV__EXP_MIN   (-87.3365402f)      /* ln of the smallest normal float  */
#define RWKV__EXP_MAGIC 12583039.0f         /* 1.5 * 2^23 + 127: adding it leaves
                                               n + 127 in the lowest bits       */
#define RWKV__EXP_LOG2E 1.44269504f
#define RWKV__EXP_LN2HI 0.693145752f        /* few bits, so that n * it is exact */
#define RWKV__EXP_LN2LO 1.42860677e-6f
#define RWKV__EXP_C0    0.5f
#define RWKV__EXP_C1    0.166665763f
#define RWKV__EXP_C2    0.0416665561f
#define RWKV__EXP_C3    0.00836320315f
#define RWKV__EXP_C4    0.00139262131f

/* How a matrix is stored: as one of the float types, or the bits of its codes. */
typedef enum rwkv__storage {
    RWKV__F32 = RWKV_TYPE_F32,
    RWKV__F16 = RWKV_TYPE_F16,
    RWKV__BF16 = RWKV_TYPE_BF16,
    RWKV__CODES_4 = 4,
    RWKV__CODES_5 = 5,
    RWKV__CODES_6 = 6,
    RWKV__CODES_8 = 8,
    RWKV__STORAGES
} rwkv__storage;

/* What codes of 4, 5 and 6 bits stand for: the 16, 32 and 64 integers that leave
 * the least squared error when 32 numbers of a normal distribution, divided by
 * the largest of them, are rounded to one of them. From -64 to 63, so that they
 * have 7 bits, and with 0, because of columns that do not exist.             */
static const signed char rwkv__values_4[16] = {-54, -43, -34, -26, -19, -12, -6, 0,
                                               6,   12,  18,  24,  31,  39,  48, 60};
static const signed char rwkv__values_5[32] = {
    -56, -50, -45, -40, -36, -32, -28, -25, -21, -18, -15, -12, -9, -6, -3, 0,
    3,   6,   9,   12,  15,  18,  21,  24,  27,  31,  35,  39,  43, 48, 53, 59};

static const signed char rwkv__values_6[64] = {
    -62, -59, -56, -53, -51, -49, -46, -44, -42, -40, -38, -36, -34, -32, -30, -28,
    -26, -24, -23, -21, -19, -17, -16, -14, -12, -10, -9,  -7,  -5,  -3,  -2,  0,
    2,   4,   5,   7,   9,   11,  12,  14,  16,  18,  20,  21,  23,  25,  27,  29,
    31,  32,  34,  36,  38,  40,  42,  44,  46,  48,  51,  53,  55,  58,  60,  63};

static const signed char *rwkv__values(int bits)
{
    return bits == RWKV__CODES_6 ? rwkv__values_6 : bits == RWKV__CODES_5 ? rwkv__values_5
                                                                          : rwkv__values_4;
}

#define RWKV__CODE_BLOCK 32 /* columns with one scale                            */
#define RWKV__CODE_BYTES(bits) (64 * (bits)) /* of such a block of a panel       */

/* The scale of a row's block from its byte and the panel's exponent.         */
static float rwkv__scale(unsigned char scale, unsigned char exponent)
{
    return rwkv__float(((uint32_t)(scale & 0x80) << 24 | (uint32_t)(scale & 0x7f) << 19) +
                       ((uint32_t)exponent << 23));
}

/* What is left of a scale's byte, made 32 bits with its sign, shifted by 19.  */
#define RWKV__SCALE_MASK ((int)0x83f80000u)

/* Four bytes side by side in a word, whichever end is first.                  */
static uint32_t rwkv__load4(const unsigned char *p)
{
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return four;
}

typedef const signed char *rwkv__table;

static uint32_t rwkv__look4(rwkv__table table, uint32_t i)
{
    return (uint32_t)(unsigned char)table[i & 15] |
           (uint32_t)(unsigned char)table[i >> 8 & 15] << 8 |
           (uint32_t)(unsigned char)table[i >> 16 & 15] << 16 |
           (uint32_t)(unsigned char)table[i >> 24 & 15] << 24;
}

/* `size` bytes of a, of b, of a, of b, from the first on, or as many again.      */
static uint32_t rwkv__zip4(uint32_t a, uint32_t b, int first, int size)
{
    unsigned char from[8], to[4];
    uint32_t      four;
    int           i;
    memcpy(from, &a, sizeof a);
    memcpy(from + 4, &b, sizeof b);
    for (i = 0; i < 4; i++)
        to[i] = from[i / size % 2 * 4 + first + i / size / 2 * size + i % size];
    memcpy(&four, to, sizeof four);
    return four;
}

/* sum + w0 x0 + w1 x1 + w2 x2 + w3 x3, of signed bytes.                       */
static uint32_t rwkv__dot4(uint32_t sum, uint32_t w, uint32_t x)
{
#ifdef RWKV__SIMD32 /* bytes 0 and 2, then 1 and 3                                */
    const int32_t even = __smlad(__sxtb16((int32_t)w), __sxtb16((int32_t)x), (int32_t)sum);
    return (uint32_t)__smlad(__sxtb16((int32_t)(w >> 8)), __sxtb16((int32_t)(x >> 8)), even);
#else
    int i;
    for (i = 0; i < 32; i += 8)
        sum += (uint32_t)((int)(signed char)(w >> i) * (int)(signed char)(x >> i));
    return sum;
#endif
}

/* An activation matrix of T rows (tokens) and n columns (channels) is stored
 * in blocks of 256 columns, [n / 256][T][256]: what one step of a matrix
 * product reads lies together, at strides known when this is compiled. The
 * last block may end early, so one row alone is a plain vector. Columns are
 * padded to a multiple of 16 with zeros.                                     */
#define RWKV__BLOCK 256

static size_t rwkv__round16(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* How many panels of 16 rows (or vectors of 16 numbers) there are, and how many blocks
 * of 32 columns; the last ones may be partial.                               */
static size_t rwkv__panels(uint64_t rows)
{
    return (size_t)((rows + 15) / 16);
}

static size_t rwkv__code_blocks(uint64_t columns)
{
    return (size_t)((columns + RWKV__CODE_BLOCK - 1) / RWKV__CODE_BLOCK);
}

/* Bytes of a float as it is stored.                                          */
static size_t rwkv__element(rwkv__storage storage)
{
    return storage == RWKV__F32 ? 4 : 2;
}

/* Where (t, column) is; column is a multiple of 16.                          */
static size_t rwkv__at(size_t T, size_t t, size_t column)
{
    RWKV_ASSERT(t < T && column % 16 == 0);
    return (column / RWKV__BLOCK * T + t) * RWKV__BLOCK + column % RWKV__BLOCK;
}

/* How many floats T rows of n columns take.                                  */
static uint64_t rwkv__activation_size(uint64_t T, uint64_t n)
{
    const uint64_t last = rwkv__panels(n) * (uint64_t)16 - 16; /* column of the last panel */
    return (last / RWKV__BLOCK * T + T - 1) * RWKV__BLOCK + last % RWKV__BLOCK + 16;
}

static size_t rwkv__min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static uint64_t rwkv__min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static size_t rwkv__max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Byte `at` of `size` bytes; 0 if there are not so many. What a model file or a saved
 * state says is read by this function alone until it is checked, so that nothing it
 * says leads outside (`make prove`).                                         */
static unsigned char rwkv__byte(const unsigned char *data, uint64_t size, uint64_t at)
{
    return at < size ? data[at] : 0;
}

static uint32_t rwkv__get32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t rwkv__get64(const unsigned char *p)
{
    return (uint64_t)rwkv__get32(p) | (uint64_t)rwkv__get32(p + 4) << 32;
}

static void rwkv__put32(unsigned char *p, uint32_t value)
{
    p[0] = (unsigned char)value;
    p[1] = (unsigned char)(value >> 8);
    p[2] = (unsigned char)(value >> 16);
    p[3] = (unsigned char)(value >> 24);
}

/* One matrix times the rows of one activation matrix, y = W x for every row.
 * Element (t, i) of the result goes to rows[t] if there are `rows`, else to
 * y + t * y_row; to its column i / 256 * y_block + i % 256.                   */
typedef struct rwkv__matmul {
    const unsigned char *w;  /* (n_out, n_in) in panels of 16 rows, or by columns */
    const unsigned char *scale, *exponent; /* if w are codes: of each block, panel */
    rwkv__storage        storage;
    int                  by_columns;
    size_t               n_in, n_out;
    float               *x;  /* (T, n_in); where w are codes it becomes records  */
    int                  packed; /* and has become them already                  */
    float               *sums;   /* (n_out), if by columns: of a block             */
    float               *y;
    float *const        *rows;
    size_t               y_row, y_block;
} rwkv__matmul;

/* So many rows and fewer take a matrix by columns each for itself, and only those
 * columns that are not multiplied by 0.                                      */
#define RWKV__FEW_ROWS 4
#define RWKV__USED     8 /* columns at a time                                        */

/* Which of up to 256 inputs of a matrix by columns are not 0. Of packed ones also
 * their values, those of block b from begin[b] to begin[b + 1], filled up to a multiple
 * of 4 with zeros for some column; one block more is empty.                  */
typedef struct rwkv__used {
    size_t        n;
    unsigned char q[RWKV__BLOCK]; /* four at a time are read as a word              */
    uint16_t      begin[RWKV__BLOCK / RWKV__CODE_BLOCK + 2];
    unsigned char k[RWKV__BLOCK + 1]; /* the last one is asked for, but never used     */
} rwkv__used;

static void rwkv__find_used(rwkv__used *used, const float *x, size_t n)
{
    size_t k;
    for (used->n = k = 0; k < n; k++) {
        used->k[used->n] = (unsigned char)k;
        used->n += rwkv__bits(x[k]) != 0;
    }
    used->k[used->n] = 0;
}

/* A packed input: i8 q[32], f32 scale, i32 sum of q.                         */
#define RWKV__RECORD 40

static void rwkv__find_used_codes(rwkv__used *used, const unsigned char *x, size_t n)
{
    size_t b, k;
    used->n = 0;
    for (b = 0; b < RWKV__BLOCK / RWKV__CODE_BLOCK + 2; b++, x += RWKV__RECORD) {
        used->begin[b] = (uint16_t)used->n;
        for (k = b * RWKV__CODE_BLOCK; k < rwkv__min(n, (b + 1) * RWKV__CODE_BLOCK); k++) {
            used->k[used->n] = (unsigned char)k;
            used->q[used->n] = x[k % RWKV__CODE_BLOCK];
            used->n += x[k % RWKV__CODE_BLOCK] != 0;
        }
        for (; used->n % 4; used->n++) {
            used->k[used->n] = used->k[used->n - 1];
            used->q[used->n] = 0;
        }
    }
}

/* Bytes of a column of codes of so many panels.                              */
static uint64_t rwkv__code_column(uint64_t panels, rwkv__storage storage)
{
    return storage == RWKV__CODES_8 ? panels * 16 : (panels + 1) / 2 * 16;
}

/* Bytes from one column to the next.                                         */
static size_t rwkv__column_bytes(const rwkv__matmul *m)
{
    const size_t panels = rwkv__panels(m->n_out);
    return m->storage == RWKV__F32    ? panels * 64
           : m->storage <= RWKV__BF16 ? panels * 32
                                      : (size_t)rwkv__code_column(panels, m->storage);
}

/* A group of a panel of a matrix by columns as a matrix in panels has it: its n <= 4
 * columns begin at w. The codes are bytes, or the half of them that `shift` and
 * `mask` take. First pairs of columns are interleaved, then pairs of pairs.  */
static void rwkv__turn_group(unsigned char *group, const unsigned char *w, size_t stride, size_t n,
                             int shift, unsigned char mask)
{
#ifdef RWKV__SSSE3
    const __m128i all = _mm_set1_epi8((char)mask), count = _mm_cvtsi32_si128(shift);
    __m128i       c[4], ab, cd, *to = (__m128i *)(void *)group;
    size_t        j;
    for (j = 0; j < 4; j++)
        c[j] = _mm_setzero_si128();
    for (j = 0; j < n; j++)
        c[j] = _mm_and_si128(
            _mm_srl_epi16(_mm_loadu_si128((const __m128i *)(const void *)(w + j * stride)), count),
            all);
    ab = _mm_unpacklo_epi8(c[0], c[1]);
    cd = _mm_unpacklo_epi8(c[2], c[3]);
    _mm_storeu_si128(to, _mm_unpacklo_epi16(ab, cd));
    _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(ab, cd));
    ab = _mm_unpackhi_epi8(c[0], c[1]);
    cd = _mm_unpackhi_epi8(c[2], c[3]);
    _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(ab, cd));
    _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(ab, cd));
#elif defined(RWKV__NEON)
    const uint8x16_t all = vdupq_n_u8(mask);
    const int8x16_t  right = vdupq_n_s8((signed char)-shift);
    uint8x16x4_t     c;
    size_t           j;
    for (j = 0; j < 4; j++)
        c.val[j] = vdupq_n_u8(0);
    for (j = 0; j < n; j++)
        c.val[j] = vandq_u8(vshlq_u8(vld1q_u8(w + j * stride), right), all);
    vst4q_u8(group, c);
#else /* eight bytes at a time, as numbers                                      */
    const uint64_t odd = 0x00ff00ff00ff00ffu, low = 0x0000ffff0000ffffu;
    const uint64_t all = 0x0101010101010101u * mask;
    uint64_t       c[4] = {0, 0, 0, 0}, ab, cd, x;
    size_t         i, j;
    int            k;
    for (i = 0; i < 16; i += 8, group += 32) {
        for (j = 0; j < n; j++)
            c[j] = rwkv__get64(w + j * stride + i) >> shift & all;
        for (k = 0; k < 4; k++) { /* rows k and k + 4                               */
            ab = (c[0] >> k % 2 * 8 & odd) | (c[1] >> k % 2 * 8 & odd) << 8;
            cd = (c[2] >> k % 2 * 8 & odd) | (c[3] >> k % 2 * 8 & odd) << 8;
            x = (ab >> k / 2 * 16 & low) | (cd >> k / 2 * 16 & low) << 16;
            rwkv__put32(group + 4 * k, (uint32_t)x);
            rwkv__put32(group + 4 * k + 16, (uint32_t)(x >> 32));
        }
    }
#endif
}

/* Scratch of a kernel, in floats. For many rows, the most panels that it makes 32-bit at
 * a time, one block of each; for few, an rwkv__used.                         */
#define RWKV__WIDE_SIZE (2 * RWKV__BLOCK * 16)
#define RWKV__USED_SIZE ((sizeof(rwkv__used) + 63) / 64 * 16)

/* What to prefetch while a tile is computed: the next block, of which `step`
 * bytes of each panel are asked for with each column.                        */
typedef struct rwkv__ahead {
    uintptr_t w; /* no pointer, because it may lie past the end                  */
    size_t    panel, step;
} rwkv__ahead;

/* What is written once for each instruction set, in the next section. All
 * lengths but D are multiples of 16.                                         */
typedef struct rwkv__kernels {
    const char *isa;
    size_t      rows; /* of the large tile                                       */
    /* panels [first, end) of W, for T rows; one function for each type. `wide` is
     * RWKV__WIDE_SIZE floats; for T = 1 RWKV__USED_SIZE, or nothing if the matrix is
     * not by columns                                                           */
    void (*matmul[RWKV__STORAGES])(const rwkv__matmul *, size_t first, size_t end, size_t T,
                                   float *wide);
    /* x (n), at most 256 numbers, in blocks of 32 as codes, in their own place  */
    void (*pack)(float *x, size_t n);
    /* y (n) = the D elements of one row of the embedding                       */
    void (*widen[RWKV_TYPE_BF16 + 1])(float *y, const unsigned char *row, size_t D);
    /* y = (x - mean(x)) / sqrt(var(x) + eps) * w + b, over D columns; blocks of
     * 256 columns are x_block and y_block floats apart                         */
    void (*norm)(float *y, size_t y_block, const float *x, size_t x_block, const float *w,
                 const float *b, size_t D, float eps);
    /* y = mu * x + (1 - mu) * previous                                         */
    void (*mix)(float *y, const float *x, const float *previous, const float *mu, size_t n);
    /* r = sigmoid(r) * wkv, and the state (a, b, p) takes in k and v           */
    void (*wkv)(float *r, const float *k, const float *v, const float *u, const float *w,
                float *a, float *b, float *p, size_t n);
    /* k = max(k, 0)^2                                                          */
    void (*relu_square)(float *k, size_t n);
    /* x += y                                                                   */
    void (*add)(float *x, const float *y, size_t n);
    /* y += a * x                                                               */
    void (*axpy)(float *y, const float *x, float a, size_t n);
    /* x += sigmoid(r) * y                                                      */
    void (*gate)(float *x, const float *r, const float *y, size_t n);
    /* the largest of x, not counting NaN; -infinity if there is none           */
    float (*largest)(const float *x, size_t n);
    /* p = exp((p - max) / temperature), for p <= max; returns the sum          */
    float (*softmax)(float *p, float max, float temperature, size_t n);
} rwkv__kernels;

#endif /* RWKV_IMPLEMENTATION, first part */

/* ============================================================================
 * 5. MARK: kernels                                                  >>kernels
 *
 * All arithmetic on long vectors. This section is compiled once for each
 * instruction set: below, the file includes itself with RWKV__PASS set, and
 * only this section then speaks. The first half gives the words of the
 * instruction set (a vector V of W lanes); the second half is written in them
 * alone, so every instruction set does the same operations in the same order.
 * A lane is a row of a matrix or a channel of a vector; lanes never mix,
 * except in the two sums that have a fixed shape (sum16).
 * ========================================================================== */
#if defined(RWKV_IMPLEMENTATION) && !defined(RWKV__DONE) && !defined(RWKV__PASS)

#define RWKV__PASS
#define RWKV__SCALAR_PASS
#include RWKV_FILENAME
#undef RWKV__SCALAR_PASS
#undef RWKV__PASS

#ifdef RWKV__SSSE3
#define RWKV__PASS
#define RWKV__SSSE3_PASS
#include RWKV_FILENAME
#undef RWKV__SSSE3_PASS
#undef RWKV__PASS
#endif

#ifdef RWKV__AVX
#define RWKV__PASS
#define RWKV__AVX2_PASS
#include RWKV_FILENAME
#undef RWKV__AVX2_PASS
#undef RWKV__PASS

#ifdef RWKV__AVXVNNI
#define RWKV__PASS
#define RWKV__AVXVNNI_PASS
#include RWKV_FILENAME
#undef RWKV__AVXVNNI_PASS
#undef RWKV__PASS
#endif

#define RWKV__PASS
#define RWKV__AVX512_PASS
#include RWKV_FILENAME
#undef RWKV__AVX512_PASS
#undef RWKV__PASS
#endif

#ifdef RWKV__NEON
#define RWKV__PASS
#define RWKV__NEON_PASS
#include RWKV_FILENAME
#undef RWKV__NEON_PASS
#undef RWKV__PASS
#endif

#ifdef RWKV__DOTPROD
#define RWKV__PASS
#define RWKV__DOTPROD_PASS
#include RWKV_FILENAME
#undef RWKV__DOTPROD_PASS
#undef RWKV__PASS
#endif

#ifdef RWKV__SIMD128
#define RWKV__PASS
#define RWKV__SIMD128_PASS
#include RWKV_FILENAME
#undef RWKV__SIMD128_PASS
#undef RWKV__PASS
#endif

#elif defined(RWKV__PASS)

/* ---- words ----------------------------------------------------------------
 *   V, W            a vector and its number of lanes; 16 / W vectors are a panel
 *   LOAD STORE SET  from and to memory at any alignment; one number in all lanes
 *   LOAD_F16 LOAD_BF16   W 16-bit floats, made 32-bit
 *   ADD SUB MUL DIV FMA(a, b, c) = a * b + c
 *   LESS(a, b, x, y)     a < b ? x : y, lane by lane; y where a or b is NaN
 *   MINUS_ABS(a)         -|a|
 *   POW2(t)              2^n, where the low bits of t hold n + 127
 *   ROWS, WIDE, TALL     rows of tokens in the large tile, panels in it, and
 *                        panels in the tile for one token: what fills the
 *                        registers without spilling
 * and for codes, of which a vector I has 4 for each lane:
 *   I_LOAD I_SET I_QUAD  from memory; one number in all lanes; the 4 bytes at p
 *                        in all lanes
 *   LOW HIGH             the halves of each byte
 *   ZIP_8(a, b) ZIP_16   bytes of a and b in turn, of their first halves; pairs of
 *   END_8 END_16         bytes; the same of their second halves. Halves of each 16
 *                        bytes, if there are more: then UNZIP(f) puts four V, of what
 *                        was zipped twice, into order
 *   TABLE, LOOK(t, i)    16 bytes; the i-th of them, byte by byte
 *   PICK(bits, g, a, b)  b where bit g of the byte is set, else a
 *   DOT(sum, w, x)       sum + w0 x0 + w1 x1 + w2 x2 + w3 x3, lane by lane, where
 *                        w is ZERO more than a value of 7 bits
 *   DOT_8                the same where w is FLIP(a value of 8 bits), ZERO_8 more
 *   TO_FLOAT             of an integer that a float holds exactly
 *   SCALES(p, e)         W of a block's scales; e is the exponent << 23
 *   STORE_LOW(p, t)      the lowest byte of each lane
 *   CODE_ROWS            rows in the tile for codes
 *   CODES_ONLY           defined if the set differs from the one before it in the
 *                        products with codes alone                            */

#if defined(RWKV__SCALAR_PASS)

#define RWKV__NAME(name)          rwkv__##name##_scalar
#define RWKV__UNROLL              /* sixteen software fmas in a row gain nothing */
#define RWKV__UNROLL_2
#define RWKV__TARGET
#define RWKV__V                   float
#define RWKV__W                   1
#define RWKV__LOAD(p)             (*(p))
#define RWKV__STORE(p, a)         (*(p) = (a))
#define RWKV__SET(x)              (x)
#define RWKV__LOAD_F16(p)         rwkv__from_f16(*(p))
#define RWKV__LOAD_BF16(p)        rwkv__from_bf16(*(p))
#define RWKV__ADD(a, b)           ((a) + (b))
#define RWKV__SUB(a, b)           ((a) - (b))
#define RWKV__MUL(a, b)           ((a) * (b))
#define RWKV__DIV(a, b)           ((a) / (b))
#define RWKV__FMA(a, b, c)        rwkv__fma(a, b, c)
#define RWKV__LESS(a, b, x, y)    ((a) < (b) ? (x) : (y))
#define RWKV__MINUS_ABS(a)        rwkv__float(rwkv__bits(a) | 0x80000000u)
#define RWKV__POW2(t)             rwkv__float(rwkv__bits(t) << 23)
#define RWKV__ROWS                1
#define RWKV__WIDE                1
#define RWKV__TALL                1
#define RWKV__TARGET_CODES
#define RWKV__I                   uint32_t
#define RWKV__I_LOAD(p)           rwkv__load4(p)
#define RWKV__I_SET(i)            ((uint32_t)(i))
#define RWKV__I_QUAD(p)           rwkv__load4(p)
#define RWKV__LOW(a)              ((a) & 0x0f0f0f0fu)
#define RWKV__HIGH(a)             ((a) >> 4 & 0x0f0f0f0fu)
#define RWKV__ZIP_8(a, b)         rwkv__zip4(a, b, 0, 1)
#define RWKV__END_8(a, b)         rwkv__zip4(a, b, 2, 1)
#define RWKV__ZIP_16(a, b)        rwkv__zip4(a, b, 0, 2)
#define RWKV__END_16(a, b)        rwkv__zip4(a, b, 2, 2)
#define RWKV__UNZIP(f)            ((void)(f))
#define RWKV__TABLE               rwkv__table
#define RWKV__TABLE_LOAD(p)       (p)
#define RWKV__LOOK(t, i)          rwkv__look4(t, i)
#define RWKV__PICK(bits, g, a, b) \
    ((a) ^ (((a) ^ (b)) & ((bits) >> (g) & 0x01010101u) * 255u))
#define RWKV__DOT(sum, w, x)      rwkv__dot4(sum, w, x)
#define RWKV__DOT_8(sum, w, x)    rwkv__dot4(sum, w, x)
#define RWKV__FLIP(a)             (a)
#define RWKV__ZERO                0
#define RWKV__ZERO_8              0
#define RWKV__TO_FLOAT(i)         ((float)(int32_t)(i))
#define RWKV__SCALES(p, e)        rwkv__scale(*(p), (unsigned char)((e) >> 23))
#define RWKV__STORE_LOW(p, t)     (*(p) = (unsigned char)rwkv__bits(t))
#define RWKV__CODE_ROWS           1

#elif defined(RWKV__SSSE3_PASS)

#define RWKV__NAME(name)          rwkv__##name##_ssse3
#define RWKV__UNROLL              RWKV__UNROLL_ALL
#define RWKV__UNROLL_2
#define RWKV__TARGET              __attribute__((target("ssse3")))
#define RWKV__V                   __m128
#define RWKV__W                   4
#define RWKV__LOAD(p)             _mm_loadu_ps(p)
#define RWKV__STORE(p, a)         _mm_storeu_ps(p, a)
#define RWKV__SET(x)              _mm_set1_ps(x)
#define RWKV__LOAD_F16(p)         _mm_setr_ps(rwkv__from_f16((p)[0]), rwkv__from_f16((p)[1]), \
                                      rwkv__from_f16((p)[2]), rwkv__from_f16((p)[3]))
#define RWKV__LOAD_BF16(p)        _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), \
                                      _mm_loadl_epi64((const __m128i *)(const void *)(p))))
#define RWKV__ADD(a, b)           _mm_add_ps(a, b)
#define RWKV__SUB(a, b)           _mm_sub_ps(a, b)
#define RWKV__MUL(a, b)           _mm_mul_ps(a, b)
#define RWKV__DIV(a, b)           _mm_div_ps(a, b)
#define RWKV__FMA(a, b, c)        rwkv__fma_ssse3(a, b, c)
#define RWKV__LESS(a, b, x, y)    rwkv__less_ssse3(a, b, x, y)
#define RWKV__MINUS_ABS(a)        _mm_or_ps(a, _mm_set1_ps(-0.0f))
#define RWKV__POW2(t)             _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(t), 23))
#define RWKV__ROWS                4
#define RWKV__WIDE                1
#define RWKV__TALL                1
#define RWKV__TARGET_CODES        RWKV__TARGET
#define RWKV__I                   __m128i
#define RWKV__I_LOAD(p)           _mm_loadu_si128((const __m128i *)(const void *)(p))
#define RWKV__I_SET(i)            _mm_set1_epi32(i)
#define RWKV__I_QUAD(p)           _mm_set1_epi32((int)rwkv__load4(p))
#define RWKV__LOW(a)              _mm_and_si128(a, _mm_set1_epi8(15))
#define RWKV__HIGH(a)             RWKV__LOW(_mm_srli_epi16(a, 4))
#define RWKV__ZIP_8(a, b)         _mm_unpacklo_epi8(a, b)
#define RWKV__END_8(a, b)         _mm_unpackhi_epi8(a, b)
#define RWKV__ZIP_16(a, b)        _mm_unpacklo_epi16(a, b)
#define RWKV__END_16(a, b)        _mm_unpackhi_epi16(a, b)
#define RWKV__UNZIP(f)            ((void)(f))
#define RWKV__TABLE               __m128i
#define RWKV__TABLE_LOAD(p)       _mm_add_epi8(_mm_set1_epi8(64), RWKV__I_LOAD(p))
#define RWKV__LOOK(t, i)          _mm_shuffle_epi8(t, i)
#define RWKV__PICK(bits, g, a, b) rwkv__pick_ssse3(bits, _mm_set1_epi8((char)(1 << (g))), a, b)
#define RWKV__PAIRS(a)            _mm_madd_epi16(a, _mm_set1_epi16(1))
#define RWKV__DOT(sum, w, x)      _mm_add_epi32(sum, RWKV__PAIRS(_mm_maddubs_epi16(w, x)))
#define RWKV__DOT_8(sum, w, x)    RWKV__DOT(sum, _mm_abs_epi8(w), _mm_sign_epi8(x, w))
#define RWKV__FLIP(a)             (a)
#define RWKV__ZERO                64
#define RWKV__ZERO_8              0
#define RWKV__TO_FLOAT(i)         _mm_cvtepi32_ps(i)
#define RWKV__SCALES(p, e)        rwkv__scales_ssse3(p, e)
#define RWKV__STORE_LOW(p, t)     rwkv__store_low_ssse3(p, t)
#define RWKV__CODE_ROWS           2

/* Two lanes of rwkv__fma, step by step as there: the inexact and even s moves by
 * one towards e.                                                             */
RWKV__INLINE RWKV__TARGET __m128 rwkv__fma2_ssse3(__m128 a, __m128 b, __m128 c)
{
    const __m128d p = _mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), z = _mm_cvtps_pd(c);
    const __m128d s = _mm_add_pd(p, z), t = _mm_sub_pd(s, p), zero = _mm_setzero_pd();
    const __m128d e = _mm_add_pd(_mm_sub_pd(p, _mm_sub_pd(s, t)), _mm_sub_pd(z, t));
    const __m128i bits = _mm_castpd_si128(s), one = _mm_set_epi32(0, 1, 0, 1);
    const __m128i odd = _mm_sub_epi64(_mm_setzero_si128(), _mm_and_si128(bits, one));
    const __m128i away = _mm_shuffle_epi32(
        _mm_srai_epi32(_mm_castpd_si128(_mm_xor_pd(s, e)), 31), 0xf5); /* signs differ   */
    const __m128d inexact = _mm_and_pd(_mm_cmpneq_pd(e, zero),
                                       _mm_cmpeq_pd(_mm_sub_pd(s, s), zero));
    const __m128i step = _mm_andnot_si128(odd, _mm_and_si128(_mm_castpd_si128(inexact),
                                                             _mm_or_si128(away, one)));
    return _mm_cvtpd_ps(_mm_castsi128_pd(_mm_add_epi64(bits, step)));
}

static RWKV__TARGET __m128 rwkv__fma_ssse3(__m128 a, __m128 b, __m128 c)
{
    return _mm_movelh_ps(rwkv__fma2_ssse3(a, b, c),
                         rwkv__fma2_ssse3(_mm_movehl_ps(a, a), _mm_movehl_ps(b, b),
                                          _mm_movehl_ps(c, c)));
}

RWKV__INLINE RWKV__TARGET __m128 rwkv__less_ssse3(__m128 a, __m128 b, __m128 x, __m128 y)
{
    const __m128 less = _mm_cmplt_ps(a, b);
    return _mm_or_ps(_mm_and_ps(less, x), _mm_andnot_ps(less, y));
}

RWKV__INLINE RWKV__TARGET __m128i rwkv__pick_ssse3(__m128i bits, __m128i bit, __m128i a, __m128i b)
{
    const __m128i set = _mm_cmpeq_epi8(_mm_and_si128(bits, bit), bit);
    return _mm_or_si128(_mm_and_si128(set, b), _mm_andnot_si128(set, a));
}

RWKV__INLINE RWKV__TARGET __m128 rwkv__scales_ssse3(const unsigned char *p, uint32_t e)
{
    const __m128i four = _mm_cvtsi32_si128((int)rwkv__load4(p));
    const __m128i pairs = _mm_unpacklo_epi8(four, four);
    const __m128i s = _mm_srai_epi32(_mm_unpacklo_epi16(pairs, pairs), 24);
    const __m128i bits = _mm_and_si128(_mm_slli_epi32(s, 19), _mm_set1_epi32(RWKV__SCALE_MASK));
    return _mm_castsi128_ps(_mm_add_epi32(bits, _mm_set1_epi32((int)e)));
}

RWKV__INLINE RWKV__TARGET void rwkv__store_low_ssse3(unsigned char *p, __m128 t)
{
    const __m128i low = _mm_shuffle_epi8(_mm_castps_si128(t), _mm_set1_epi32(0x0c080400));
    const int     four = _mm_cvtsi128_si32(low);
    memcpy(p, &four, sizeof four);
}

#elif defined(RWKV__AVX2_PASS) || defined(RWKV__AVXVNNI_PASS)

#ifdef RWKV__AVXVNNI_PASS
#define RWKV__CODES_ONLY
#define RWKV__NAME(name)          rwkv__##name##_avxvnni
#define RWKV__TARGET_CODES        __attribute__((target("avxvnni,avx2,fma,f16c")))
#define RWKV__DOT(sum, w, x)      rwkv__sum_avx2(_mm256_dpbusd_avx_epi32(sum, w, x))
#define RWKV__DOT_8(sum, w, x)    RWKV__DOT(sum, w, x)
#define RWKV__FLIP(a)             _mm256_xor_si256(a, _mm256_set1_epi8(-128))
#define RWKV__ZERO_8              128
#define RWKV__CODE_ROWS           6
#else
#define RWKV__NAME(name)          rwkv__##name##_avx2
#define RWKV__TARGET_CODES        RWKV__TARGET
#define RWKV__PAIRS(a)            _mm256_madd_epi16(a, _mm256_set1_epi16(1))
#define RWKV__DOT(sum, w, x)      rwkv__sum_avx2(_mm256_add_epi32( \
                                      sum, RWKV__PAIRS(_mm256_maddubs_epi16(w, x))))
#define RWKV__DOT_8(sum, w, x)    RWKV__DOT(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
#define RWKV__FLIP(a)             (a)
#define RWKV__ZERO_8              0
#define RWKV__CODE_ROWS           4
#endif
#define RWKV__UNROLL              RWKV__UNROLL_ALL
#define RWKV__UNROLL_2            RWKV__UNROLL_TWO
#define RWKV__TARGET              __attribute__((target("avx2,fma,f16c")))
#define RWKV__V                   __m256
#define RWKV__W                   8
#define RWKV__LOAD(p)             _mm256_loadu_ps(p)
#define RWKV__STORE(p, a)         _mm256_storeu_ps(p, a)
#define RWKV__SET(x)              _mm256_set1_ps(x)
#define RWKV__LOAD_F16(p)         _mm256_cvtph_ps( \
                                      _mm_loadu_si128((const __m128i *)(const void *)(p)))
#define RWKV__LOAD_BF16(p)        _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32( \
                                      _mm_loadu_si128((const __m128i *)(const void *)(p))), 16))
#define RWKV__ADD(a, b)           _mm256_add_ps(a, b)
#define RWKV__SUB(a, b)           _mm256_sub_ps(a, b)
#define RWKV__MUL(a, b)           _mm256_mul_ps(a, b)
#define RWKV__DIV(a, b)           _mm256_div_ps(a, b)
#define RWKV__FMA(a, b, c)        _mm256_fmadd_ps(a, b, c)
#define RWKV__LESS(a, b, x, y)    _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ))
#define RWKV__MINUS_ABS(a)        _mm256_or_ps(a, _mm256_set1_ps(-0.0f))
#define RWKV__POW2(t)             _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t), 23))
#define RWKV__ROWS                6
#define RWKV__WIDE                1
#define RWKV__TALL                4
#define RWKV__I                   __m256i
#define RWKV__I_LOAD(p)           _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define RWKV__I_SET(i)            _mm256_set1_epi32(i)
#define RWKV__I_QUAD(p)           _mm256_castps_si256(_mm256_broadcast_ss( \
                                      (const float *)(const void *)(p)))
#define RWKV__LOW(a)              _mm256_and_si256(a, _mm256_set1_epi8(15))
#define RWKV__HIGH(a)             RWKV__LOW(_mm256_srli_epi16(a, 4))
#define RWKV__ZIP_8(a, b)         _mm256_unpacklo_epi8(a, b)
#define RWKV__END_8(a, b)         _mm256_unpackhi_epi8(a, b)
#define RWKV__ZIP_16(a, b)        _mm256_unpacklo_epi16(a, b)
#define RWKV__END_16(a, b)        _mm256_unpackhi_epi16(a, b)
#define RWKV__UNZIP(f)            rwkv__unzip_avx2(f)
#define RWKV__TABLE               __m256i
#define RWKV__TABLE_LOAD(p)       _mm256_add_epi8(_mm256_set1_epi8(64), \
                                      _mm256_broadcastsi128_si256( \
                                          _mm_loadu_si128((const __m128i *)(const void *)(p))))
#define RWKV__LOOK(t, i)          _mm256_shuffle_epi8(t, i)
#define RWKV__PICK(bits, g, a, b) _mm256_blendv_epi8(a, b, _mm256_slli_epi16(bits, 7 - (g)))
#define RWKV__ZERO                64
#define RWKV__TO_FLOAT(i)         _mm256_cvtepi32_ps(i)
#define RWKV__SCALES(p, e)        rwkv__scales_avx2(p, e)
#define RWKV__STORE_LOW(p, t)     rwkv__store_low_avx2(p, t)

#ifdef RWKV__AVX2_PASS
/* gcc would keep a sum twice, once as 4 integers and once as 8, and run out of
 * registers; behind an empty asm it is one.                                  */
RWKV__INLINE RWKV__TARGET __m256i rwkv__sum_avx2(__m256i sum)
{
#ifndef __clang__
    __asm__("" : "+x"(sum));
#endif
    return sum;
}

RWKV__INLINE RWKV__TARGET void rwkv__unzip_avx2(__m256 *f)
{
    const __m256 a = f[0], b = f[1], c = f[2], d = f[3];
    f[0] = _mm256_permute2f128_ps(a, b, 0x20);
    f[1] = _mm256_permute2f128_ps(c, d, 0x20);
    f[2] = _mm256_permute2f128_ps(a, b, 0x31);
    f[3] = _mm256_permute2f128_ps(c, d, 0x31);
}

RWKV__INLINE RWKV__TARGET __m256 rwkv__scales_avx2(const unsigned char *p, uint32_t e)
{
    const __m256i s = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    const __m256i bits = _mm256_and_si256(_mm256_slli_epi32(s, 19),
                                          _mm256_set1_epi32(RWKV__SCALE_MASK));
    return _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32((int)e)));
}

RWKV__INLINE RWKV__TARGET void rwkv__store_low_avx2(unsigned char *p, __m256 t)
{
    const __m256i low = _mm256_shuffle_epi8(_mm256_castps_si256(t),
                                            _mm256_set1_epi64x((long long)0x808080800c080400u));
    const int     a = _mm_cvtsi128_si32(_mm256_castsi256_si128(low));
    const int     b = _mm_cvtsi128_si32(_mm256_extracti128_si256(low, 1));
    memcpy(p, &a, 4);
    memcpy(p + 4, &b, 4);
}
#endif

#elif defined(RWKV__AVX512_PASS)

#define RWKV__NAME(name)          rwkv__##name##_avx512
#define RWKV__UNROLL              RWKV__UNROLL_ALL
#define RWKV__UNROLL_2            RWKV__UNROLL_TWO
#define RWKV__TARGET              __attribute__((target("avx512f,avx2,fma,f16c")))
#define RWKV__V                   __m512
#define RWKV__W                   16
#define RWKV__LOAD(p)             _mm512_loadu_ps(p)
#define RWKV__STORE(p, a)         _mm512_storeu_ps(p, a)
#define RWKV__SET(x)              _mm512_set1_ps(x)
#define RWKV__LOAD_F16(p)         _mm512_maskz_cvtph_ps(0xffff, \
                                      _mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define RWKV__LOAD_BF16(p)        RWKV__SHIFT(_mm512_maskz_cvtepu16_epi32(0xffff, \
                                      _mm256_loadu_si256((const __m256i *)(const void *)(p))), 16)
#define RWKV__ADD(a, b)           _mm512_add_ps(a, b)
#define RWKV__SUB(a, b)           _mm512_sub_ps(a, b)
#define RWKV__MUL(a, b)           _mm512_mul_ps(a, b)
#define RWKV__DIV(a, b)           _mm512_div_ps(a, b)
#define RWKV__FMA(a, b, c)        _mm512_fmadd_ps(a, b, c)
#define RWKV__LESS(a, b, x, y)    _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x)
#define RWKV__MINUS_ABS(a)        _mm512_castsi512_ps(_mm512_or_si512( \
                                      _mm512_castps_si512(a), _mm512_set1_epi32(INT_MIN)))
#define RWKV__POW2(t)             RWKV__SHIFT(_mm512_castps_si512(t), 23)
/* the masked form, because gcc warns of the plain one in C++                 */
#define RWKV__SHIFT(i, n)         _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, i, n))
#define RWKV__ROWS                14
#define RWKV__WIDE                2
#define RWKV__TALL                4
#define RWKV__TARGET_CODES \
    __attribute__((target("avx512f,avx512bw,avx512vnni,avx2,fma,f16c")))
#define RWKV__I                   __m512i
#define RWKV__I_LOAD(p)           _mm512_loadu_si512((const void *)(p))
#define RWKV__I_SET(i)            _mm512_set1_epi32(i)
#define RWKV__I_QUAD(p)           rwkv__quad_avx512(p)
#define RWKV__LOW(a)              _mm512_and_si512(a, _mm512_set1_epi8(15))
#define RWKV__HIGH(a)             RWKV__LOW(_mm512_maskz_srli_epi32(0xffff, a, 4))
#define RWKV__ZIP_8(a, b)         _mm512_unpacklo_epi8(a, b)
#define RWKV__END_8(a, b)         _mm512_unpackhi_epi8(a, b)
#define RWKV__ZIP_16(a, b)        _mm512_unpacklo_epi16(a, b)
#define RWKV__END_16(a, b)        _mm512_unpackhi_epi16(a, b)
#define RWKV__UNZIP(f)            rwkv__unzip_avx512(f)
#define RWKV__TABLE               __m512i
#define RWKV__TABLE_LOAD(p)       _mm512_add_epi8(_mm512_set1_epi8(64), \
                                      _mm512_maskz_broadcast_i32x4(0xffff, \
                                          _mm_loadu_si128((const __m128i *)(const void *)(p))))
#define RWKV__LOOK(t, i)          _mm512_shuffle_epi8(t, i)
#define RWKV__PICK(bits, g, a, b) _mm512_mask_blend_epi8( \
                                      _mm512_test_epi8_mask(bits, \
                                          _mm512_set1_epi8((char)(1 << (g)))), a, b)
#define RWKV__DOT(sum, w, x)      _mm512_dpbusd_epi32(sum, w, x)
#define RWKV__DOT_8(sum, w, x)    _mm512_dpbusd_epi32(sum, w, x)
#define RWKV__FLIP(a)             _mm512_xor_si512(a, _mm512_set1_epi8(-128))
#define RWKV__ZERO                64
#define RWKV__ZERO_8              128
#define RWKV__TO_FLOAT(i)         _mm512_maskz_cvtepi32_ps(0xffff, i)
#define RWKV__SCALES(p, e)        rwkv__scales_avx512(p, e)
#define RWKV__STORE_LOW(p, t)     rwkv__store_low_avx512(p, t)
#define RWKV__CODE_ROWS           12

RWKV__INLINE RWKV__TARGET __m512i rwkv__quad_avx512(const unsigned char *p)
{
    int quad;
    memcpy(&quad, p, sizeof quad);
    return _mm512_set1_epi32(quad);
}

RWKV__INLINE RWKV__TARGET void rwkv__unzip_avx512(__m512 *f)
{
    const __m512 a = _mm512_maskz_shuffle_f32x4(0xffff, f[0], f[1], 0x88);
    const __m512 b = _mm512_maskz_shuffle_f32x4(0xffff, f[2], f[3], 0x88);
    const __m512 c = _mm512_maskz_shuffle_f32x4(0xffff, f[0], f[1], 0xdd);
    const __m512 d = _mm512_maskz_shuffle_f32x4(0xffff, f[2], f[3], 0xdd);
    f[0] = _mm512_maskz_shuffle_f32x4(0xffff, a, b, 0x88);
    f[1] = _mm512_maskz_shuffle_f32x4(0xffff, c, d, 0x88);
    f[2] = _mm512_maskz_shuffle_f32x4(0xffff, a, b, 0xdd);
    f[3] = _mm512_maskz_shuffle_f32x4(0xffff, c, d, 0xdd);
}

RWKV__INLINE RWKV__TARGET __m512 rwkv__scales_avx512(const unsigned char *p, uint32_t e)
{
    const __m512i s = _mm512_maskz_cvtepi8_epi32(
        0xffff, _mm_loadu_si128((const __m128i *)(const void *)p));
    const __m512i bits = _mm512_and_si512(_mm512_maskz_slli_epi32(0xffff, s, 19),
                                          _mm512_set1_epi32(RWKV__SCALE_MASK));
    return _mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_set1_epi32((int)e)));
}

RWKV__INLINE RWKV__TARGET void rwkv__store_low_avx512(unsigned char *p, __m512 t)
{
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm512_maskz_cvtepi32_epi8(0xffff, _mm512_castps_si512(t)));
}

#elif defined(RWKV__NEON_PASS) || defined(RWKV__DOTPROD_PASS)

#ifdef RWKV__DOTPROD_PASS
#define RWKV__CODES_ONLY
#define RWKV__NAME(name)          rwkv__##name##_dotprod
#define RWKV__DOT(sum, w, x)      vreinterpretq_s8_s32( \
                                      vdotq_s32(vreinterpretq_s32_s8(sum), w, x))
#ifdef __ARM_FEATURE_DOTPROD
#define RWKV__TARGET_CODES
#else
#define RWKV__TARGET_CODES        __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#else
#define RWKV__NAME(name)          rwkv__##name##_neon
#define RWKV__DOT(sum, w, x)      rwkv__dot_neon(sum, w, x)
#define RWKV__TARGET_CODES
#endif
#define RWKV__UNROLL              RWKV__UNROLL_ALL
#define RWKV__UNROLL_2            RWKV__UNROLL_TWO
#define RWKV__TARGET
#define RWKV__V                   float32x4_t
#define RWKV__W                   4
#define RWKV__LOAD(p)             vld1q_f32(p)
#define RWKV__STORE(p, a)         vst1q_f32(p, a)
#define RWKV__SET(x)              vdupq_n_f32(x)
#define RWKV__LOAD_F16(p)         vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))
#define RWKV__LOAD_BF16(p)        vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))
#define RWKV__ADD(a, b)           vaddq_f32(a, b)
#define RWKV__SUB(a, b)           vsubq_f32(a, b)
#define RWKV__MUL(a, b)           vmulq_f32(a, b)
#define RWKV__DIV(a, b)           vdivq_f32(a, b)
#define RWKV__FMA(a, b, c)        vfmaq_f32(c, a, b)
#define RWKV__LESS(a, b, x, y)    vbslq_f32(vcltq_f32(a, b), x, y)
#define RWKV__MINUS_ABS(a)        vnegq_f32(vabsq_f32(a))
#define RWKV__POW2(t)             vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(t), 23))
#define RWKV__ROWS                6
#define RWKV__WIDE                1
#define RWKV__TALL                2
#define RWKV__I                   int8x16_t
#define RWKV__I_LOAD(p)           vreinterpretq_s8_u8(vld1q_u8(p))
#define RWKV__I_SET(i)            vreinterpretq_s8_s32(vdupq_n_s32(i))
#define RWKV__I_QUAD(p)           rwkv__quad_neon(p)
#define RWKV__LOW(a)              vandq_s8(a, vdupq_n_s8(15))
#define RWKV__HIGH(a)             vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(a), 4))
#define RWKV__ZIP_8(a, b)         vzip1q_s8(a, b)
#define RWKV__END_8(a, b)         vzip2q_s8(a, b)
#define RWKV__ZIP_16(a, b)        vreinterpretq_s8_s16(vzip1q_s16( \
                                      vreinterpretq_s16_s8(a), vreinterpretq_s16_s8(b)))
#define RWKV__END_16(a, b)        vreinterpretq_s8_s16(vzip2q_s16( \
                                      vreinterpretq_s16_s8(a), vreinterpretq_s16_s8(b)))
#define RWKV__UNZIP(f)            ((void)(f))
#define RWKV__TABLE               int8x16_t
#define RWKV__TABLE_LOAD(p)       vld1q_s8(p)
#define RWKV__LOOK(t, i)          vqtbl1q_s8(t, vreinterpretq_u8_s8(i))
#define RWKV__PICK(bits, g, a, b) vbslq_s8(vtstq_s8(bits, vdupq_n_s8((int8_t)(1 << (g)))), b, a)
#define RWKV__DOT_8(sum, w, x)    RWKV__DOT(sum, w, x)
#define RWKV__FLIP(a)             (a)
#define RWKV__ZERO                0
#define RWKV__ZERO_8              0
#define RWKV__TO_FLOAT(i)         vcvtq_f32_s32(vreinterpretq_s32_s8(i))
#define RWKV__SCALES(p, e)        rwkv__scales_neon(p, e)
#define RWKV__STORE_LOW(p, t)     rwkv__store_low_neon(p, t)
#define RWKV__CODE_ROWS           4

#ifdef RWKV__NEON_PASS
RWKV__INLINE int8x16_t rwkv__quad_neon(const unsigned char *p)
{
    uint32_t quad;
    memcpy(&quad, p, sizeof quad);
    return vreinterpretq_s8_u32(vdupq_n_u32(quad));
}

RWKV__INLINE int8x16_t rwkv__dot_neon(int8x16_t sum, int8x16_t w, int8x16_t x)
{
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
    const int16x8_t high = vmull_high_s8(w, x);
    return vreinterpretq_s8_s32(vaddq_s32(vreinterpretq_s32_s8(sum),
                                          vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high))));
}

RWKV__INLINE float32x4_t rwkv__scales_neon(const unsigned char *p, uint32_t e)
{
    const int32x4_t s = vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(rwkv__load4(p)))));
    const int32x4_t bits = vandq_s32(vshlq_n_s32(s, 19), vdupq_n_s32(RWKV__SCALE_MASK));
    return vreinterpretq_f32_s32(vaddq_s32(bits, vdupq_n_s32((int32_t)e)));
}

RWKV__INLINE void rwkv__store_low_neon(unsigned char *p, float32x4_t t)
{
    const uint16x4_t half = vmovn_u32(vreinterpretq_u32_f32(t));
    vst1_lane_u32((uint32_t *)(void *)p,
                  vreinterpret_u32_u8(vmovn_u16(vcombine_u16(half, half))), 0);
}
#endif

#elif defined(RWKV__SIMD128_PASS)

#define RWKV__NAME(name)          rwkv__##name##_simd128
#define RWKV__UNROLL              RWKV__UNROLL_ALL
#define RWKV__UNROLL_2
#define RWKV__TARGET
#define RWKV__V                   v128_t
#define RWKV__W                   4
#define RWKV__LOAD(p)             wasm_v128_load(p)
#define RWKV__STORE(p, a)         wasm_v128_store(p, a)
#define RWKV__SET(x)              wasm_f32x4_splat(x)
#define RWKV__LOAD_F16(p)         rwkv__from_f16_simd128(p)
#define RWKV__LOAD_BF16(p)        wasm_i32x4_shl(wasm_u32x4_load16x4(p), 16)
#define RWKV__ADD(a, b)           wasm_f32x4_add(a, b)
#define RWKV__SUB(a, b)           wasm_f32x4_sub(a, b)
#define RWKV__MUL(a, b)           wasm_f32x4_mul(a, b)
#define RWKV__DIV(a, b)           wasm_f32x4_div(a, b)
#define RWKV__FMA(a, b, c)        rwkv__fma_simd128(a, b, c)
#define RWKV__LESS(a, b, x, y)    wasm_v128_bitselect(x, y, wasm_f32x4_lt(a, b))
#define RWKV__MINUS_ABS(a)        wasm_v128_or(a, wasm_f32x4_splat(-0.0f))
#define RWKV__POW2(t)             wasm_i32x4_shl(t, 23)
#define RWKV__ROWS                4
#define RWKV__WIDE                1
#define RWKV__TALL                1
#define RWKV__TARGET_CODES
#define RWKV__I                   v128_t
#define RWKV__I_LOAD(p)           wasm_v128_load(p)
#define RWKV__I_SET(i)            wasm_i32x4_splat(i)
#define RWKV__I_QUAD(p)           wasm_v128_load32_splat(p)
#define RWKV__LOW(a)              wasm_v128_and(a, wasm_i8x16_splat(15))
#define RWKV__HIGH(a)             wasm_u8x16_shr(a, 4)
#define RWKV__ZIP_8(a, b)         wasm_i8x16_shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, \
                                                     4, 20, 5, 21, 6, 22, 7, 23)
#define RWKV__END_8(a, b)         wasm_i8x16_shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, \
                                                     12, 28, 13, 29, 14, 30, 15, 31)
#define RWKV__ZIP_16(a, b)        wasm_i16x8_shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define RWKV__END_16(a, b)        wasm_i16x8_shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define RWKV__UNZIP(f)            ((void)(f))
#define RWKV__TABLE               v128_t
#define RWKV__TABLE_LOAD(p)       wasm_v128_load(p)
#define RWKV__LOOK(t, i)          wasm_i8x16_swizzle(t, i)
#define RWKV__PICK(bits, g, a, b) wasm_v128_bitselect(a, b, wasm_i8x16_eq( \
                                      wasm_v128_and(bits, wasm_i8x16_splat((int8_t)(1 << (g)))), \
                                      wasm_i8x16_splat(0)))
#define RWKV__DOT(sum, w, x)      rwkv__dot_simd128(sum, w, x)
#define RWKV__DOT_8(sum, w, x)    rwkv__dot_simd128(sum, w, x)
#define RWKV__FLIP(a)             (a)
#define RWKV__ZERO                0
#define RWKV__ZERO_8              0
#define RWKV__TO_FLOAT(i)         wasm_f32x4_convert_i32x4(i)
#define RWKV__SCALES(p, e)        rwkv__scales_simd128(p, e)
#define RWKV__STORE_LOW(p, t)     rwkv__store_low_simd128(p, t)
#define RWKV__CODE_ROWS           2

/* Four of rwkv__from_f16. With its bits moved to where a float has them a number is 2^112
 * times too small, be it subnormal or not.                                   */
RWKV__INLINE v128_t rwkv__from_f16_simd128(const uint16_t *p)
{
    const v128_t h = wasm_u32x4_load16x4(p), rest = wasm_v128_and(h, wasm_i32x4_splat(0x7fff));
    const v128_t sign = wasm_i32x4_shl(wasm_v128_xor(h, rest), 16);
    const v128_t x = wasm_f32x4_mul(wasm_i32x4_shl(rest, 13),
                                    wasm_f32x4_splat(5.192296858534828e33f)); /* 2^112   */
    const v128_t high = wasm_v128_and(wasm_i32x4_gt(rest, wasm_i32x4_splat(0x7bff)),
                                      wasm_i32x4_splat(0x7f800000)); /* infinity, NaN   */
    return wasm_v128_or(wasm_v128_or(x, high), sign);
}

/* Two lanes of rwkv__fma, step by step as there.                             */
RWKV__INLINE v128_t rwkv__fma2_simd128(v128_t a, v128_t b, v128_t c)
{
    const v128_t p = wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(a),
                                    wasm_f64x2_promote_low_f32x4(b));
    const v128_t z = wasm_f64x2_promote_low_f32x4(c), zero = wasm_f64x2_splat(0);
    const v128_t s = wasm_f64x2_add(p, z), t = wasm_f64x2_sub(s, p), one = wasm_i64x2_splat(1);
    const v128_t e = wasm_f64x2_add(wasm_f64x2_sub(p, wasm_f64x2_sub(s, t)), wasm_f64x2_sub(z, t));
    const v128_t odd = wasm_i64x2_neg(wasm_v128_and(s, one));
    const v128_t away = wasm_i64x2_shr(wasm_v128_xor(s, e), 63);
    const v128_t inexact = wasm_v128_and(wasm_f64x2_ne(e, zero),
                                         wasm_f64x2_eq(wasm_f64x2_sub(s, s), zero));
    const v128_t step = wasm_v128_andnot(wasm_v128_and(inexact, wasm_v128_or(away, one)), odd);
    return wasm_f32x4_demote_f64x2_zero(wasm_i64x2_add(s, step));
}

RWKV__APART v128_t rwkv__fma_odd_simd128(v128_t a, v128_t b, v128_t c)
{
    return wasm_i64x2_shuffle(
        rwkv__fma2_simd128(a, b, c),
        rwkv__fma2_simd128(wasm_i64x2_shuffle(a, a, 1, 1), wasm_i64x2_shuffle(b, b, 1, 1),
                           wasm_i64x2_shuffle(c, c, 1, 1)), 0, 2);
}

/* Two sums of an exact product and c, rounded to double.                     */
RWKV__INLINE v128_t rwkv__sum2_simd128(v128_t a, v128_t b, v128_t c)
{
    return wasm_f64x2_add(wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(a),
                                         wasm_f64x2_promote_low_f32x4(b)),
                          wasm_f64x2_promote_low_f32x4(c));
}

/* With -Os and -Oz there is one of them, which makes the code a third smaller: it may be
 * sent over a network.                                                       */
#ifdef __OPTIMIZE_SIZE__
#define RWKV__FMA_SIMD128 RWKV__APART
#else
#define RWKV__FMA_SIMD128 RWKV__INLINE
#endif

/* Such a sum makes the right float, but where it seems to lie in the middle between two:
 * of the 29 bits that a float lacks the first alone is set; or anywhere below the
 * normal floats. Only then is it rounded to odd.                             */
RWKV__FMA_SIMD128 v128_t rwkv__fma_simd128(v128_t a, v128_t b, v128_t c)
{
    const v128_t s = rwkv__sum2_simd128(a, b, c);
    const v128_t t = rwkv__sum2_simd128(wasm_i64x2_shuffle(a, a, 1, 1),
                                        wasm_i64x2_shuffle(b, b, 1, 1),
                                        wasm_i64x2_shuffle(c, c, 1, 1));
    const v128_t low = wasm_i32x4_shl(wasm_i32x4_shuffle(s, t, 0, 2, 4, 6), 3);
    const v128_t high = wasm_i32x4_shl(wasm_i32x4_shuffle(s, t, 1, 3, 5, 7), 1);
    const v128_t middle = wasm_i32x4_eq(low, wasm_i32x4_splat(INT32_MIN));
    const v128_t below = wasm_u32x4_lt(wasm_i32x4_sub(high, wasm_i32x4_splat(1)), /* 0 is not */
                                       wasm_i32x4_splat((1023 - 126) << 21));
    if (wasm_v128_any_true(wasm_v128_or(middle, below)))
        return rwkv__fma_odd_simd128(a, b, c);
    return wasm_i64x2_shuffle(wasm_f32x4_demote_f64x2_zero(s), wasm_f32x4_demote_f64x2_zero(t), 0,
                              2);
}

RWKV__INLINE v128_t rwkv__dot_simd128(v128_t sum, v128_t w, v128_t x)
{
    const v128_t low = wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(w),
                                            wasm_i16x8_extend_low_i8x16(x));
    const v128_t high = wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(w),
                                             wasm_i16x8_extend_high_i8x16(x));
    return wasm_i32x4_add(sum, wasm_i32x4_add(wasm_i32x4_shuffle(low, high, 0, 2, 4, 6),
                                              wasm_i32x4_shuffle(low, high, 1, 3, 5, 7)));
}

RWKV__INLINE v128_t rwkv__scales_simd128(const unsigned char *p, uint32_t e)
{
    const v128_t s = wasm_i32x4_extend_low_i16x8(
        wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p)));
    const v128_t bits = wasm_v128_and(wasm_i32x4_shl(s, 19), wasm_i32x4_splat(RWKV__SCALE_MASK));
    return wasm_i32x4_add(bits, wasm_i32x4_splat((int32_t)e));
}

RWKV__INLINE void rwkv__store_low_simd128(unsigned char *p, v128_t t)
{
    const v128_t low = wasm_i8x16_shuffle(t, t, 0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    wasm_v128_store32_lane(p, low, 0);
}

#endif

#define RWKV__PANEL               (16 / RWKV__W) /* vectors in a panel          */

/* ---- matrix products ------------------------------------------------------ */

/* W weights of the type, from element i on.                                  */
RWKV__INLINE RWKV__TARGET RWKV__V RWKV__NAME(weights)(const unsigned char *w, size_t i, int type)
{
    if (type == RWKV_TYPE_F32)
        return RWKV__LOAD((const float *)(const void *)w + i);
    if (type == RWKV_TYPE_F16)
        return RWKV__LOAD_F16((const uint16_t *)(const void *)w + i);
    return RWKV__LOAD_BF16((const uint16_t *)(const void *)w + i);
}

/* y = 0 + the first block's sum, or y + a later one's. So it is never -0, which
 * a product with 0 turns into 0.                                             */
RWKV__INLINE RWKV__TARGET void RWKV__NAME(take)(float *y, RWKV__V sum, size_t block)
{
    RWKV__STORE(y, RWKV__ADD(block ? RWKV__LOAD(y) : RWKV__SET(0.0f), sum));
}

/* Panels from `row` on, P of them, of N rows of tokens: the sums of a block of
 * columns are added to y.                                                    */
RWKV__INLINE RWKV__TARGET void RWKV__NAME(put)(const rwkv__matmul *m, const RWKV__V *sum,
                                              size_t row, size_t block, size_t t, int P, int N)
{
    int p, i, v;
    RWKV__UNROLL
    for (i = 0; i < N; i++) {
        float *const y = m->rows ? m->rows[t + (size_t)i] : m->y + (t + (size_t)i) * m->y_row;
        RWKV__UNROLL
        for (p = 0; p < P; p++) {
            const size_t r = row + 16 * (size_t)p;
            float *const yp = y + r / RWKV__BLOCK * m->y_block + r % RWKV__BLOCK;
            if (P == 1 && m->n_out - r < 16) { /* the matrix ends inside this panel   */
                float part[16] = {0};
                memcpy(part, yp, (m->n_out - r) * sizeof *y);
                RWKV__UNROLL
                for (v = 0; v < RWKV__PANEL; v++)
                    RWKV__NAME(take)(part + v * RWKV__W, sum[(i * P + p) * RWKV__PANEL + v],
                                     block);
                memcpy(yp, part, (m->n_out - r) * sizeof *y);
            } else {
                RWKV__UNROLL
                for (v = 0; v < RWKV__PANEL; v++)
                    RWKV__NAME(take)(yp + v * RWKV__W, sum[(i * P + p) * RWKV__PANEL + v], block);
            }
        }
    }
}

/* y = y + the sums of a block, for panels [first, end) and one row.           */
RWKV__INLINE RWKV__TARGET void RWKV__NAME(put_sums)(const rwkv__matmul *m, size_t first, size_t end,
                                                   size_t block, size_t t)
{
    size_t  panel;
    RWKV__V sum[RWKV__PANEL];
    int     v;
    for (panel = first; panel < end; panel++) {
        for (v = 0; v < RWKV__PANEL; v++)
            sum[v] = RWKV__LOAD(m->sums + panel * 16 + v * RWKV__W);
        RWKV__NAME(put)(m, sum, panel * 16, block, t, 1, 1);
    }
}

#ifndef RWKV__CODES_ONLY
/* One block of columns, for P panels and N rows of x, held in registers:
 * sum = fma(w[k], x[k], sum) for k ascending from sum = 0; then y = y + sum, from
 * y = 0 for the first block. This is the definition of a dot product. `panel` is
 * a panel's bytes; `t` the first row.                                        */
RWKV__INLINE RWKV__TARGET void RWKV__NAME(tile)(const rwkv__matmul *m, const unsigned char *w,
                                               size_t panel, size_t row, size_t block, size_t t,
                                               size_t T, const rwkv__ahead *ahead, float *wide,
                                               int P, int N, int type)
{
    const size_t k0 = block * RWKV__BLOCK;
    const size_t n = rwkv__min(RWKV__BLOCK, m->n_in - k0);
    const float *x = m->x + rwkv__at(T, t, k0);
    RWKV__V      sum[32];
    size_t       k;
    int          p, i, v;
    RWKV__UNROLL
    for (i = 0; i < P * N * RWKV__PANEL; i++)
        sum[i] = RWKV__SET(0.0f);
    RWKV__UNROLL_2
    for (k = 0; k < n; k++) {
        RWKV__V wk[16];
        if (N > 8) /* the next rows, which may be in another thread's cache       */
            RWKV__PREFETCH_NEAR((uintptr_t)x + (RWKV__BLOCK + k) * (size_t)N * sizeof *x);
        RWKV__UNROLL
        for (p = 0; p < P; p++) {
            if ((k + (size_t)p) % 2 == 0 || ahead->step > 32) { /* a line each         */
                const uintptr_t next = ahead->w + (size_t)p * ahead->panel + k * ahead->step;
                /* For many rows the nearest cache is full of what all of them use. For one
                 * it is faster with AVX-512 on a Xeon, but a fifth slower on Zen 3.   */
                if (N == 1 && RWKV__W > 8)
                    RWKV__PREFETCH_NEAR(next);
                else
                    RWKV__PREFETCH_FAR(next);
            }
            RWKV__UNROLL
            for (v = 0; v < RWKV__PANEL; v++)
                wk[p * RWKV__PANEL + v] =
                    RWKV__NAME(weights)(w + (size_t)p * panel, k * 16 + (size_t)v * RWKV__W, type);
            if (wide)
                RWKV__UNROLL
                for (v = 0; v < RWKV__PANEL; v++)
                    RWKV__STORE(wide + ((size_t)p * n + k) * 16 + v * RWKV__W,
                                wk[p * RWKV__PANEL + v]);
        }
        RWKV__UNROLL
        for (i = 0; i < N; i++) {
            const RWKV__V xk = RWKV__SET((x + k)[i * RWKV__BLOCK]);
            RWKV__UNROLL
            for (v = 0; v < P * RWKV__PANEL; v++)
                sum[i * P * RWKV__PANEL + v] =
                    RWKV__FMA(wk[v], xk, sum[i * P * RWKV__PANEL + v]);
        }
    }
    RWKV__NAME(put)(m, sum, row, block, t, P, N);
}

/* One block of columns of P panels of 32-bit weights, for the rows from t on. */
RWKV__INLINE RWKV__TARGET void RWKV__NAME(tiles)(const rwkv__matmul *m, const unsigned char *w,
                                                size_t panel, size_t row, size_t block, size_t t,
                                                size_t T, rwkv__ahead ahead, int P)
{
    for (; t + RWKV__ROWS <= T; t += RWKV__ROWS, ahead.w += ahead.step * RWKV__BLOCK)
        RWKV__NAME(tile)(m, w, panel, row, block, t, T, &ahead, NULL, P, RWKV__ROWS, RWKV_TYPE_F32);
    for (; t + 4 <= T && RWKV__ROWS > 4; t += 4)
        RWKV__NAME(tile)(m, w, panel, row, block, t, T, &ahead, NULL, P, 4, RWKV_TYPE_F32);
    for (; t + 2 <= T && RWKV__ROWS > 2; t += 2)
        RWKV__NAME(tile)(m, w, panel, row, block, t, T, &ahead, NULL, P, 2, RWKV_TYPE_F32);
    for (; t < T && RWKV__ROWS > 1; t++)
        RWKV__NAME(tile)(m, w, panel, row, block, t, T, &ahead, NULL, P, 1, RWKV_TYPE_F32);
}

static RWKV__TARGET void RWKV__NAME(tiles_wide)(const rwkv__matmul *m, const unsigned char *w,
                                                size_t panel, size_t row, size_t block, size_t t,
                                                size_t T, rwkv__ahead ahead)
{
    RWKV__NAME(tiles)(m, w, panel, row, block, t, T, ahead, RWKV__WIDE);
}

static RWKV__TARGET void RWKV__NAME(tiles_one)(const rwkv__matmul *m, const unsigned char *w,
                                               size_t panel, size_t row, size_t block, size_t t,
                                               size_t T, rwkv__ahead ahead)
{
    RWKV__NAME(tiles)(m, w, panel, row, block, t, T, ahead, 1);
}

/* Used columns [i, i + n) of a block of a matrix by columns, for P panels and one row
 * of x: sum = fma(w[k], x[k], sum), from 0 for the first of the block. Meanwhile the
 * next ones are asked for.                                                   */
RWKV__INLINE RWKV__TARGET void RWKV__NAME(tile_used)(const rwkv__matmul *m, const float *x,
                                                    const rwkv__used *used, size_t i, size_t n,
                                                    size_t row, const unsigned char *w, int P,
                                                    int type)
{
    const size_t element = rwkv__element((rwkv__storage)type), column = rwkv__column_bytes(m);
    RWKV__V      sum[32];
    size_t       j, line;
    int          v;
    w += row * element;
    RWKV__UNROLL
    for (v = 0; v < P * RWKV__PANEL; v++)
        sum[v] = i ? RWKV__LOAD(m->sums + row + v * RWKV__W) : RWKV__SET(0.0f);
    for (j = i; j < i + n; j++) {
        const unsigned char *wk = w + used->k[j] * column;
        const RWKV__V        xk = RWKV__SET(x[used->k[j]]);
        const uintptr_t      next = (uintptr_t)w + used->k[rwkv__min(j + n, used->n)] * column;
        for (line = 0; line < 16 * element * (size_t)P; line += 64)
            RWKV__PREFETCH_FAR(next + line);
        RWKV__UNROLL
        for (v = 0; v < P * RWKV__PANEL; v++)
            sum[v] = RWKV__FMA(RWKV__NAME(weights)(wk, (size_t)v * RWKV__W, type), xk, sum[v]);
    }
    RWKV__UNROLL
    for (v = 0; v < P * RWKV__PANEL; v++)
        RWKV__STORE(m->sums + row + v * RWKV__W, sum[v]);
}

/* Panels [first, end) of a matrix by columns, for a few rows, each for itself. The
 * columns are read from end to end, a few side by side.                       */
RWKV__INLINE RWKV__TARGET void RWKV__NAME(matmul_used)(const rwkv__matmul *m, size_t first,
                                                      size_t end, size_t T, rwkv__used *used,
                                                      int type)
{
    const size_t column = rwkv__column_bytes(m);
    size_t       t, k, i, panel;
    for (t = 0; t < T; t++)
        for (k = 0; k < m->n_in; k += RWKV__BLOCK) {
            const unsigned char *w = m->w + k * column;
            const float         *x = m->x + rwkv__at(T, t, k);
            rwkv__find_used(used, x, rwkv__min(RWKV__BLOCK, m->n_in - k));
            for (i = 0; i == 0 || i < used->n; i += RWKV__USED) {
                const size_t n = rwkv__min(RWKV__USED, used->n - i);
                for (panel = first; panel + RWKV__TALL <= end; panel += RWKV__TALL)
                    RWKV__NAME(tile_used)(m, x, used, i, n, panel * 16, w, RWKV__TALL, type);
                for (; panel + 2 <= end && RWKV__TALL > 2; panel += 2)
                    RWKV__NAME(tile_used)(m, x, used, i, n, panel * 16, w, 2, type);
                for (; panel < end && RWKV__TALL > 1; panel++)
                    RWKV__NAME(tile_used)(m, x, used, i, n, panel * 16, w, 1, type);
            }
            RWKV__NAME(put_sums)(m, first, end, k / RWKV__BLOCK, t);
        }
}

/* Panels [first, end) of W. One row takes the weights as they come. For more,
 * a block of a few panels is made 32-bit once, by the first tile on the way,
 * and while it is in the nearest cache all rows use it. Either way a panel is
 * read from end to end. What lies by columns is put into panels there.       */
RWKV__INLINE RWKV__TARGET void RWKV__NAME(matmul)(const rwkv__matmul *m, size_t first, size_t end,
                                                 size_t T, float *wide, int type)
{
    const size_t element = rwkv__element((rwkv__storage)type);
    const size_t column = m->by_columns ? rwkv__column_bytes(m) : 16 * element;
    const size_t panel = (m->by_columns ? 1 : m->n_in) * 16 * element;
    const size_t block_bytes = RWKV__BLOCK * column;
    const size_t blocks = (m->n_in + RWKV__BLOCK - 1) / RWKV__BLOCK;
    const size_t full = rwkv__min(end, m->n_out / 16); /* the last one may be partial       */
    const size_t most = T == 1 ? RWKV__TALL : RWKV__WIDE;
    const size_t rows = RWKV__ROWS <= 2 || T >= RWKV__ROWS ? RWKV__ROWS /* of the first tile */
                        : RWKV__ROWS > 4 && T >= 4         ? 4
                                                           : 2;
    if (m->by_columns && T <= RWKV__FEW_ROWS) {
        RWKV__NAME(matmul_used)(m, first, end, T, (rwkv__used *)(void *)wide, type);
        return;
    }
    while (first < end) {
        const size_t         two = T == 1 && RWKV__TALL > 2 && first + 2 <= full ? 2 : 1;
        const size_t         n = first + most <= full ? most : two, row = first * 16;
        const unsigned char *w = m->w + first * panel;
        size_t               block, p, k, v;
        for (block = 0; block < blocks; block++, w += block_bytes) {
            const size_t columns = rwkv__min(RWKV__BLOCK, m->n_in - block * RWKV__BLOCK);
            const size_t wide_panel = columns * 16 * sizeof *wide;
            rwkv__ahead  ahead;
            ahead.w = block + 1 < blocks ? (uintptr_t)w + block_bytes
                                         : (uintptr_t)m->w + (first + n) * panel;
            ahead.panel = panel;
            ahead.step = m->by_columns    ? 0
                         : T < RWKV__ROWS ? 16 * element
                                          : (16 * element * RWKV__ROWS + T - 1) / T;
            if (T == 1 && n == RWKV__TALL) {
                RWKV__NAME(tile)(m, w, panel, row, block, 0, 1, &ahead, NULL, RWKV__TALL, 1, type);
            } else if (T == 1 && n == 2 && RWKV__TALL > 2) {
                RWKV__NAME(tile)(m, w, panel, row, block, 0, 1, &ahead, NULL, 2, 1, type);
            } else if (T == 1 && RWKV__TALL > 1) {
                RWKV__NAME(tile)(m, w, panel, row, block, 0, 1, &ahead, NULL, 1, 1, type);
            } else if (type == RWKV_TYPE_F32 && !m->by_columns) {
                if (n == RWKV__WIDE || RWKV__WIDE == 1)
                    RWKV__NAME(tiles_wide)(m, w, panel, row, block, 0, T, ahead);
                else
                    RWKV__NAME(tiles_one)(m, w, panel, row, block, 0, T, ahead);
            } else if (n == RWKV__WIDE && !m->by_columns) {
                if (rows == RWKV__ROWS)
                    RWKV__NAME(tile)(m, w, panel, row, block, 0, T, &ahead, wide, RWKV__WIDE,
                                     RWKV__ROWS, type);
                else if (rows == 4 && RWKV__ROWS > 4)
                    RWKV__NAME(tile)(m, w, panel, row, block, 0, T, &ahead, wide, RWKV__WIDE, 4,
                                     type);
                else
                    RWKV__NAME(tile)(m, w, panel, row, block, 0, T, &ahead, wide, RWKV__WIDE, 2,
                                     type);
                ahead.w += ahead.step * RWKV__BLOCK;
                ahead.step = T < RWKV__ROWS ? 0 : ahead.step; /* that was all of it         */
                RWKV__NAME(tiles_wide)(m, (const unsigned char *)wide, wide_panel, row, block,
                                       rows, T, ahead);
            } else {
                for (k = 0; k < columns; k++) {
                    if (m->by_columns) /* the tiles ask for nothing more             */
                        RWKV__PREFETCH_FAR(ahead.w + k * column);
                    for (p = 0; p < n; p++)
                        RWKV__UNROLL
                        for (v = 0; v < RWKV__PANEL; v++)
                            RWKV__STORE(wide + (p * columns + k) * 16 + v * RWKV__W,
                                        RWKV__NAME(weights)(w + p * panel + k * column,
                                                            v * RWKV__W, type));
                }
                if (n == RWKV__WIDE || RWKV__WIDE == 1)
                    RWKV__NAME(tiles_wide)(m, (const unsigned char *)wide, wide_panel, row, block,
                                           0, T, ahead);
                else
                    RWKV__NAME(tiles_one)(m, (const unsigned char *)wide, wide_panel, row, block,
                                          0, T, ahead);
            }
        }
        first += n;
    }
}

static RWKV__TARGET void RWKV__NAME(matmul_f32)(const rwkv__matmul *m, size_t first, size_t end,
                                                size_t T, float *wide)
{
    RWKV__NAME(matmul)(m, first, end, T, wide, RWKV_TYPE_F32);
}

static RWKV__TARGET void RWKV__NAME(matmul_f16)(const rwkv__matmul *m, size_t first, size_t end,
                                                size_t T, float *wide)
{
    RWKV__NAME(matmul)(m, first, end, T, wide, RWKV_TYPE_F16);
}

static RWKV__TARGET void RWKV__NAME(matmul_bf16)(const rwkv__matmul *m, size_t first, size_t end,
                                                 size_t T, float *wide)
{
    RWKV__NAME(matmul)(m, first, end, T, wide, RWKV_TYPE_BF16);
}

/* ---- vectors -------------------------------------------------------------- */

RWKV__INLINE RWKV__TARGET void RWKV__NAME(widen)(float *y, const unsigned char *row, size_t D,
                                                int type)
{
    size_t i;
    for (i = 0; i + RWKV__W <= D; i += RWKV__W)
        RWKV__STORE(y + i, RWKV__NAME(weights)(row, i, type));
    for (; i < D; i++) {
        if (type == RWKV_TYPE_F32)
            y[i] = ((const float *)(const void *)row)[i];
        else if (type == RWKV_TYPE_F16)
            y[i] = rwkv__from_f16(((const uint16_t *)(const void *)row)[i]);
        else
            y[i] = rwkv__from_bf16(((const uint16_t *)(const void *)row)[i]);
    }
}

static RWKV__TARGET void RWKV__NAME(widen_f32)(float *y, const unsigned char *row, size_t D)
{
    RWKV__NAME(widen)(y, row, D, RWKV_TYPE_F32);
}

static RWKV__TARGET void RWKV__NAME(widen_f16)(float *y, const unsigned char *row, size_t D)
{
    RWKV__NAME(widen)(y, row, D, RWKV_TYPE_F16);
}

static RWKV__TARGET void RWKV__NAME(widen_bf16)(float *y, const unsigned char *row, size_t D)
{
    RWKV__NAME(widen)(y, row, D, RWKV_TYPE_BF16);
}

/* exp of numbers <= 0: see the constants in >>types.                         */
RWKV__INLINE RWKV__TARGET RWKV__V RWKV__NAME(exp)(RWKV__V x)
{
    const RWKV__V magic = RWKV__SET(RWKV__EXP_MAGIC), one = RWKV__SET(1.0f);
    const RWKV__V t = RWKV__FMA(x, RWKV__SET(RWKV__EXP_LOG2E), magic);
    const RWKV__V n = RWKV__SUB(t, magic);
    RWKV__V       r = RWKV__FMA(n, RWKV__SET(-RWKV__EXP_LN2HI), x);
    RWKV__V       y = RWKV__SET(RWKV__EXP_C4);
    r = RWKV__FMA(n, RWKV__SET(-RWKV__EXP_LN2LO), r);
    y = RWKV__FMA(y, r, RWKV__SET(RWKV__EXP_C3));
    y = RWKV__FMA(y, r, RWKV__SET(RWKV__EXP_C2));
    y = RWKV__FMA(y, r, RWKV__SET(RWKV__EXP_C1));
    y = RWKV__FMA(y, r, RWKV__SET(RWKV__EXP_C0));
    y = RWKV__FMA(y, r, one);
    y = RWKV__FMA(y, r, one);
    y = RWKV__MUL(y, RWKV__POW2(t));
    return RWKV__LESS(x, RWKV__SET(RWKV__EXP_MIN), RWKV__SET(0.0f), y);
}

/* 1 / (1 + exp(-x)), with the exponential of -|x| for either sign.           */
RWKV__INLINE RWKV__TARGET RWKV__V RWKV__NAME(sigmoid)(RWKV__V x)
{
    const RWKV__V one = RWKV__SET(1.0f);
    const RWKV__V e = RWKV__NAME(exp)(RWKV__MINUS_ABS(x));
    return RWKV__DIV(RWKV__LESS(x, RWKV__SET(0.0f), e, one), RWKV__ADD(one, e));
}

/* The sum of 16 lanes: halves are added onto each other.                     */
RWKV__INLINE RWKV__TARGET float RWKV__NAME(sum16)(const RWKV__V *lanes)
{
    float s[16];
    int   i, half;
    for (i = 0; i < RWKV__PANEL; i++)
        RWKV__STORE(s + i * RWKV__W, lanes[i]);
    for (half = 8; half; half /= 2)
        for (i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

static RWKV__TARGET void RWKV__NAME(norm)(float *y, size_t y_block, const float *x, size_t x_block,
                                          const float *w, const float *b, size_t D, float eps)
{
    const size_t n = rwkv__round16(D);
    RWKV__V      lanes[RWKV__PANEL], mean, scale;
    size_t       c, i;
    int          v;

    for (v = 0; v < RWKV__PANEL; v++)
        lanes[v] = RWKV__SET(0.0f);
    for (c = 0; c < n; c += RWKV__BLOCK) {
        const float *xc = x + c / RWKV__BLOCK * x_block;
        for (i = 0; i < rwkv__min(RWKV__BLOCK, n - c); i += 16)
            for (v = 0; v < RWKV__PANEL; v++)
                lanes[v] = RWKV__ADD(lanes[v], RWKV__LOAD(xc + i + v * RWKV__W));
    }
    mean = RWKV__SET(RWKV__NAME(sum16)(lanes) / (float)D);

    for (c = 0; c < n; c += RWKV__BLOCK) {
        const float *xc = x + c / RWKV__BLOCK * x_block;
        float       *yc = y + c / RWKV__BLOCK * y_block;
        for (i = 0; i < rwkv__min(RWKV__BLOCK, n - c); i += RWKV__W)
            RWKV__STORE(yc + i, RWKV__SUB(RWKV__LOAD(xc + i), mean));
    }
    for (c = D; c < n; c++) /* the padding is no part of the variance           */
        y[c / RWKV__BLOCK * y_block + c % RWKV__BLOCK] = 0;
    for (v = 0; v < RWKV__PANEL; v++)
        lanes[v] = RWKV__SET(0.0f);
    for (c = 0; c < n; c += RWKV__BLOCK) {
        const float *yc = y + c / RWKV__BLOCK * y_block;
        for (i = 0; i < rwkv__min(RWKV__BLOCK, n - c); i += 16)
            for (v = 0; v < RWKV__PANEL; v++) {
                const RWKV__V d = RWKV__LOAD(yc + i + v * RWKV__W);
                lanes[v] = RWKV__FMA(d, d, lanes[v]);
            }
    }
    scale = RWKV__SET(1.0f / sqrtf(RWKV__NAME(sum16)(lanes) / (float)D + eps));

    for (c = 0; c < n; c += RWKV__BLOCK) {
        float *yc = y + c / RWKV__BLOCK * y_block;
        for (i = 0; i < rwkv__min(RWKV__BLOCK, n - c); i += RWKV__W)
            RWKV__STORE(yc + i, RWKV__FMA(RWKV__MUL(RWKV__LOAD(yc + i), scale),
                                          RWKV__LOAD(w + c + i), RWKV__LOAD(b + c + i)));
    }
}

static RWKV__TARGET void RWKV__NAME(mix)(float *y, const float *x, const float *previous,
                                         const float *mu, size_t n)
{
    size_t i;
    for (i = 0; i < n; i += RWKV__W) {
        const RWKV__V before = RWKV__LOAD(previous + i);
        const RWKV__V step = RWKV__SUB(RWKV__LOAD(x + i), before);
        RWKV__STORE(y + i, RWKV__FMA(RWKV__LOAD(mu + i), step, before));
    }
}

/* Eq. 16 in the stable form of the paper's appendix D: a and b are the sums of
 * the numerator and the denominator divided by exp(p), and p is the largest
 * exponent so far, so that every exp is of a number <= 0 and b >= 1 after the
 * first token. Of each pair of exps one is exp(0). w < 0 is the decay of one
 * step, u the bonus of the current token.                                    */
static RWKV__TARGET void RWKV__NAME(wkv)(float *r, const float *k, const float *v, const float *u,
                                         const float *w, float *a, float *b, float *p, size_t n)
{
    const RWKV__V one = RWKV__SET(1.0f);
    size_t        i;
    for (i = 0; i < n; i += RWKV__W) {
        const RWKV__V kt = RWKV__LOAD(k + i), vt = RWKV__LOAD(v + i);
        const RWKV__V at = RWKV__LOAD(a + i), bt = RWKV__LOAD(b + i), pt = RWKV__LOAD(p + i);
        RWKV__V       s, e, e1, e2, wkv;

        /* wkv = (exp(p) a + exp(u + k) v) / (exp(p) b + exp(u + k))            */
        s = RWKV__ADD(RWKV__LOAD(u + i), kt);
        e = RWKV__NAME(exp)(RWKV__MINUS_ABS(RWKV__SUB(pt, s)));
        e1 = RWKV__LESS(pt, s, e, one); /* exp(p - max(p, s))                   */
        e2 = RWKV__LESS(pt, s, one, e); /* exp(s - max(p, s))                   */
        wkv = RWKV__DIV(RWKV__FMA(e1, at, RWKV__MUL(e2, vt)), RWKV__FMA(e1, bt, e2));

        /* a, b = exp(w + p) a + exp(k) v, exp(w + p) b + exp(k)                */
        s = RWKV__ADD(RWKV__LOAD(w + i), pt);
        e = RWKV__NAME(exp)(RWKV__MINUS_ABS(RWKV__SUB(s, kt)));
        e1 = RWKV__LESS(s, kt, e, one);
        e2 = RWKV__LESS(s, kt, one, e);
        RWKV__STORE(a + i, RWKV__FMA(e1, at, RWKV__MUL(e2, vt)));
        RWKV__STORE(b + i, RWKV__FMA(e1, bt, e2));
        RWKV__STORE(p + i, RWKV__LESS(s, kt, kt, s));

        RWKV__STORE(r + i, RWKV__MUL(RWKV__NAME(sigmoid)(RWKV__LOAD(r + i)), wkv));
    }
}

static RWKV__TARGET void RWKV__NAME(relu_square)(float *k, size_t n)
{
    size_t i;
    for (i = 0; i < n; i += RWKV__W) {
        const RWKV__V x = RWKV__LOAD(k + i), zero = RWKV__SET(0.0f);
        const RWKV__V relu = RWKV__LESS(x, zero, zero, x);
        RWKV__STORE(k + i, RWKV__MUL(relu, relu));
    }
}

static RWKV__TARGET void RWKV__NAME(add)(float *x, const float *y, size_t n)
{
    size_t i;
    for (i = 0; i < n; i += RWKV__W)
        RWKV__STORE(x + i, RWKV__ADD(RWKV__LOAD(x + i), RWKV__LOAD(y + i)));
}

static RWKV__TARGET void RWKV__NAME(axpy)(float *y, const float *x, float a, size_t n)
{
    size_t i;
    for (i = 0; i < n; i += RWKV__W)
        RWKV__STORE(y + i, RWKV__FMA(RWKV__SET(a), RWKV__LOAD(x + i), RWKV__LOAD(y + i)));
}

static RWKV__TARGET void RWKV__NAME(gate)(float *x, const float *r, const float *y, size_t n)
{
    size_t i;
    for (i = 0; i < n; i += RWKV__W)
        RWKV__STORE(x + i, RWKV__FMA(RWKV__NAME(sigmoid)(RWKV__LOAD(r + i)), RWKV__LOAD(y + i),
                                     RWKV__LOAD(x + i)));
}

static RWKV__TARGET float RWKV__NAME(largest)(const float *x, size_t n)
{
    RWKV__V lanes[RWKV__PANEL];
    float   s[16], best;
    size_t  i;
    int     v;
    for (v = 0; v < RWKV__PANEL; v++)
        lanes[v] = RWKV__SET(-HUGE_VALF);
    for (i = 0; i < n; i += 16)
        for (v = 0; v < RWKV__PANEL; v++) {
            const RWKV__V xi = RWKV__LOAD(x + i + v * RWKV__W);
            lanes[v] = RWKV__LESS(lanes[v], xi, xi, lanes[v]);
        }
    for (v = 0; v < RWKV__PANEL; v++)
        RWKV__STORE(s + v * RWKV__W, lanes[v]);
    for (best = s[0], v = 1; v < 16; v++)
        best = s[v] > best ? s[v] : best;
    return best;
}

static RWKV__TARGET float RWKV__NAME(softmax)(float *p, float max, float temperature, size_t n)
{
    const RWKV__V top = RWKV__SET(max), scale = RWKV__SET(temperature);
    RWKV__V       lanes[RWKV__PANEL];
    size_t        i;
    int           v;
    for (v = 0; v < RWKV__PANEL; v++)
        lanes[v] = RWKV__SET(0.0f);
    for (i = 0; i < n; i += 16)
        for (v = 0; v < RWKV__PANEL; v++) {
            float  *q = p + i + v * RWKV__W;
            RWKV__V e = RWKV__NAME(exp)(RWKV__DIV(RWKV__SUB(RWKV__LOAD(q), top), scale));
            RWKV__STORE(q, e);
            lanes[v] = RWKV__ADD(lanes[v], e);
        }
    return RWKV__NAME(sum16)(lanes);
}

#endif /* RWKV__CODES_ONLY */

/* ---- products with codes --------------------------------------------------
 * An input x is packed in its own place: of every 32 numbers a record remains,
 *
 *     i8 q[32], f32 scale, i32 sum of q            x is about scale * q
 *
 * the smallest scale that lets q be from -127 to 127. One block of 32 columns is
 * a sum of integers, without rounding; each block is then added by
 *
 *     y = fma(float(sum of value * q), weight's scale * x's scale, y)
 *
 * from y = 0 for every 256 columns, whose sums are added as for floats.      */
#define RWKV__MADE   (512 + 16 * 4) /* bytes of a block whose codes are looked up */
/* where bit 5 or 6 of the codes is, if there is one                           */
#define RWKV__MORE(storage, bit) \
    ((storage) != RWKV__CODES_8 && (storage) >= (bit) ? (bit) * 64 - 64 : 0)

#ifndef RWKV__CODES_ONLY
static RWKV__TARGET void RWKV__NAME(pack)(float *x, size_t n)
{
    const RWKV__V magic = RWKV__SET(12582912.0f); /* 1.5 * 2^23: adding it leaves the
                                                     nearest integer in the low bits */
    unsigned char *q = (unsigned char *)(void *)x;
    size_t         c, i;
    int            v;
    for (c = 0; c < n; c += RWKV__CODE_BLOCK, q += RWKV__RECORD) {
        const size_t columns = rwkv__min(RWKV__CODE_BLOCK, n - c); /* 16 or 32       */
        RWKV__V      low = RWKV__SET(0.0f), odd = low, total = low, inverse;
        float        s[16], scale;
        int32_t      sum = 0;
        for (i = 0; i < columns; i += RWKV__W) {
            const RWKV__V xi = RWKV__LOAD(x + c + i), minus = RWKV__MINUS_ABS(xi);
            low = RWKV__LESS(minus, low, minus, low);
            odd = RWKV__ADD(odd, RWKV__SUB(xi, xi)); /* NaN if one is infinite         */
        }
        RWKV__STORE(s, odd);
        for (v = 1; v < RWKV__W; v++)
            s[0] += s[v];
        scale = s[0];
        RWKV__STORE(s, low);
        for (v = 1; v < RWKV__W; v++)
            s[0] = s[v] < s[0] ? s[v] : s[0];
        scale = scale == 0 ? -s[0] / 127.0f : scale; /* NaN                          */
        if (scale > 1e-30f) {
            inverse = RWKV__SET(127.0f / -s[0]);
            for (i = 0; i < columns; i += RWKV__W) {
                const RWKV__V t = RWKV__FMA(RWKV__LOAD(x + c + i), inverse, magic);
                total = RWKV__ADD(total, RWKV__SUB(t, magic)); /* integers: exact       */
                RWKV__STORE_LOW(q + i, t);
            }
            memset(q + columns, 0, RWKV__CODE_BLOCK - columns);
            RWKV__STORE(s, total);
            for (v = 0; v < RWKV__W; v++)
                sum += (int32_t)s[v];
        } else { /* nothing, or nothing that means anything                         */
            memset(q, 0, RWKV__CODE_BLOCK);
            scale = scale <= 1e-30f ? 0 : scale;
        }
        memcpy(q + RWKV__CODE_BLOCK, &scale, sizeof scale);
        memcpy(q + RWKV__CODE_BLOCK + 4, &sum, sizeof sum);
    }
}
#endif

/* The values, or ZERO more, of codes whose low 4 bits are given; bit g of the
 * bytes of more[0] is the fifth, of more[1] the sixth.                       */
RWKV__INLINE RWKV__TARGET_CODES RWKV__I RWKV__NAME(value)(RWKV__I low, const RWKV__I *more, int g,
                                                         const RWKV__TABLE *table, int storage)
{
    RWKV__I w = RWKV__LOOK(table[0], low);
    if (storage >= RWKV__CODES_5)
        w = RWKV__PICK(more[0], g, w, RWKV__LOOK(table[1], low));
    if (storage == RWKV__CODES_6)
        w = RWKV__PICK(more[1], g, w, RWKV__PICK(more[0], g, RWKV__LOOK(table[2], low),
                                                 RWKV__LOOK(table[3], low)));
    return w;
}

/* Groups 2q and 2q + 1 of a block of a panel, vector v.                      */
RWKV__INLINE RWKV__TARGET_CODES void RWKV__NAME(look)(RWKV__I *w, const unsigned char *code, int q,
                                                     int v, const RWKV__I *more,
                                                     const RWKV__TABLE *table, int storage)
{
    if (storage == RWKV__CODES_8) {
        w[0] = RWKV__FLIP(RWKV__I_LOAD(code + q * 128 + v * 4 * RWKV__W));
        w[1] = RWKV__FLIP(RWKV__I_LOAD(code + q * 128 + 64 + v * 4 * RWKV__W));
    } else {
        const RWKV__I both = RWKV__I_LOAD(code + q * 64 + v * 4 * RWKV__W);
        const RWKV__I low = RWKV__LOW(both), high = RWKV__HIGH(both);
        w[0] = RWKV__NAME(value)(low, more, 2 * q, table, storage);
        w[1] = RWKV__NAME(value)(high, more, 2 * q + 1, table, storage);
    }
}

/* Where the codes and scales of 256 columns of a panel are, and how many blocks. */
typedef struct RWKV__NAME(chunk) {
    const unsigned char *code, *scale;
    uint32_t             exponent;
    size_t               blocks;
    int                  zero;
    RWKV__TABLE          table[4];
} RWKV__NAME(chunk);

RWKV__INLINE RWKV__TARGET_CODES RWKV__NAME(chunk) RWKV__NAME(chunk_of)(const rwkv__matmul *m,
                                                                      size_t panel, size_t block,
                                                                      int storage)
{
    const size_t      all = rwkv__code_blocks(m->n_in);
    const size_t      first = block * (RWKV__BLOCK / RWKV__CODE_BLOCK);
    RWKV__NAME(chunk) c;
    int               i;
    c.code = m->w + (panel * all + first) * RWKV__CODE_BYTES((size_t)storage);
    c.scale = m->scale + (panel * all + first) * 16;
    c.exponent = (uint32_t)m->exponent[panel] << 23;
    c.blocks = rwkv__min(all - first, RWKV__BLOCK / RWKV__CODE_BLOCK);
    c.zero = storage == RWKV__CODES_8 ? RWKV__ZERO_8 : RWKV__ZERO;
    for (i = 0; i < 4; i++)
        c.table[i] = RWKV__TABLE_LOAD(rwkv__values(storage) + (storage == RWKV__CODES_6   ? i
                                                : storage == RWKV__CODES_5 ? i % 2
                                                                           : 0) * 16);
    return c;
}

/* w x + sum, of a group of columns.                                          */
RWKV__INLINE RWKV__TARGET_CODES RWKV__I RWKV__NAME(add_group)(RWKV__I sum, RWKV__I w, RWKV__I x,
                                                       int storage)
{
    return storage == RWKV__CODES_8 ? RWKV__DOT_8(sum, w, x) : RWKV__DOT(sum, w, x);
}

/* The sums of a block begin so that ZERO is taken away: with -zero * sum of q. */
RWKV__INLINE RWKV__TARGET_CODES RWKV__I RWKV__NAME(begin)(const unsigned char *x, int zero)
{
    int32_t of_q;
    memcpy(&of_q, x + RWKV__CODE_BLOCK + 4, sizeof of_q);
    return RWKV__I_SET(-zero * of_q);
}

/* y + sum * (scale * x's scale).                                             */
RWKV__INLINE RWKV__TARGET_CODES RWKV__V RWKV__NAME(add_block)(RWKV__V y, RWKV__I sum, RWKV__V scale,
                                                             const unsigned char *x)
{
    float of_x;
    memcpy(&of_x, x + RWKV__CODE_BLOCK, sizeof of_x);
    return RWKV__FMA(RWKV__TO_FLOAT(sum), RWKV__MUL(scale, RWKV__SET(of_x)), y);
}

/* Up to 256 columns of one panel, for one row; the codes as they come.       */
RWKV__INLINE RWKV__TARGET_CODES void RWKV__NAME(code_row)(const rwkv__matmul *m, size_t panel,
                                                         size_t block, int storage)
{
    const RWKV__NAME(chunk) c = RWKV__NAME(chunk_of)(m, panel, block, storage);
    const unsigned char *code = c.code;
    const unsigned char *x = (const unsigned char *)(const void *)(m->x + block * RWKV__BLOCK);
    RWKV__V              y[RWKV__PANEL];
    size_t               b;
    int                  v, q, j;
    for (v = 0; v < RWKV__PANEL; v++)
        y[v] = RWKV__SET(0.0f);
    for (b = 0; b < c.blocks; b++, code += RWKV__CODE_BYTES(storage), x += RWKV__RECORD) {
        RWKV__I sum[RWKV__PANEL], more[RWKV__PANEL][2];
        RWKV__UNROLL
        for (v = 0; v < RWKV__PANEL; v++) {
            sum[v] = RWKV__NAME(begin)(x, c.zero);
            more[v][0] = RWKV__I_LOAD(code + RWKV__MORE(storage, 5) + v * 4 * RWKV__W);
            more[v][1] = RWKV__I_LOAD(code + RWKV__MORE(storage, 6) + v * 4 * RWKV__W);
        }
        RWKV__UNROLL
        for (q = 0; q < 4; q++) {
            const RWKV__I xq[2] = {RWKV__I_QUAD(x + q * 8), RWKV__I_QUAD(x + q * 8 + 4)};
            RWKV__UNROLL
            for (v = 0; v < RWKV__PANEL; v++) {
                RWKV__I w[2];
                RWKV__NAME(look)(w, code, q, v, more[v], c.table, storage);
                for (j = 0; j < 2; j++)
                    sum[v] = RWKV__NAME(add_group)(sum[v], w[j], xq[j], storage);
            }
        }
        RWKV__UNROLL
        for (v = 0; v < RWKV__PANEL; v++)
            y[v] = RWKV__NAME(add_block)(
                y[v], sum[v], RWKV__SCALES(c.scale + b * 16 + v * RWKV__W, c.exponent), x);
    }
    RWKV__NAME(put)(m, y, panel * 16, block, 0, 1, 1);
}

/* Look up the codes of up to 256 columns of a panel, for many rows: of each
 * block 8 groups of 64 values, then the scales.                              */
RWKV__INLINE RWKV__TARGET_CODES void RWKV__NAME(make)(const RWKV__NAME(chunk) *c,
                                                     unsigned char *made, int storage)
{
    const unsigned char *code = c->code;
    size_t               b;
    int                  v, q, j;
    for (b = 0; b < c->blocks; b++, code += RWKV__CODE_BYTES(storage), made += RWKV__MADE)
        for (v = 0; v < RWKV__PANEL; v++) {
            const RWKV__I more[2] = {
                RWKV__I_LOAD(code + RWKV__MORE(storage, 5) + v * 4 * RWKV__W),
                RWKV__I_LOAD(code + RWKV__MORE(storage, 6) + v * 4 * RWKV__W)};
            RWKV__UNROLL
            for (q = 0; q < 4; q++) {
                RWKV__I w[2];
                RWKV__NAME(look)(w, code, q, v, more, c->table, storage);
                for (j = 0; j < 2; j++)
                    memcpy(made + (2 * q + j) * 64 + v * 4 * RWKV__W, &w[j], sizeof w[j]);
            }
            RWKV__STORE((float *)(void *)(made + 512) + v * RWKV__W,
                        RWKV__SCALES(c->scale + b * 16 + v * RWKV__W, c->exponent));
        }
}

/* The same of a matrix by columns: columns from `first` on, of those that exist. */
RWKV__INLINE RWKV__TARGET_CODES void RWKV__NAME(make_by_columns)(const rwkv__matmul *m,
                                                                const RWKV__NAME(chunk) *c,
                                                                size_t panel, size_t first,
                                                                unsigned char *made, int storage)
{
    const size_t         stride = rwkv__column_bytes(m), rows = rwkv__round16(m->n_out);
    const size_t         blocks = rwkv__code_blocks(m->n_in - first);
    const unsigned char *w = m->w + first * stride, *scale = m->scale + panel * 16;
    const int            shift = storage == RWKV__CODES_8 ? 0 : (int)(panel % 2 * 4);
    const unsigned char  mask = storage == RWKV__CODES_8 ? 255 : 15;
    size_t               b, k, n;
    int                  v;
    w += (storage == RWKV__CODES_8 ? panel : panel / 2) * 16;
    scale += first / RWKV__CODE_BLOCK * rows;
    for (b = 0; b < rwkv__min(blocks, RWKV__BLOCK / RWKV__CODE_BLOCK); b++, made += RWKV__MADE) {
        for (k = 0; k < RWKV__CODE_BLOCK; k += 4) {
            const size_t column = b * RWKV__CODE_BLOCK + k;
            unsigned char *group = made + k * 16;
            n = first + column < m->n_in ? rwkv__min(4, m->n_in - first - column) : 0;
            for (v = 0; v < 4; v++)
                RWKV__PREFETCH_FAR((uintptr_t)w + (RWKV__BLOCK + column + (size_t)v) * stride);
            rwkv__turn_group(group, n ? w + column * stride : w, stride, n, shift, mask);
            for (v = 0; v < RWKV__PANEL; v++) {
                RWKV__I values = RWKV__I_LOAD(group + v * 4 * RWKV__W);
                values = storage == RWKV__CODES_8 ? RWKV__FLIP(values)
                                                  : RWKV__LOOK(c->table[0], values);
                memcpy(group + v * 4 * RWKV__W, &values, sizeof values);
            }
        }
        for (v = 0; v < RWKV__PANEL; v++)
            RWKV__STORE((float *)(void *)(made + 512) + v * RWKV__W,
                        RWKV__SCALES(scale + b * rows + v * RWKV__W, c->exponent));
    }
}

/* The same columns for N rows, when they are made.                           */
RWKV__INLINE RWKV__TARGET_CODES void RWKV__NAME(made_tile)(const rwkv__matmul *m,
                                                          const RWKV__NAME(chunk) *c, size_t panel,
                                                          size_t block, size_t t, size_t T,
                                                          const unsigned char *made, int N,
                                                          int storage)
{
    const float *const   packed = m->x + rwkv__at(T, t, block * RWKV__BLOCK);
    const unsigned char *x = (const unsigned char *)(const void *)packed;
    RWKV__V              y[32];
    size_t               b;
    int                  i, v, g;
    RWKV__UNROLL
    for (i = 0; i < N * RWKV__PANEL; i++)
        y[i] = RWKV__SET(0.0f);
    for (b = 0; b < c->blocks; b++, made += RWKV__MADE, x += RWKV__RECORD) {
        RWKV__I sum[32];
        RWKV__UNROLL
        for (i = 0; i < N; i++) {
            RWKV__UNROLL
            for (v = 0; v < RWKV__PANEL; v++)
                sum[i * RWKV__PANEL + v] =
                    RWKV__NAME(begin)(x + (size_t)i * RWKV__BLOCK * sizeof *packed, c->zero);
        }
        RWKV__UNROLL_2
        for (g = 0; g < 8; g++) {
            RWKV__I w[RWKV__PANEL];
            RWKV__UNROLL
            for (v = 0; v < RWKV__PANEL; v++)
                w[v] = RWKV__I_LOAD(made + g * 64 + v * 4 * RWKV__W);
            RWKV__UNROLL
            for (i = 0; i < N; i++) {
                const RWKV__I xi =
                    RWKV__I_QUAD(x + (size_t)i * RWKV__BLOCK * sizeof *packed + g * 4);
                RWKV__UNROLL
                for (v = 0; v < RWKV__PANEL; v++)
                    sum[i * RWKV__PANEL + v] =
                        RWKV__NAME(add_group)(sum[i * RWKV__PANEL + v], w[v], xi, storage);
            }
        }
        RWKV__UNROLL
        for (i = 0; i < N; i++) {
            RWKV__UNROLL
            for (v = 0; v < RWKV__PANEL; v++)
                y[i * RWKV__PANEL + v] = RWKV__NAME(add_block)(
                    y[i * RWKV__PANEL + v], sum[i * RWKV__PANEL + v],
                    RWKV__LOAD((const float *)(const void *)(made + 512) + v * RWKV__W),
                    x + (size_t)i * RWKV__BLOCK * sizeof *packed);
        }
    }
    RWKV__NAME(put)(m, y, panel * 16, block, t, 1, N);
}

/* Block b of 256 columns of a matrix by columns, for one row. `w` are the codes of the
 * 256 columns, `scale` the block's scales, x its inputs. Of each column 4 W bytes from
 * byte `at` on are taken: four columns make four vectors of groups. What becomes of panels
 * [first, end) is kept. Meanwhile the next block's columns are asked for.     */
RWKV__INLINE RWKV__TARGET_CODES void RWKV__NAME(code_used)(const rwkv__matmul *m,
                                                          const rwkv__used *used, size_t b,
                                                          size_t at, size_t first, size_t end,
                                                          const unsigned char *w,
                                                          const unsigned char *scale,
                                                          const unsigned char *x, int storage)
{
    const int         eight = storage == RWKV__CODES_8, halves = eight ? 1 : 2;
    const size_t      stride = rwkv__column_bytes(m), panel = at / 16 * (size_t)halves;
    const size_t      panels = (size_t)halves * (RWKV__W > 4 ? RWKV__W / 4 : 1);
    const int         whole = panel >= first && panel + panels <= end;
    const RWKV__TABLE table = RWKV__TABLE_LOAD(rwkv__values_4);
    RWKV__I           sum[2][4]; /* of the codes in the low and the high halves        */
    float             of_x;
    size_t            i;
    int               h, v, j;
    memcpy(&of_x, x + RWKV__CODE_BLOCK, sizeof of_x);
    w += at;
    for (i = used->begin[b + 1]; i < used->begin[b + 2]; i++)
        RWKV__PREFETCH_NEAR((uintptr_t)w + used->k[i] * stride);
    for (v = 0; v < 4; v++)
        sum[0][v] = sum[1][v] = RWKV__NAME(begin)(x, eight ? RWKV__ZERO_8 : RWKV__ZERO);
    for (i = used->begin[b]; i < used->begin[b + 1]; i += 4) {
        const RWKV__I xi = RWKV__I_QUAD(used->q + i);
        RWKV__I       c[4], pairs[4];
        RWKV__UNROLL
        for (j = 0; j < 4; j++)
            c[j] = RWKV__I_LOAD(w + used->k[i + (size_t)j] * stride);
        pairs[0] = RWKV__ZIP_8(c[0], c[1]);
        pairs[1] = RWKV__ZIP_8(c[2], c[3]);
        pairs[2] = RWKV__END_8(c[0], c[1]);
        pairs[3] = RWKV__END_8(c[2], c[3]);
        RWKV__UNROLL
        for (v = 0; v < 4; v++) {
            const RWKV__I a = pairs[v / 2 * 2], d = pairs[v / 2 * 2 + 1];
            const RWKV__I group = v % 2 ? RWKV__END_16(a, d) : RWKV__ZIP_16(a, d);
            if (eight) {
                sum[0][v] = RWKV__DOT_8(sum[0][v], RWKV__FLIP(group), xi);
            } else {
                sum[0][v] = RWKV__DOT(sum[0][v], RWKV__LOOK(table, RWKV__LOW(group)), xi);
                sum[1][v] = RWKV__DOT(sum[1][v], RWKV__LOOK(table, RWKV__HIGH(group)), xi);
            }
        }
    }
    RWKV__UNROLL
    for (h = 0; h < halves; h++) {
        RWKV__V f[4];
        RWKV__UNROLL
        for (v = 0; v < 4; v++)
            f[v] = RWKV__TO_FLOAT(sum[h][v]);
        RWKV__UNZIP(f);
        RWKV__UNROLL
        for (v = 0; v < 4; v++) {
            const size_t byte = at + (size_t)v * RWKV__W;
            const size_t row = eight ? byte : byte / 16 * 32 + (size_t)h * 16 + byte % 16;
            if (whole || (row / 16 >= first && row / 16 < end)) {
                const uint32_t e = (uint32_t)m->exponent[row / 16] << 23;
                const RWKV__V  s = RWKV__MUL(RWKV__SCALES(scale + row, e), RWKV__SET(of_x));
                const RWKV__V  y = b ? RWKV__LOAD(m->sums + row) : RWKV__SET(0.0f);
                RWKV__STORE(m->sums + row, RWKV__FMA(f[v], s, y));
            }
        }
    }
}

/* Panels [first, end) of a matrix by columns, for a few rows, each for itself. Where a
 * column ends, bytes that have been taken before are taken again.            */
RWKV__INLINE RWKV__TARGET_CODES void RWKV__NAME(code_matmul_used)(const rwkv__matmul *m,
                                                                 size_t first, size_t end,
                                                                 size_t T, rwkv__used *used,
                                                                 int storage)
{
    const size_t column = rwkv__column_bytes(m), rows = rwkv__round16(m->n_out);
    const size_t panels = storage == RWKV__CODES_8 ? 1 : 2; /* in 16 bytes           */
    size_t       t, k, b, at;
    for (t = 0; t < T; t++)
        for (k = 0; k < m->n_in; k += RWKV__BLOCK) {
            const float *const   packed = m->x + rwkv__at(T, t, k);
            const unsigned char *x = (const unsigned char *)(const void *)packed;
            const unsigned char *w = m->w + k * column;
            const unsigned char *scale = m->scale + k / RWKV__CODE_BLOCK * rows;
            const size_t         n = rwkv__min(RWKV__BLOCK, m->n_in - k);
            rwkv__find_used_codes(used, x, n);
            for (b = 0; b * RWKV__CODE_BLOCK < n; b++, x += RWKV__RECORD, scale += rows)
                for (at = first / panels * 16; at / 16 * panels < end; at += 4 * RWKV__W) {
                    const size_t panel = at / 16 * panels;
                    RWKV__NAME(code_used)(m, used, b, rwkv__min(at, column - 4 * RWKV__W),
                                          rwkv__max(panel, first), end, w, scale, x,
                                          storage);
                }
            RWKV__NAME(put_sums)(m, first, end, k / RWKV__BLOCK, t);
        }
}

/* All rows; values of 7 bits, and of 8.                                       */
static RWKV__TARGET_CODES void RWKV__NAME(made_tiles)(const rwkv__matmul *m,
                                                      const RWKV__NAME(chunk) *c, size_t panel,
                                                      size_t block, size_t T,
                                                      const unsigned char *made)
{
    size_t t;
    for (t = 0; t + RWKV__CODE_ROWS <= T; t += RWKV__CODE_ROWS)
        RWKV__NAME(made_tile)(m, c, panel, block, t, T, made, RWKV__CODE_ROWS, RWKV__CODES_4);
    for (; t < T && RWKV__CODE_ROWS > 1; t++)
        RWKV__NAME(made_tile)(m, c, panel, block, t, T, made, 1, RWKV__CODES_4);
}

static RWKV__TARGET_CODES void RWKV__NAME(made_tiles_8)(const rwkv__matmul *m,
                                                        const RWKV__NAME(chunk) *c, size_t panel,
                                                        size_t block, size_t T,
                                                        const unsigned char *made)
{
    size_t t;
    for (t = 0; t + RWKV__CODE_ROWS <= T; t += RWKV__CODE_ROWS)
        RWKV__NAME(made_tile)(m, c, panel, block, t, T, made, RWKV__CODE_ROWS, RWKV__CODES_8);
    for (; t < T && RWKV__CODE_ROWS > 1; t++)
        RWKV__NAME(made_tile)(m, c, panel, block, t, T, made, 1, RWKV__CODES_8);
}

/* Panels [first, end) of W. One row takes the codes as they come; for more, a
 * block of a panel is looked up once, and all rows use it.                   */
RWKV__INLINE RWKV__TARGET_CODES void RWKV__NAME(code_matmul)(const rwkv__matmul *m, size_t first,
                                                            size_t end, size_t T, float *wide,
                                                            int storage)
{
    const size_t         blocks = (m->n_in + RWKV__BLOCK - 1) / RWKV__BLOCK;
    const int            by_columns =
        m->by_columns && (storage == RWKV__CODES_4 || storage == RWKV__CODES_8);
    unsigned char *const made = (unsigned char *)(void *)wide;
    size_t               panel, block;
    if (by_columns && T <= RWKV__FEW_ROWS) {
#if RWKV__W > 4 /* a column may have less than is taken of it at a time          */
        if (rwkv__column_bytes(m) < 4 * RWKV__W) {
            if (storage == RWKV__CODES_8)
                rwkv__matmul_8_scalar(m, first, end, T, wide);
            else
                rwkv__matmul_4_scalar(m, first, end, T, wide);
            return;
        }
#endif
        RWKV__NAME(code_matmul_used)(m, first, end, T, (rwkv__used *)(void *)wide, storage);
        return;
    }
    for (panel = first; panel < end; panel++)
        for (block = 0; block < blocks; block++) {
            RWKV__NAME(chunk) c;
            if (T == 1) {
                RWKV__NAME(code_row)(m, panel, block, storage);
                continue;
            }
            c = RWKV__NAME(chunk_of)(m, panel, block, storage);
            if (by_columns)
                RWKV__NAME(make_by_columns)(m, &c, panel, block * RWKV__BLOCK, made, storage);
            else
                RWKV__NAME(make)(&c, made, storage);
            if (storage == RWKV__CODES_8)
                RWKV__NAME(made_tiles_8)(m, &c, panel, block, T, made);
            else
                RWKV__NAME(made_tiles)(m, &c, panel, block, T, made);
        }
}

static RWKV__TARGET_CODES void RWKV__NAME(matmul_4)(const rwkv__matmul *m, size_t first, size_t end,
                                                    size_t T, float *wide)
{
    RWKV__NAME(code_matmul)(m, first, end, T, wide, RWKV__CODES_4);
}

static RWKV__TARGET_CODES void RWKV__NAME(matmul_5)(const rwkv__matmul *m, size_t first, size_t end,
                                                    size_t T, float *wide)
{
    RWKV__NAME(code_matmul)(m, first, end, T, wide, RWKV__CODES_5);
}

static RWKV__TARGET_CODES void RWKV__NAME(matmul_6)(const rwkv__matmul *m, size_t first, size_t end,
                                                    size_t T, float *wide)
{
    RWKV__NAME(code_matmul)(m, first, end, T, wide, RWKV__CODES_6);
}

static RWKV__TARGET_CODES void RWKV__NAME(matmul_8)(const rwkv__matmul *m, size_t first, size_t end,
                                                    size_t T, float *wide)
{
    RWKV__NAME(code_matmul)(m, first, end, T, wide, RWKV__CODES_8);
}

#ifndef RWKV__CODES_ONLY
static void RWKV__NAME(kernels)(rwkv__kernels *k)
{
    k->rows = RWKV__ROWS;
    k->matmul[RWKV_TYPE_F32] = RWKV__NAME(matmul_f32);
    k->matmul[RWKV_TYPE_F16] = RWKV__NAME(matmul_f16);
    k->matmul[RWKV_TYPE_BF16] = RWKV__NAME(matmul_bf16);
    k->pack = RWKV__NAME(pack);
    k->widen[RWKV_TYPE_F32] = RWKV__NAME(widen_f32);
    k->widen[RWKV_TYPE_F16] = RWKV__NAME(widen_f16);
    k->widen[RWKV_TYPE_BF16] = RWKV__NAME(widen_bf16);
    k->norm = RWKV__NAME(norm);
    k->mix = RWKV__NAME(mix);
    k->wkv = RWKV__NAME(wkv);
    k->relu_square = RWKV__NAME(relu_square);
    k->add = RWKV__NAME(add);
    k->axpy = RWKV__NAME(axpy);
    k->gate = RWKV__NAME(gate);
    k->largest = RWKV__NAME(largest);
    k->softmax = RWKV__NAME(softmax);
}
#endif

static void RWKV__NAME(code_kernels)(rwkv__kernels *k)
{
    k->matmul[RWKV__CODES_4] = RWKV__NAME(matmul_4);
    k->matmul[RWKV__CODES_5] = RWKV__NAME(matmul_5);
    k->matmul[RWKV__CODES_6] = RWKV__NAME(matmul_6);
    k->matmul[RWKV__CODES_8] = RWKV__NAME(matmul_8);
}

#undef RWKV__TARGET
#undef RWKV__V
#undef RWKV__W
#undef RWKV__LOAD
#undef RWKV__STORE
#undef RWKV__SET
#undef RWKV__LOAD_F16
#undef RWKV__LOAD_BF16
#undef RWKV__ADD
#undef RWKV__SUB
#undef RWKV__MUL
#undef RWKV__DIV
#undef RWKV__FMA
#undef RWKV__LESS
#undef RWKV__MINUS_ABS
#undef RWKV__POW2
#undef RWKV__SHIFT
#undef RWKV__ROWS
#undef RWKV__WIDE
#undef RWKV__TALL
#undef RWKV__TARGET_CODES
#undef RWKV__I
#undef RWKV__I_LOAD
#undef RWKV__I_SET
#undef RWKV__I_QUAD
#undef RWKV__LOW
#undef RWKV__HIGH
#undef RWKV__ZIP_8
#undef RWKV__END_8
#undef RWKV__ZIP_16
#undef RWKV__END_16
#undef RWKV__UNZIP
#undef RWKV__TABLE
#undef RWKV__TABLE_LOAD
#undef RWKV__LOOK
#undef RWKV__PICK
#undef RWKV__PAIRS
#undef RWKV__DOT
#undef RWKV__DOT_8
#undef RWKV__FLIP
#undef RWKV__ZERO
#undef RWKV__ZERO_8
#undef RWKV__TO_FLOAT
#undef RWKV__SCALES
#undef RWKV__STORE_LOW
#undef RWKV__CODE_ROWS
#undef RWKV__CODES_ONLY
#undef RWKV__MADE
#undef RWKV__MORE
#undef RWKV__NAME
#undef RWKV__UNROLL
#undef RWKV__UNROLL_2
#undef RWKV__PANEL

#endif /* RWKV__PASS */

#if defined(RWKV_IMPLEMENTATION) && !defined(RWKV__DONE) && !defined(RWKV__PASS)

/* ============================================================================
 * 6. MARK: dispatch                                                >>dispatch
 *
 * Which kernels this machine can run, asked anew for every model: there is no
 * table to initialize, hence no global and no race.
 * ========================================================================== */
/* From narrow to wide; a machine has some of them, a set of bits.             */
enum {
    RWKV__HAS_SCALAR     = 1,
    RWKV__HAS_SSSE3      = 2,
    RWKV__HAS_AVX2       = 4,  /* and FMA and F16C                               */
    RWKV__HAS_AVXVNNI    = 8,
    RWKV__HAS_AVX512     = 16, /* F                                              */
    RWKV__HAS_AVX512VNNI = 32, /* and BW                                         */
    RWKV__HAS_NEON       = 64,
    RWKV__HAS_DOTPROD    = 128,
    RWKV__HAS_SIMD128    = 256,
    RWKV__ISAS           = 9
};
static const char rwkv__isa_names[RWKV__ISAS][11] = {
    "scalar", "ssse3", "avx2", "avxvnni", "avx512", "avx512vnni", "neon", "dotprod", "simd128"};

#if defined(RWKV__ASK_CPU) && !defined(RWKV__CPUID) /* else tests stand in for the processor */
static void rwkv__cpuid(uint32_t leaf, uint32_t subleaf, uint32_t *regs)
{
    __asm__ volatile("cpuid"
                     : "=a"(regs[0]), "=b"(regs[1]), "=c"(regs[2]), "=d"(regs[3])
                     : "0"(leaf), "2"(subleaf));
}
#endif

#if defined(RWKV__AVX) && !defined(RWKV__CPUID)
static uint32_t rwkv__xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}
#endif

/* The processor must have an instruction set, and the system must save its
 * registers (XCR0).                                                          */
static int rwkv__isas(void)
{
    int has = RWKV__HAS_SCALAR;
#ifdef RWKV__SSSE3
    uint32_t r[4];
    rwkv__cpuid(1, 0, r);
    if (!(r[2] & 1u << 9))
        return has;
    has |= RWKV__HAS_SSSE3;
#ifdef RWKV__AVX
    if ((r[2] & 0x38001000u) != 0x38001000u) /* F16C, AVX, OSXSAVE, FMA         */
        return has;
    rwkv__cpuid(0, 0, r);
    if (r[0] < 7)
        return has;
    rwkv__cpuid(7, 0, r);
    if ((rwkv__xcr0() & 0x06) != 0x06 || !(r[1] & 1u << 5))
        return has;
    has |= RWKV__HAS_AVX2;
    if ((rwkv__xcr0() & 0xe6) == 0xe6 && r[1] & 1u << 16)
        has |= r[1] & 1u << 30 && r[2] & 1u << 11 ? RWKV__HAS_AVX512 | RWKV__HAS_AVX512VNNI
                                                  : RWKV__HAS_AVX512;
#ifdef RWKV__AVXVNNI
    if (r[0] > 0) { /* the last subleaf                                         */
        rwkv__cpuid(7, 1, r);
        has |= r[0] & 1u << 4 ? RWKV__HAS_AVXVNNI : 0;
    }
#endif
#endif
#elif defined(RWKV__NEON)
    has |= RWKV__HAS_NEON;
#if defined(__ARM_FEATURE_DOTPROD)
    has |= RWKV__HAS_DOTPROD;
#elif defined(RWKV__DOTPROD)
    has |= getauxval(AT_HWCAP) >> 20 & 1 ? RWKV__HAS_DOTPROD : 0;
#endif
#elif defined(RWKV__SIMD128)
    has |= RWKV__HAS_SIMD128;
#endif
    return has;
}

RWKV_API const char *rwkv_isa_available(int index)
{
    const int has = rwkv__isas();
    int       i;
    for (i = 0; i < RWKV__ISAS && index >= 0; i++)
        if (has >> i & 1 && index-- == 0)
            return rwkv__isa_names[i];
    return NULL;
}

/* The kernels called `isa`, or the widest there are; 0 if there are none.    */
static int rwkv__kernels_choose(rwkv__kernels *k, const char *isa)
{
    int has = rwkv__isas(), chosen = RWKV__ISAS - 1;
    while (chosen >= 0 && !(has >> chosen & 1 && (!isa || !strcmp(rwkv__isa_names[chosen], isa))))
        chosen--;
    if (chosen < 0)
        return 0;
    k->isa = rwkv__isa_names[chosen];
    has &= (2 << chosen) - 1; /* it and what is narrower: each replaces kernels of
                                 the one before                                 */
    rwkv__kernels_scalar(k);
    rwkv__code_kernels_scalar(k);
#ifdef RWKV__SSSE3
    if (has & RWKV__HAS_SSSE3) {
        rwkv__kernels_ssse3(k);
        rwkv__code_kernels_ssse3(k);
    }
#endif
#ifdef RWKV__AVX
    if (has & RWKV__HAS_AVX2) {
        rwkv__kernels_avx2(k);
        rwkv__code_kernels_avx2(k);
    }
#ifdef RWKV__AVXVNNI
    if (has & RWKV__HAS_AVXVNNI)
        rwkv__code_kernels_avxvnni(k);
#endif
    if (has & RWKV__HAS_AVX512)
        rwkv__kernels_avx512(k);
    if (has & RWKV__HAS_AVX512VNNI)
        rwkv__code_kernels_avx512(k);
#endif
#ifdef RWKV__NEON
    if (has & RWKV__HAS_NEON) {
        rwkv__kernels_neon(k);
        rwkv__code_kernels_neon(k);
    }
#endif
#ifdef RWKV__DOTPROD
    if (has & RWKV__HAS_DOTPROD)
        rwkv__code_kernels_dotprod(k);
#endif
#ifdef RWKV__SIMD128
    if (has & RWKV__HAS_SIMD128) {
        rwkv__kernels_simd128(k);
        rwkv__code_kernels_simd128(k);
    }
#endif
    return 1;
}

/* ============================================================================
 * 7. MARK: parallel                                                >>parallel
 *
 * Work is split over threads by rows of matrices, tokens or channels, never
 * inside a sum, so the number of threads cannot change a result.
 * ========================================================================== */

/* Do units [begin, end) of the work; `part` counts the parts from 0.         */
typedef void (*rwkv__work)(const void *context, size_t begin, size_t end, int part);

/* Who does it, and for each thread a queue of pieces of it, alone in its 64
 * bytes: the next piece in the high half, the end of the queue in the low.   */
typedef struct rwkv__team {
    const rwkv_parallel *parallel;
    int                  n_threads;
    uint32_t            *queues;
} rwkv__team;

#define RWKV__QUEUE 16 /* words from one queue to the next                      */

typedef struct rwkv__task {
    rwkv__work  work;
    const void *context;
    size_t      n, piece; /* units: all, and in a piece                           */
    uint32_t   *queues;
    int         n_parts;
} rwkv__task;

/* Take a piece from a queue: its owner the first, any other the last.        */
static int rwkv__take(uint32_t *queue, int owner, uint32_t *piece)
{
    uint32_t was = rwkv__exchange(queue, 0, 0), held;
    for (;;) {
        const uint32_t next = was >> 16, end = was & 0xffff;
        if (next == end)
            return 0;
        *piece = owner ? next : end - 1;
        held = rwkv__exchange(queue, was, owner ? was + 0x10000 : was - 1);
        if (held == was)
            return 1;
        was = held;
    }
}

/* The pieces of part i, and then what the other parts have not begun: a thread
 * whose core is slow or taken away holds up nobody for longer than a piece.  */
static void rwkv__run_part(void *context, int i)
{
    const rwkv__task *task = (const rwkv__task *)context;
    uint32_t          piece;
    int               k;
    for (k = 0; k < (RWKV__ATOMIC ? task->n_parts : 1); k++) {
        uint32_t *queue = task->queues + (i + k) % task->n_parts * RWKV__QUEUE;
        while (rwkv__take(queue, k == 0, &piece))
            task->work(task->context, piece * task->piece,
                       rwkv__min((piece + 1) * task->piece, task->n), i);
    }
}

/* The least that a thread is given, in multiply-adds. What is less than twice as
 * much is not split at all.
 *
 * Measured on two cores: to hand over a part and to wait for it costs 1.2 us
 * with OpenMP and 0.4 with a pool whose threads look out for work, but 70 once
 * they sleep. One thread does this many in 6 us (codes) to 16 (16 bits from
 * memory), for one token; in 4, for many. So a second one saves several times
 * what it costs. With half as many, of all the products of examples/story.rwkv,
 * which takes 120 us for a token, the head alone would be split: nothing gained
 * awake, a quarter lost asleep. With twice as many, a model of 256 channels
 * would lose what two threads gain, 1.2 to 1.4 times; the 169M shape, all of
 * whose products are split, does not notice.                                 */
#define RWKV__WORTH_SPLITTING 131072

/* Do n units of work, of which `grain` should stay together. It takes as long as
 * so many multiply-adds.                                                     */
static void rwkv__split(const rwkv__team *team, rwkv__work work, const void *context, size_t n,
                        size_t grain, double multiply_adds)
{
    const size_t groups = (n + grain - 1) / grain;
    const double worth = multiply_adds / RWKV__WORTH_SPLITTING;
    size_t       pieces = rwkv__min(groups, 0xffff);
    rwkv__task   task;
    int          i, n_parts;
    if (pieces < 2 || worth < 2 || team->n_threads == 1) {
        work(context, 0, n, 0);
        return;
    }
    n_parts = worth < team->n_threads ? (int)worth : team->n_threads;
    if (2 * worth < (double)pieces) /* two for each part, or more, to take and leave */
        pieces = (size_t)(2 * worth);
    task.work = work;
    task.context = context;
    task.n = n;
    task.piece = (groups + pieces - 1) / pieces * grain;
    task.queues = team->queues;
    pieces = (n + task.piece - 1) / task.piece;
    task.n_parts = n_parts = (int)rwkv__min(pieces, (size_t)n_parts);
    for (i = 0; i < n_parts; i++)
        task.queues[i * RWKV__QUEUE] =
            (uint32_t)(pieces * (size_t)i / (size_t)n_parts << 16 |
                       pieces * (size_t)(i + 1) / (size_t)n_parts);
#ifndef RWKV_NO_THREADS
    if (team->parallel->run) {
        team->parallel->run(n_parts, rwkv__run_part, &task, team->parallel->user);
        return;
    }
#endif
#ifdef RWKV__OPENMP
#pragma omp parallel for schedule(static) num_threads(n_parts)
#endif
    for (i = 0; i < n_parts; i++)
        rwkv__run_part(&task, i);
}

#ifdef RWKV__OPENMP
/* How many of what OpenMP calls processors share a core, with its arithmetic and
 * its way to memory; 1 where nobody can be asked.                            */
static int rwkv__processors_per_core(void)
{
#ifdef RWKV__ASK_CPU
    uint32_t r[4], most;
    rwkv__cpuid(0, 0, r);
    most = r[0];
    if (most >= 0x1a) {
        rwkv__cpuid(7, 0, r);
        if (r[3] & 1u << 15) { /* cores of two kinds                             */
            rwkv__cpuid(0x1a, 0, r);
            if (r[0] >> 24 == 0x20) /* this is a small one: the large may have two    */
                return 2;
        }
    }
    if (most >= 0x0b) {
        rwkv__cpuid(0x0b, 0, r);
        if ((r[2] >> 8 & 255) == 1 && (r[1] & 0xffff) > 0)
            return (int)(r[1] & 0xffff);
    }
    rwkv__cpuid(0x80000000u, 0, r); /* AMD before Zen 2                             */
    if (r[0] >= 0x8000001eu) {
        rwkv__cpuid(0x8000001eu, 0, r);
        return (int)(r[1] >> 8 & 255) + 1;
    }
#endif
    return 1;
}
#endif

/* As many as OpenMP would take, but not more than there are cores.           */
static int rwkv__default_threads(const rwkv_parallel *parallel)
{
#ifdef RWKV__OPENMP
    if (!parallel->run) {
        const int cores = omp_get_num_procs() / rwkv__processors_per_core();
        const int n = omp_get_max_threads() < cores ? omp_get_max_threads() : cores;
        return n < 1 ? 1 : n < 256 ? n : 256;
    }
#endif
    (void)parallel;
    return 1;
}

/* ============================================================================
 * 8. MARK: file                                                        >>file
 *
 * From untrusted bytes to a model: the header is checked field by field, the
 * place of every tensor follows from its dimensions, and nothing after it is
 * read before it is known to be there. The format stands at the top.
 * ========================================================================== */
#define RWKV__HEADER_BYTES   128
#define RWKV__FORMAT_VERSION 2
#define RWKV__MAX_VOCAB      (1u << 24)
#define RWKV__MAX_WIDTH      (1u << 20)
#define RWKV__MAX_LAYERS     4096u
#define RWKV__MAX_TOKEN      1024u /* bytes; the longest of World has 128         */
#define RWKV__MAX_SPECIALS   256u  /* and runs of spaces: each is tried anywhere   */
#define RWKV__BLOCKS         8704u /* of 128 code points each: all of Unicode     */

/* The little-endian number of 32 bits that is word i of `size` bytes.        */
static uint32_t rwkv__word_at(const unsigned char *data, uint64_t size, uint64_t i)
{
    return (uint32_t)rwkv__byte(data, size, 4 * i) |
           (uint32_t)rwkv__byte(data, size, 4 * i + 1) << 8 |
           (uint32_t)rwkv__byte(data, size, 4 * i + 2) << 16 |
           (uint32_t)rwkv__byte(data, size, 4 * i + 3) << 24;
}

/* CRC-32 (IEEE 802.3) of bytes `at` to `end`, four bits at a time: the table stays small.
 * `crc` is that of the bytes before, 0 if there are none. If they are numbers of
 * `element` bytes whose order was turned, it is of what they were.           */
static uint32_t rwkv__crc32(uint32_t crc, const unsigned char *data, uint64_t size, uint64_t at,
                            uint64_t end, size_t element)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
        0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
        0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    crc = ~crc;
    for (; at < end; at++) {
        crc ^= rwkv__byte(data, size, at ^ (element - 1));
        crc = table[crc & 15] ^ crc >> 4;
        crc = table[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}

/* The tensors, in the order of the file, which is the order of evaluation.   */
enum {
    RWKV__EMB, RWKV__LN0_W, RWKV__LN0_B,
    RWKV__LN1_W, RWKV__LN1_B, RWKV__ATT_MIX_R, RWKV__ATT_MIX_K, RWKV__ATT_MIX_V,
    RWKV__ATT_R, RWKV__ATT_K, RWKV__ATT_V, RWKV__ATT_FIRST, RWKV__ATT_DECAY, RWKV__ATT_OUTPUT,
    RWKV__LN2_W, RWKV__LN2_B, RWKV__FFN_MIX_R, RWKV__FFN_MIX_K,
    RWKV__FFN_R, RWKV__FFN_K, RWKV__FFN_V,
    RWKV__LN_OUT_W, RWKV__LN_OUT_B, RWKV__HEAD,
    RWKV__TENSORS
};
#define RWKV__LAYER_BEGIN RWKV__LN1_W /* these stand once in every layer        */
#define RWKV__LAYER_END   RWKV__LN_OUT_W

/* kind: v vector, e embedding rows, m matrix in panels, c matrix by columns;
 * dimensions: V, D, A, F                                                     */
typedef struct rwkv__tensor {
    char name[23], kind, rows, columns;
} rwkv__tensor;

static const rwkv__tensor rwkv__tensors[RWKV__TENSORS] = {
    {"emb.weight",            'e', 'V', 'D'},
    {"ln0.weight",            'v', '1', 'D'},
    {"ln0.bias",              'v', '1', 'D'},
    {"ln1.weight",            'v', '1', 'D'},
    {"ln1.bias",              'v', '1', 'D'},
    {"att.time_mix_r",        'v', '1', 'D'},
    {"att.time_mix_k",        'v', '1', 'D'},
    {"att.time_mix_v",        'v', '1', 'D'},
    {"att.receptance.weight", 'm', 'A', 'D'},
    {"att.key.weight",        'm', 'A', 'D'},
    {"att.value.weight",      'm', 'A', 'D'},
    {"att.time_first",        'v', '1', 'A'},
    {"att.time_decay",        'v', '1', 'A'},
    {"att.output.weight",     'm', 'D', 'A'},
    {"ln2.weight",            'v', '1', 'D'},
    {"ln2.bias",              'v', '1', 'D'},
    {"ffn.time_mix_r",        'v', '1', 'D'},
    {"ffn.time_mix_k",        'v', '1', 'D'},
    {"ffn.receptance.weight", 'm', 'D', 'D'},
    {"ffn.key.weight",        'm', 'F', 'D'},
    {"ffn.value.weight",      'c', 'D', 'F'},
    {"ln_out.weight",         'v', '1', 'D'},
    {"ln_out.bias",           'v', '1', 'D'},
    {"head.weight",           'm', 'V', 'D'},
};

/* The header in the machine's own numbers, and what follows from it.         */
typedef struct rwkv__file {
    uint32_t format, version, type, tokenizer;
    uint32_t n_vocab, n_embd, n_att, n_ffn, n_layer, n_head;
    uint64_t bytes, vocab_bytes;
    float    norm_eps;
    unsigned char bits[8]; /* of the codes of the matrices, in their order         */
    uint32_t data_crc, header_crc;
    uint64_t offset[RWKV__TENSORS]; /* of a layer's tensors: in layer 0           */
    uint64_t layer_bytes, vocab_offset;
} rwkv__file;

static uint64_t rwkv__dimension(const rwkv__file *f, char name)
{
    switch (name) {
    case 'V': return f->n_vocab;
    case 'D': return f->n_embd;
    case 'A': return f->n_att;
    case 'F': return f->n_ffn;
    }
    return 1;
}

/* Which of the matrices a tensor is, 0 to 7, as in the bits of the codes; -1:
 * none.                                                                      */
static int rwkv__matrix_index(int id)
{
    static const signed char ids[8] = {RWKV__ATT_R, RWKV__ATT_K, RWKV__ATT_V, RWKV__ATT_OUTPUT,
                                       RWKV__FFN_R, RWKV__FFN_K, RWKV__FFN_V, RWKV__HEAD};
    int                      i;
    for (i = 0; i < 8; i++)
        if (ids[i] == id)
            return i;
    return -1;
}

static rwkv__storage rwkv__storage_of(const rwkv__file *f, int id)
{
    const int i = rwkv__matrix_index(id);
    if (rwkv__tensors[id].kind == 'v')
        return RWKV__F32;
    if (f->type <= RWKV_TYPE_BF16)
        return (rwkv__storage)f->type;
    return i < 0 ? RWKV__CODES_8 : (rwkv__storage)f->bits[i];
}

static uint64_t rwkv__round64(uint64_t n)
{
    return (n + 63) & ~(uint64_t)63;
}

/* Where the parts of a tensor lie, in bytes from where it begins. The limits of
 * the dimensions keep every sum of these far below 2^64.                     */
typedef struct rwkv__places {
    uint64_t scale; /* of a matrix of codes                                      */
    uint64_t data;  /* its codes; 0 for anything else                            */
    uint64_t bytes; /* of all, padded to the 64 at which the next tensor begins  */
    uint64_t row;   /* of the embedding                                          */
} rwkv__places;

static rwkv__places rwkv__places_of(const rwkv__file *f, int id)
{
    const rwkv__tensor *tensor = &rwkv__tensors[id];
    const rwkv__storage storage = rwkv__storage_of(f, id);
    const uint64_t      rows = rwkv__dimension(f, tensor->rows), panels = rwkv__panels(rows);
    const uint64_t      columns = rwkv__dimension(f, tensor->columns);
    const uint64_t      blocks = rwkv__code_blocks(columns);
    const uint64_t      element = rwkv__element(storage);
    rwkv__places        p = {0, 0, 0, 0};
    if (tensor->kind == 'e') {
        p.row = storage <= RWKV__BF16 ? columns * element : blocks * (RWKV__CODE_BLOCK + 2);
        p.bytes = rows * p.row;
    } else if (tensor->kind == 'v') {
        p.bytes = columns * element;
    } else if (storage <= RWKV__BF16) {
        p.bytes = panels * 16 * columns * element;
    } else {
        p.scale = panels;
        p.data = rwkv__round64(p.scale + panels * blocks * 16);
        p.bytes = p.data + (tensor->kind == 'c'
                                ? columns * rwkv__code_column(panels, storage)
                                : panels * blocks * RWKV__CODE_BYTES((uint64_t)storage));
    }
    p.bytes = rwkv__round64(p.bytes);
    return p;
}

static void rwkv__lay_out(rwkv__file *f)
{
    uint64_t at = RWKV__HEADER_BYTES;
    int      id;
    for (id = 0; id < RWKV__TENSORS; id++) {
        if (id == RWKV__LAYER_END) {
            f->layer_bytes = at - f->offset[RWKV__LAYER_BEGIN];
            at += f->layer_bytes * (f->n_layer - 1);
        }
        f->offset[id] = at;
        at += rwkv__places_of(f, id).bytes;
    }
    f->vocab_offset = at;
}

static rwkv_result rwkv__check_range(const char *name, uint64_t offset, uint64_t value,
                                     uint64_t lowest, uint64_t highest, rwkv_error *error)
{
    if (value >= lowest && value <= highest)
        return RWKV_OK;
    return rwkv__fail(error, RWKV_ERR_FORMAT, offset, "header: %s is %u, must be %u to %u", name,
                      value, lowest, highest);
}

/* Every field of the header, each with its own message.                      */
static rwkv_result rwkv__check_header(const unsigned char *h, const rwkv__file *f,
                                      rwkv_error *error)
{
    const struct {
        char     name[10];
        uint32_t value, offset, highest;
    } dimensions[5] = {{"n_vocab", f->n_vocab, 24, RWKV__MAX_VOCAB},
                       {"n_embd", f->n_embd, 28, RWKV__MAX_WIDTH},
                       {"n_att", f->n_att, 32, RWKV__MAX_WIDTH},
                       {"n_ffn", f->n_ffn, 36, RWKV__MAX_WIDTH},
                       {"n_layer", f->n_layer, 40, RWKV__MAX_LAYERS}};
    rwkv_result  result;
    const uint64_t format = f->format, version = f->version;
    int            i;

    if (f->format != RWKV__FORMAT_VERSION)
        return rwkv__fail(error, RWKV_ERR_UNSUPPORTED, 8,
                          "header: file format %u, this build reads %u", format,
                          (uint64_t)RWKV__FORMAT_VERSION);
    if (f->version != 4)
        return rwkv__fail(error, version >= 5 && version <= 7 ? RWKV_ERR_UNSUPPORTED
                                                              : RWKV_ERR_FORMAT,
                          12, "header: RWKV version %u, this build runs %u", version, (uint64_t)4);
    result = rwkv__check_range("type", 16, f->type, RWKV_TYPE_F32, RWKV_TYPE_Q4, error);
    if (result)
        return result;
    result = rwkv__check_range("tokenizer", 20, f->tokenizer, 0, RWKV_TOKENIZER_20B, error);
    if (result)
        return result;
    for (i = 0; i < 5; i++) {
        result = rwkv__check_range(dimensions[i].name, dimensions[i].offset, dimensions[i].value, 1,
                                   dimensions[i].highest, error);
        if (result)
            return result;
    }
    result = rwkv__check_range("n_head", 44, f->n_head, 0, 0, error);
    if (result)
        return result;
    if (!(f->norm_eps >= 0 && f->norm_eps <= 1))
        return rwkv__fail(error, RWKV_ERR_FORMAT, 64,
                          "header: norm_eps (bits %u) is not between 0 and 1",
                          (uint64_t)rwkv__bits(f->norm_eps));
    for (i = 0; i < 8; i++) {
        const unsigned bits = f->bits[i];
        const int      good = f->type <= RWKV_TYPE_BF16 ? bits == 0
                              : f->type == RWKV_TYPE_Q8 ? bits == 8
                              : i == 6                  ? bits == 8 || bits == 4
                                                        : bits == 8 || (bits >= 4 && bits <= 6);
        if (!good)
            return rwkv__fail(error, RWKV_ERR_FORMAT, 68 + (uint64_t)i,
                              "header: matrix %u has codes of %u bits, not for type %u",
                              (uint64_t)i, (uint64_t)bits, (uint64_t)f->type);
    }
    for (i = 76; i < 120; i++)
        if (h[i])
            return rwkv__fail(error, RWKV_ERR_FORMAT, (uint64_t)i,
                              "header: reserved byte %u is %u, must be 0", (uint64_t)i,
                              (uint64_t)h[i]);
    return RWKV_OK;
}

/* The i-th tensor of the file, its layer, 0 if it is in none, and where it begins.
 * RWKV__TENSORS after the last.                                              */
static int rwkv__tensor_at(const rwkv__file *f, uint64_t i, uint64_t *layer, uint64_t *offset)
{
    const uint64_t each = RWKV__LAYER_END - RWKV__LAYER_BEGIN, begin = RWKV__LAYER_BEGIN;
    int            id;
    *layer = i < begin ? 0 : rwkv__min64((i - begin) / each, f->n_layer - 1);
    id = (int)rwkv__min64(i - *layer * each, RWKV__TENSORS);
    if (id >= RWKV__LAYER_END)
        *layer = 0;
    *offset = id < RWKV__TENSORS ? f->offset[id] + *layer * f->layer_bytes : 0;
    return id;
}

/* The first tensor that does not fit into `size` bytes, for the message.     */
static rwkv_result rwkv__fail_truncated(const rwkv__file *f, uint64_t size, rwkv_error *error)
{
    uint64_t i, layer, offset, end;
    int      id;
    for (i = 0; (id = rwkv__tensor_at(f, i, &layer, &offset)) < RWKV__TENSORS; i++) {
        end = offset + rwkv__places_of(f, id).bytes;
        if (end > size && id >= RWKV__LAYER_BEGIN && id < RWKV__LAYER_END)
            return rwkv__fail(error, RWKV_ERR_FORMAT, size,
                              "block %u %s: file ends at byte %u, needs %u", layer,
                              rwkv__tensors[id].name, size, end);
        if (end > size)
            return rwkv__fail(error, RWKV_ERR_FORMAT, size, "%s: file ends at byte %u, needs %u",
                              rwkv__tensors[id].name, size, end);
    }
    return rwkv__fail(error, RWKV_ERR_FORMAT, size, "vocabulary: file ends at byte %u, needs %u",
                      size, f->bytes);
}

/* Read and check the header of a file of `size` bytes, of which the first 128 are at
 * `h`.                                                                       */
static rwkv_result rwkv__read_header(const unsigned char *h, uint64_t size, rwkv__file *f,
                                     rwkv_error *error)
{
    static const unsigned char magic[8] = {'R', 'W', 'K', 'V', 0x0d, 0x0a, 0x1a, 0x0a};
    rwkv_result result;
    uint32_t    crc;

    if (size < RWKV__HEADER_BYTES)
        return rwkv__fail(error, RWKV_ERR_FORMAT, size, "header: file ends at byte %u, needs %u",
                          size, (uint64_t)RWKV__HEADER_BYTES);
    if (memcmp(h, magic, sizeof magic) != 0)
        return rwkv__fail(error, RWKV_ERR_FORMAT, 0,
                          "header: not a model file (convert it with tools/convert_pth.py)");
    f->format = rwkv__get32(h + 8);
    f->version = rwkv__get32(h + 12);
    f->type = rwkv__get32(h + 16);
    f->tokenizer = rwkv__get32(h + 20);
    f->n_vocab = rwkv__get32(h + 24);
    f->n_embd = rwkv__get32(h + 28);
    f->n_att = rwkv__get32(h + 32);
    f->n_ffn = rwkv__get32(h + 36);
    f->n_layer = rwkv__get32(h + 40);
    f->n_head = rwkv__get32(h + 44);
    f->bytes = rwkv__get64(h + 48);
    f->vocab_bytes = rwkv__get64(h + 56);
    f->norm_eps = rwkv__float(rwkv__get32(h + 64));
    memcpy(f->bits, h + 68, sizeof f->bits);
    f->data_crc = rwkv__get32(h + 120);
    f->header_crc = rwkv__get32(h + 124);

    result = rwkv__check_header(h, f, error);
    if (result)
        return result;
    rwkv__lay_out(f);
    if (f->vocab_bytes % 64 || f->vocab_bytes > (uint64_t)1 << 40 ||
        (f->vocab_bytes == 0) != (f->tokenizer == RWKV_TOKENIZER_NONE))
        return rwkv__fail(error, RWKV_ERR_FORMAT, 56,
                          "header: vocabulary of %u bytes for tokenizer %u", f->vocab_bytes,
                          (uint64_t)f->tokenizer);
    if (f->bytes != f->vocab_offset + f->vocab_bytes)
        return rwkv__fail(error, RWKV_ERR_FORMAT, 48,
                          "header: file_bytes is %u, the dimensions make %u", f->bytes,
                          f->vocab_offset + f->vocab_bytes);
    crc = rwkv__crc32(0, h, 124, 0, 124, 1);
    if (crc != f->header_crc)
        return rwkv__fail(error, RWKV_ERR_FORMAT, 124,
                          "header: its checksum is %u, the file says %u", (uint64_t)crc,
                          (uint64_t)f->header_crc);
    if (f->bytes > size)
        return rwkv__fail_truncated(f, size, error);
    if (f->bytes > (uint64_t)SIZE_MAX / 2)
        return rwkv__fail(error, RWKV_ERR_UNSUPPORTED, 48,
                          "header: %u bytes are more than this machine can address", f->bytes);
    return RWKV_OK;
}

/* 32-bit words of the vocabulary before its bytes.                           */
static uint64_t rwkv__vocabulary_words(uint64_t V, uint64_t n_cells, uint64_t n_pairs,
                                       uint64_t n_words)
{
    return 4 + V + 1 + 3 * n_cells + (n_pairs ? V + 1 + 2 * n_pairs : 0) + n_words;
}

#ifdef RWKV__BIG_ENDIAN
/* Bytes of each number of a tensor; 1 if it is bytes.                        */
static size_t rwkv__number_bytes(const rwkv__file *f, int id)
{
    const rwkv__storage storage = rwkv__storage_of(f, id);
    return storage <= RWKV__BF16 ? rwkv__element(storage) : 1;
}

/* Turn the numbers of `element` bytes from byte `at` to `end` into the machine's. */
static void rwkv__swap(unsigned char *data, uint64_t size, uint64_t at, uint64_t end,
                       size_t element)
{
    for (; at < end; at++) {
        const uint64_t      other = at ^ (element - 1);
        const unsigned char byte = rwkv__byte(data, size, at);
        if (at < other && other < size) {
            data[at] = rwkv__byte(data, size, other);
            data[other] = byte;
        }
    }
}
#endif

/* ============================================================================
 * 9. MARK: model                                                      >>model
 *
 * A model is the bytes of its file, a table of offsets and the kernels.
 * ========================================================================== */

/* The vocabulary where it lies: see the file format.                         */
typedef struct rwkv__vocabulary {
    uint32_t             n_cells, n_bytes, n_pairs, n_runs, n_specials, n_blocks, n_decomposed;
    uint32_t             n_sequence, n_composed;
    uint64_t             words;                 /* all before the bytes                 */
    const uint32_t      *offset, *cell;
    const uint32_t      *first_pair, *pair;     /* from here on: 20B only               */
    const uint32_t      *run, *special;
    const uint32_t      *block, *property;      /* two 16-bit numbers in each           */
    const uint32_t      *decomposed, *sequence, *composed;
    const unsigned char *bytes;
} rwkv__vocabulary;

struct rwkv_model {
    rwkv__file     file;
    rwkv__kernels  kernels;
    rwkv_allocator allocator;
    rwkv_parallel  parallel;
    int            n_threads, chunk;
    const unsigned char *data;   /* file.bytes of them                            */
    void                *copy;   /* to be freed, if the data was read or swapped  */
    void                *map;    /* to be unmapped, if it was mapped              */
    size_t               map_bytes;
    rwkv__vocabulary     vocabulary;
};

/* The state of layer l: parts of D or A numbers, padded to 16, in the order of
 * rwkv_part. Then the hidden vector and the logits, which are copied with it,
 * then the scratch, which is not.                                            */
struct rwkv_state {
    const rwkv_model *model;
    void   *owned;       /* what rwkv_state_free releases; NULL: your memory       */
    int     has_logits;
    int     slot;        /* used by rwkv_eval_batch to find a state given twice    */
    int     step;        /* of an evaluation in steps, from 1; 0: none is begun    */
    float  *numbers, *hidden, *logits;
    float  *scratch;
    float  *wide;        /* scratch of the kernels, for each thread: >>kernels     */
    rwkv__team team;
    float **rows;        /* (chunk) where each row's logits go                     */
};

/* Not NULL, nor in the midst of an evaluation.                               */
static int rwkv__ready(const rwkv_state *state)
{
    return state && state->step == 0;
}

/* ---- memory --------------------------------------------------------------- */

static void *rwkv__alloc(const rwkv_allocator *allocator, size_t size)
{
#ifndef RWKV_NO_MALLOC
    if (!allocator->alloc) { /* 64-byte alignment, keeping malloc's pointer below */
        unsigned char *base = size < SIZE_MAX - 128 ? (unsigned char *)malloc(size + 128) : NULL;
        unsigned char *p;
        if (!base)
            return NULL;
        p = base + 128 - (uintptr_t)base % 64;
        memcpy(p - sizeof base, &base, sizeof base);
        return p;
    }
#else
    if (!allocator->alloc)
        return NULL;
#endif
    return allocator->alloc(size, 64, allocator->user);
}

static void rwkv__release(const rwkv_allocator *allocator, void *p)
{
    if (!p)
        return;
#ifndef RWKV_NO_MALLOC
    if (!allocator->alloc) {
        void *base;
        memcpy(&base, (unsigned char *)p - sizeof base, sizeof base);
        free(base);
        return;
    }
#endif
    if (allocator->free)
        allocator->free(p, allocator->user);
}

/* ---- parts of a model ----------------------------------------------------- */

static const unsigned char *rwkv__weights(const rwkv_model *m, int id, int layer)
{
    return m->data + (size_t)(m->file.offset[id] + (uint64_t)layer * m->file.layer_bytes);
}

static const float *rwkv__vector(const rwkv_model *m, int id, int layer)
{
    return (const float *)(const void *)rwkv__weights(m, id, layer);
}

/* Sizes: V vocabulary, D embedding, A attention, F feed-forward.             */
static size_t rwkv__V(const rwkv_model *m) { return m->file.n_vocab; }
static size_t rwkv__D(const rwkv_model *m) { return m->file.n_embd; }
static size_t rwkv__A(const rwkv_model *m) { return m->file.n_att; }
static size_t rwkv__F(const rwkv_model *m) { return m->file.n_ffn; }
static int    rwkv__L(const rwkv_model *m) { return (int)m->file.n_layer; }

/* ---- sizes of a state ---------------------------------------------------- */

/* Floats that a copy of a state carries: numbers, hidden vector, logits.     */
static uint64_t rwkv__carried(const rwkv_model *m)
{
    const uint64_t D16 = rwkv__round16(rwkv__D(m)), A16 = rwkv__round16(rwkv__A(m));
    return (2 * D16 + 3 * A16) * m->file.n_layer + D16 + rwkv__round16(rwkv__V(m));
}

static uint64_t rwkv__scratch(const rwkv_model *m)
{
    const uint64_t T = (uint64_t)m->chunk, a = 3 * rwkv__activation_size(T, rwkv__A(m));
    const uint64_t f = rwkv__activation_size(T, rwkv__F(m));
    uint64_t       n = 5 * rwkv__activation_size(T, rwkv__D(m)) + (a > f ? a : f);
    const uint64_t score = 2 * rwkv__activation_size(T, rwkv__D(m)) +
                           rwkv__activation_size(T, rwkv__min(RWKV__BLOCK, rwkv__V(m)));
    n = n > score ? n : score; /* more only if D, A and F are tiny               */
#ifndef RWKV_NO_SAMPLER
    const uint64_t sampler = 2 * (uint64_t)rwkv__round16(rwkv__V(m));
    n = n > sampler ? n : sampler;
#endif
    return n;
}

/* Scratch of the kernels, for each thread.                                   */
static uint64_t rwkv__wide_size(const rwkv_model *m)
{
    return m->chunk == 1 ? RWKV__USED_SIZE : RWKV__WIDE_SIZE;
}

/* The struct, and the queues of the threads.                                 */
static size_t rwkv__state_head(const rwkv_model *m)
{
    const size_t queues = m->n_threads == 1 ? 0 : (size_t)m->n_threads;
    return ((sizeof(rwkv_state) + 63) & ~(size_t)63) +
           queues * RWKV__QUEUE * sizeof(uint32_t);
}

/* With 63 bytes to spare, so that memory of any alignment will do.           */
static uint64_t rwkv__state_size(const rwkv_model *m)
{
    return 63 + rwkv__state_head(m) +
           (rwkv__carried(m) + rwkv__scratch(m) +
            (uint64_t)m->n_threads * rwkv__wide_size(m)) * sizeof(float) +
           (uint64_t)m->chunk * sizeof(float *);
}

#define RWKV__SAVE_HEADER 64

static size_t rwkv__save_size(const rwkv_model *m)
{
    const size_t D = rwkv__D(m), A = rwkv__A(m);
    return RWKV__SAVE_HEADER + ((2 * D + 3 * A) * (size_t)rwkv__L(m) + D) * 4;
}

/* ---- loading -------------------------------------------------------------- */

/* Each of n words, `step` apart from word `at` on, must be at most `most`, or
 * 2^32 - 1 if that may stand for none.                                       */
static rwkv_result rwkv__check_words(const rwkv_model *m, uint64_t size, const char *what,
                                     uint64_t at, uint64_t n, int step, uint64_t most, int none,
                                     rwkv_error *error)
{
    uint64_t i;
    for (i = 0; i < n; i++, at += (uint64_t)step) {
        const uint32_t word = rwkv__word_at(m->data, size, at);
        if (word > most && (!none || word != 0xffffffffu))
            return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * at,
                              "vocabulary: %s %u is %u, at most %u", what, i, (uint64_t)word, most);
    }
    return RWKV_OK;
}

/* Spans {begin, end} of n + 1 words must ascend, be at most `longest` long, and lie
 * below `limit`.                                                             */
static rwkv_result rwkv__check_spans(const rwkv_model *m, uint64_t size, const char *what,
                                     uint64_t at, uint64_t n, uint64_t longest, uint64_t limit,
                                     rwkv_error *error)
{
    const uint64_t first = rwkv__word_at(m->data, size, at);
    uint64_t       begin = first, end, i;
    for (i = 0; i < n; i++, begin = end) {
        end = rwkv__word_at(m->data, size, at + i + 1);
        if (begin > end || end - begin > longest || end > limit)
            return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * (at + i),
                              "vocabulary: %s of token %u are %u to %u, may be %u, of %u", what, i,
                              begin, end, longest, limit);
    }
    if (first != 0)
        return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * at,
                          "vocabulary: %s begin at %u, must begin at 0", what, first);
    return RWKV_OK;
}

/* Bytes of a code point.                                                     */
static uint64_t rwkv__utf8_size(uint32_t c)
{
    return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

/* The words of a 20B vocabulary that describe text, from word `at` on: point at them.
 * Normalization must not make more than three bytes of one, which bounds the tokens. */
static rwkv_result rwkv__load_text(rwkv_model *m, uint64_t size, uint64_t at, uint64_t n_words,
                                   rwkv_error *error)
{
    rwkv__vocabulary          *v = &m->vocabulary;
    const unsigned char *const data = m->data;
    const uint32_t *const      words = (const uint32_t *)(const void *)data;
    const uint64_t             V = m->file.n_vocab;
    uint64_t                   run, special, block, property, decomposed, sequence, composed;
    uint64_t                   needs = 8, bytes, i, k;
    rwkv_result                result;
    if (n_words >= 8) {
        v->n_runs = rwkv__word_at(data, size, at);
        v->n_specials = rwkv__word_at(data, size, at + 1);
        v->n_blocks = rwkv__word_at(data, size, at + 2);
        v->n_decomposed = rwkv__word_at(data, size, at + 3);
        v->n_sequence = rwkv__word_at(data, size, at + 4);
        v->n_composed = rwkv__word_at(data, size, at + 5);
        needs += (uint64_t)v->n_runs + 3 * (uint64_t)v->n_specials + RWKV__BLOCKS / 2 +
                 64 * (uint64_t)v->n_blocks + 2 * (uint64_t)v->n_decomposed + v->n_sequence +
                 3 * (uint64_t)v->n_composed;
    }
    if (needs != n_words)
        return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * at,
                          "vocabulary: has %u words about text, its counts make %u", n_words,
                          needs);
    if (v->n_runs > RWKV__MAX_SPECIALS || v->n_specials > RWKV__MAX_SPECIALS)
        return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * at,
                          "vocabulary: %u runs of spaces and %u special tokens, at most %u",
                          (uint64_t)v->n_runs, (uint64_t)v->n_specials,
                          (uint64_t)RWKV__MAX_SPECIALS);
    run = at + 8;
    special = run + v->n_runs;
    block = special + 3 * (uint64_t)v->n_specials;
    property = block + RWKV__BLOCKS / 2;
    decomposed = property + 64 * (uint64_t)v->n_blocks;
    sequence = decomposed + 2 * (uint64_t)v->n_decomposed;
    composed = sequence + v->n_sequence;
    v->run = words + run;
    v->special = words + special;
    v->block = words + block;
    v->property = words + property;
    v->decomposed = words + decomposed;
    v->sequence = words + sequence;
    v->composed = words + composed;

    if ((result = rwkv__check_words(m, size, "token of a run of spaces", run, v->n_runs, 1, V - 1,
                                    1, error)) != RWKV_OK ||
        (result = rwkv__check_words(m, size, "special token", special, v->n_specials, 3, V - 1, 0,
                                    error)) != RWKV_OK ||
        (result = rwkv__check_words(m, size, "character", sequence, v->n_sequence, 1, 0x10ffff, 0,
                                    error)) != RWKV_OK ||
        (result = rwkv__check_words(m, size, "composed character", composed + 2, v->n_composed, 3,
                                    0x10ffff, 0, error)) != RWKV_OK)
        return result;
    for (i = 0; i < v->n_specials; i++) {
        const uint64_t begin = rwkv__word_at(data, size, special + 3 * i + 1);
        const uint64_t length = rwkv__word_at(data, size, special + 3 * i + 2);
        if (length == 0 || begin + length > v->n_bytes)
            return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * (special + 3 * i),
                              "vocabulary: special text %u is bytes %u to %u, there are %u", i,
                              begin, begin + length, (uint64_t)v->n_bytes);
    }
    for (i = 0; i < RWKV__BLOCKS; i++) {
        const uint64_t number = rwkv__word_at(data, size, block + i / 2) >> i % 2 * 16 & 0xffff;
        if (number >= v->n_blocks)
            return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * block + 2 * i,
                              "vocabulary: characters %u on have block %u of %u", 128 * i, number,
                              (uint64_t)v->n_blocks);
    }
    for (i = 0; i < v->n_decomposed; i++) {
        const uint32_t c = rwkv__word_at(data, size, decomposed + 2 * i);
        const uint32_t span = rwkv__word_at(data, size, decomposed + 2 * i + 1);
        const uint64_t begin = span / 8, length = span % 8;
        if (length == 0 || begin + length > v->n_sequence)
            return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * (decomposed + 2 * i),
                              "vocabulary: decomposition %u is %u to %u, there are %u", i, begin,
                              begin + length, (uint64_t)v->n_sequence);
        for (bytes = k = 0; k < length; k++)
            bytes += rwkv__utf8_size(rwkv__word_at(data, size, sequence + begin + k));
        if (bytes > 3 * rwkv__utf8_size(c))
            return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * (decomposed + 2 * i),
                              "vocabulary: decomposition %u makes %u bytes of %u, at most 3 of 1",
                              i, bytes, rwkv__utf8_size(c));
    }
    for (i = 0; i < v->n_composed; i++) {
        const uint64_t first = rwkv__utf8_size(rwkv__word_at(data, size, composed + 3 * i));
        const uint64_t second = rwkv__utf8_size(rwkv__word_at(data, size, composed + 3 * i + 1));
        const uint64_t both = rwkv__utf8_size(rwkv__word_at(data, size, composed + 3 * i + 2));
        if (both > first + second)
            return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * (composed + 3 * i),
                              "vocabulary: composition %u makes %u bytes of %u", i, both,
                              first + second);
    }
    return RWKV_OK;
}

/* Check the vocabulary and point at its parts. Every number that is later
 * used as an index is checked here, but for the trie's child, which is checked
 * where it is computed.                                                      */
static rwkv_result rwkv__load_vocabulary(rwkv_model *m, uint64_t size, rwkv_error *error)
{
    const rwkv__file          *f = &m->file;
    rwkv__vocabulary          *v = &m->vocabulary;
    const unsigned char *const data = m->data;
    const uint32_t *const      words = (const uint32_t *)(const void *)data;
    const uint64_t             at = f->vocab_offset / 4;
    uint64_t                   needs, n_words, cell, first_pair, pair;
    const int                  bpe = f->tokenizer == RWKV_TOKENIZER_20B;
    rwkv_result                result;

    if (!f->vocab_bytes)
        return RWKV_OK;
    v->n_cells = rwkv__word_at(data, size, at);
    v->n_bytes = rwkv__word_at(data, size, at + 1);
    v->n_pairs = rwkv__word_at(data, size, at + 2);
    n_words = rwkv__word_at(data, size, at + 3);
    v->words = rwkv__vocabulary_words(f->n_vocab, v->n_cells, v->n_pairs, n_words);
    needs = rwkv__round64(4 * v->words + v->n_bytes);
    if (needs != f->vocab_bytes)
        return rwkv__fail(error, RWKV_ERR_FORMAT, f->vocab_offset,
                          "vocabulary: has %u bytes, its counts make %u", f->vocab_bytes, needs);
    if (!v->n_cells || bpe != (v->n_pairs > 0) || bpe != (n_words > 0))
        return rwkv__fail(error, RWKV_ERR_FORMAT, f->vocab_offset,
                          "vocabulary: %u cells, %u merges, %u words about text: not tokenizer %u",
                          (uint64_t)v->n_cells, (uint64_t)v->n_pairs, n_words,
                          (uint64_t)f->tokenizer);
    cell = at + 4 + f->n_vocab + 1;
    v->offset = words + at + 4;
    v->cell = words + cell;
    v->bytes = (const unsigned char *)(words + at + v->words);

    result = rwkv__check_spans(m, size, "bytes", at + 4, f->n_vocab, RWKV__MAX_TOKEN, v->n_bytes,
                               error);
    if (result != RWKV_OK)
        return result;
    if (!bpe && rwkv__word_at(data, size, cell - 1) != v->n_bytes)
        return rwkv__fail(error, RWKV_ERR_FORMAT, f->vocab_offset + 4,
                          "vocabulary: the tokens have %u bytes, there are %u",
                          (uint64_t)rwkv__word_at(data, size, cell - 1), (uint64_t)v->n_bytes);
    if (rwkv__word_at(data, size, cell + 1) != 0xffffffffu || rwkv__word_at(data, size, cell + 2))
        return rwkv__fail(error, RWKV_ERR_FORMAT, 4 * cell,
                          "vocabulary: the trie's root has parent %u and token number %u",
                          (uint64_t)rwkv__word_at(data, size, cell + 1),
                          (uint64_t)rwkv__word_at(data, size, cell + 2));
    result = rwkv__check_words(m, size, "token + 1 of trie cell", cell + 2, v->n_cells, 3,
                               f->n_vocab, 0, error);
    if (result != RWKV_OK || !bpe)
        return result;

    first_pair = cell + 3 * (uint64_t)v->n_cells;
    pair = first_pair + f->n_vocab + 1;
    v->first_pair = words + first_pair;
    v->pair = words + pair;
    if ((result = rwkv__check_spans(m, size, "merges", first_pair, f->n_vocab, v->n_pairs,
                                    v->n_pairs, error)) != RWKV_OK ||
        (result = rwkv__check_words(m, size, "token of merge", pair + 1, v->n_pairs, 2,
                                    f->n_vocab - 1, 0, error)) != RWKV_OK)
        return result;
    return rwkv__load_text(m, size, pair + 2 * (uint64_t)v->n_pairs, n_words, error);
}

/* A multiple of the rows of every instruction set's large tile (14, 6).      */
#define RWKV__DEFAULT_CHUNK 168

static void rwkv__clear(rwkv_error *error)
{
    if (error)
        memset(error, 0, sizeof *error);
}

static rwkv_result rwkv__check_option(const char *name, int value, int highest, rwkv_error *error)
{
    const uint64_t size = (uint64_t)(value < 0 ? -(int64_t)value : value);
    if (value >= 0 && value <= highest)
        return RWKV_OK;
    return rwkv__fail(error, RWKV_ERR_ARGUMENT, 0, "options: %s is %s%u, must be 0 to %u", name,
                      value < 0 ? "-" : "", size, (uint64_t)highest);
}

/* A model with its options, and no data yet.                                 */
static rwkv_model *rwkv__model_new(const rwkv_options *options, rwkv_error *error)
{
    static const rwkv_options defaults = {0, 0, 0, NULL, {NULL, NULL, NULL}, {NULL, NULL}};
    const rwkv_options *o = options ? options : &defaults;
    rwkv_model         *m;
    rwkv__kernels       kernels;

    if (o->flags & ~RWKV_FLAG_NO_MMAP) {
        rwkv__fail(error, RWKV_ERR_ARGUMENT, 0, "options: unknown flags %u", (uint64_t)o->flags);
        return NULL;
    }
    if (rwkv__check_option("n_threads", o->n_threads, 256, error) ||
        rwkv__check_option("chunk", o->chunk, 65536, error))
        return NULL;
    if (!rwkv__kernels_choose(&kernels, o->isa)) {
        rwkv__fail(error, RWKV_ERR_UNSUPPORTED, 0, "options: no isa \"%s\" in this build on this "
                   "machine", o->isa);
        return NULL;
    }
    m = (rwkv_model *)rwkv__alloc(&o->allocator, sizeof *m);
    if (!m) {
        rwkv__fail(error, RWKV_ERR_MEMORY, 0, "no memory for the model (%u bytes)",
                   (uint64_t)sizeof *m);
        return NULL;
    }
    memset(m, 0, sizeof *m);
    m->kernels = kernels;
    m->allocator = o->allocator;
    m->parallel = o->parallel;
    m->n_threads = o->n_threads ? o->n_threads : rwkv__default_threads(&o->parallel);
    m->chunk = o->chunk ? o->chunk : RWKV__DEFAULT_CHUNK;
    return m;
}

#ifdef RWKV__BIG_ENDIAN
/* Turn the numbers of a copy that is checked into the machine's.             */
static void rwkv__swap_file(rwkv_model *m, uint64_t size)
{
    const rwkv__file *f = &m->file;
    unsigned char    *data = (unsigned char *)m->copy;
    uint64_t          i, layer, offset;
    int               id;
    for (i = 0; (id = rwkv__tensor_at(f, i, &layer, &offset)) < RWKV__TENSORS; i++)
        if (rwkv__number_bytes(f, id) > 1)
            rwkv__swap(data, size, offset, offset + rwkv__places_of(f, id).bytes,
                       rwkv__number_bytes(f, id));
    rwkv__swap(data, size, f->vocab_offset, f->vocab_offset + 4 * m->vocabulary.words, 4);
}
#endif

/* Take up m->data, `size` bytes of it.                                       */
static rwkv_result rwkv__load_data(rwkv_model *m, uint64_t size, rwkv_error *error)
{
    unsigned char header[RWKV__HEADER_BYTES];
    rwkv_result   result;
    size_t        bytes, i;
    for (i = 0; i < sizeof header; i++)
        header[i] = rwkv__byte(m->data, size, i);
    result = rwkv__read_header(header, size, &m->file, error);
    if (result)
        return result;
    if (rwkv__state_size(m) > SIZE_MAX / 2)
        return rwkv__fail(error, RWKV_ERR_UNSUPPORTED, 0,
                          "a state of %u bytes is more than this machine can address "
                          "(chunk is %u)", rwkv__state_size(m), (uint64_t)m->chunk);
    bytes = (size_t)rwkv__min64(size, m->file.bytes); /* what follows is no part of it  */
#ifdef RWKV__BIG_ENDIAN
    if (!m->copy) {
        m->copy = rwkv__alloc(&m->allocator, bytes);
        if (!m->copy)
            return rwkv__fail(error, RWKV_ERR_MEMORY, 0, "no memory for the weights (%u bytes)",
                              (uint64_t)bytes);
        memcpy(m->copy, m->data, bytes);
        m->data = (const unsigned char *)m->copy;
    }
#endif
    result = rwkv__load_vocabulary(m, bytes, error);
#ifdef RWKV__BIG_ENDIAN
    if (result == RWKV_OK)
        rwkv__swap_file(m, bytes);
#endif
    return result;
}

RWKV_API rwkv_model *rwkv_load_memory(const void *data, size_t size, const rwkv_options *options,
                                      rwkv_error *error)
{
    rwkv_model *m;
    rwkv__clear(error);
    if (!data || (uintptr_t)data % 4) {
        rwkv__fail(error, RWKV_ERR_ARGUMENT, 0,
                   data ? "data lies %u bytes after a multiple of %u, must be at one"
                        : "data is NULL",
                   (uint64_t)((uintptr_t)data % 4), (uint64_t)4);
        return NULL;
    }
    m = rwkv__model_new(options, error);
    if (!m)
        return NULL;
    m->data = (const unsigned char *)data;
    if (rwkv__load_data(m, size, error) == RWKV_OK)
        return m;
    rwkv_free(m);
    return NULL;
}

/* The checksum of all that follows the header, as it was in the file.        */
static uint32_t rwkv__data_crc(const rwkv_model *m)
{
    const rwkv__file *f = &m->file;
#ifdef RWKV__BIG_ENDIAN
    const uint64_t bytes = f->vocab_offset + 4 * m->vocabulary.words;
    uint64_t       i, layer, offset;
    uint32_t       crc = 0;
    int            id;
    for (i = 0; (id = rwkv__tensor_at(f, i, &layer, &offset)) < RWKV__TENSORS; i++)
        crc = rwkv__crc32(crc, m->data, f->bytes, offset, offset + rwkv__places_of(f, id).bytes,
                          rwkv__number_bytes(f, id));
    crc = rwkv__crc32(crc, m->data, f->bytes, f->vocab_offset, bytes, 4);
    return rwkv__crc32(crc, m->data, f->bytes, bytes, f->bytes, 1);
#else
    return rwkv__crc32(0, m->data, f->bytes, RWKV__HEADER_BYTES, f->bytes, 1);
#endif
}

RWKV_API rwkv_result rwkv_verify(const rwkv_model *model, rwkv_error *error)
{
    uint32_t crc;
    rwkv__clear(error);
    if (!model)
        return rwkv__fail(error, RWKV_ERR_ARGUMENT, 0, "model is NULL");
    crc = rwkv__data_crc(model);
    if (crc == model->file.data_crc)
        return RWKV_OK;
    return rwkv__fail(error, RWKV_ERR_FORMAT, RWKV__HEADER_BYTES,
                      "damaged: the checksum of the data is %u, the header says %u",
                      (uint64_t)crc, (uint64_t)model->file.data_crc);
}

#ifndef RWKV_NO_STDIO
/* Why the last call on a file failed, for a message.                         */
static const char *rwkv__why(void)
{
#ifdef EOVERFLOW /* its size is no long, or no off_t                               */
    if (errno == EOVERFLOW)
        return " (too large for this machine)";
#endif
    return errno == ENOENT ? " (no such file)" : errno == EACCES ? " (permission denied)" : "";
}

/* Is there a folder, a pipe or a device? To open a pipe would be to wait for its
 * other end.                                                                 */
static int rwkv__is_special(const char *path)
{
#if defined(RWKV__MMAP) && !defined(_WIN32)
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode);
#else
    (void)path;
    return 0;
#endif
}

#ifdef RWKV__MMAP
/* Map a whole file. RWKV_ERR_UNSUPPORTED: it can't be mapped, but perhaps be
 * read.                                                                      */
static rwkv_result rwkv__map(rwkv_model *m, const char *path, uint64_t *size, rwkv_error *error)
{
#ifdef _WIN32
    LARGE_INTEGER bytes;
    HANDLE        mapping = NULL;
    const HANDLE  file =
        CreateFileA(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) {
        errno = GetLastError() == ERROR_FILE_NOT_FOUND ? ENOENT : 0;
        return rwkv__fail(error, RWKV_ERR_FILE, 0, "%s: cannot open%s", path, rwkv__why());
    }
    if (GetFileSizeEx(file, &bytes) && bytes.QuadPart > 0) {
        *size = (uint64_t)bytes.QuadPart;
        mapping = CreateFileMappingA(file, NULL, PAGE_READONLY, 0, 0, NULL);
    }
    if (mapping) {
        m->map = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
        CloseHandle(mapping);
    }
    CloseHandle(file);
#else
    struct stat info;
    void       *map = MAP_FAILED;
    const int   file = open(path, O_RDONLY | O_NONBLOCK); /* never waits for a pipe */
    if (file < 0)
        return rwkv__fail(error, RWKV_ERR_FILE, 0, "%s: cannot open%s", path, rwkv__why());
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(file);
        return rwkv__fail(error, RWKV_ERR_FILE, 0, "%s: not a regular file", path);
    }
    *size = (uint64_t)info.st_size;
    if (*size > 0 && *size <= SIZE_MAX)
        map = mmap(NULL, (size_t)*size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    m->map = map == MAP_FAILED ? NULL : map;
#endif
    if (!m->map)
        return RWKV_ERR_UNSUPPORTED;
    m->map_bytes = (size_t)*size;
    m->data = (const unsigned char *)m->map;
    return RWKV_OK;
}

static void rwkv__unmap(rwkv_model *m)
{
#ifdef _WIN32
    if (m->map)
        UnmapViewOfFile(m->map);
#else
    if (m->map)
        munmap(m->map, m->map_bytes);
#endif
    m->map = NULL;
}
#endif

/* -1 if it can't be told.                                                    */
static int64_t rwkv__file_size(FILE *file)
{
#ifdef _WIN32
    const int64_t size = _fseeki64(file, 0, SEEK_END) ? -1 : _ftelli64(file);
#else
    const int64_t size = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
#endif
    rewind(file);
    return size;
}

/* A file must end where its model ends.                                      */
static rwkv_result rwkv__check_end(const rwkv_model *m, const char *path, uint64_t size,
                                   rwkv_error *error)
{
    if (size <= m->file.bytes)
        return RWKV_OK;
    return rwkv__fail(error, RWKV_ERR_FORMAT, m->file.bytes,
                      "%s: has %u bytes, the model ends at %u", path, size, m->file.bytes);
}

/* Read a whole file, of which only the header until that is known to be good. */
static rwkv_result rwkv__read(rwkv_model *m, const char *path, uint64_t *size, rwkv_error *error)
{
    unsigned char header[RWKV__HEADER_BYTES];
    rwkv_result   result;
    int64_t       bytes;
    size_t        n;
    FILE         *file;
    if (rwkv__is_special(path))
        return rwkv__fail(error, RWKV_ERR_FILE, 0, "%s: not a regular file", path);
    file = fopen(path, "rb");
    if (!file)
        return rwkv__fail(error, RWKV_ERR_FILE, 0, "%s: cannot open%s", path, rwkv__why());
    bytes = rwkv__file_size(file);
    if (bytes < 0) {
        rwkv__fail(error, RWKV_ERR_FILE, 0, "%s: cannot tell its size%s", path, rwkv__why());
        fclose(file);
        return RWKV_ERR_FILE;
    }
    *size = (uint64_t)bytes;
    n = fread(header, 1, sizeof header, file);
    if (n < rwkv__min64(sizeof header, *size))
        result = rwkv__fail(error, RWKV_ERR_FILE, n, "%s: read ends at byte %u of %u", path,
                            (uint64_t)n, *size);
    else
        result = rwkv__read_header(header, *size, &m->file, error);
    if (result == RWKV_OK)
        result = rwkv__check_end(m, path, *size, error);
    if (result == RWKV_OK) {
        m->copy = rwkv__alloc(&m->allocator, (size_t)*size);
        if (!m->copy)
            result = rwkv__fail(error, RWKV_ERR_MEMORY, 0, "no memory for the weights (%u bytes)",
                                *size);
    }
    if (result == RWKV_OK) {
        memcpy(m->copy, header, sizeof header);
        m->data = (const unsigned char *)m->copy;
        n += fread((unsigned char *)m->copy + n, 1, (size_t)*size - n, file);
        if (n < *size)
            result = rwkv__fail(error, RWKV_ERR_FILE, n, "%s: read ends at byte %u of %u", path,
                                (uint64_t)n, *size);
    }
    fclose(file);
    return result;
}

RWKV_API rwkv_model *rwkv_load(const char *path, const rwkv_options *options, rwkv_error *error)
{
    rwkv_result result = RWKV_ERR_UNSUPPORTED;
    uint64_t    size = 0;
    rwkv_model *m;
    rwkv__clear(error);
    if (!path) {
        rwkv__fail(error, RWKV_ERR_ARGUMENT, 0, "path is NULL");
        return NULL;
    }
    m = rwkv__model_new(options, error);
    if (!m)
        return NULL;
#ifdef RWKV__MMAP
    if (!options || !(options->flags & RWKV_FLAG_NO_MMAP))
        result = rwkv__map(m, path, &size, error);
#endif
    if (result == RWKV_ERR_UNSUPPORTED)
        result = rwkv__read(m, path, &size, error);
    if (result == RWKV_OK)
        result = rwkv__load_data(m, size, error);
    if (result == RWKV_OK)
        result = rwkv__check_end(m, path, size, error);
#if defined(RWKV__MMAP) && defined(RWKV__BIG_ENDIAN)
    rwkv__unmap(m); /* the copy is what counts                                    */
#endif
    if (result == RWKV_OK)
        return m;
    rwkv_free(m);
    return NULL;
}
#endif /* RWKV_NO_STDIO */

RWKV_API void rwkv_free(rwkv_model *model)
{
    rwkv_allocator allocator;
    if (!model)
        return;
#ifdef RWKV__MMAP
    rwkv__unmap(model);
#endif
    allocator = model->allocator;
    rwkv__release(&allocator, model->copy);
    rwkv__release(&allocator, model);
}

RWKV_API rwkv_info rwkv_model_info(const rwkv_model *model)
{
    rwkv_info info;
    memset(&info, 0, sizeof info);
    if (!model)
        return info;
    info.version = (int)model->file.version;
    info.n_vocab = (int)model->file.n_vocab;
    info.n_embd = (int)model->file.n_embd;
    info.n_att = (int)model->file.n_att;
    info.n_ffn = (int)model->file.n_ffn;
    info.n_layer = (int)model->file.n_layer;
    info.type = (rwkv_type)model->file.type;
    info.model_bytes = (size_t)model->file.bytes;
    info.state_bytes = (size_t)rwkv__state_size(model);
    info.save_bytes = rwkv__save_size(model);
    info.isa = model->kernels.isa;
    info.tokenizer = (rwkv_tokenizer)model->file.tokenizer;
    return info;
}

/* ============================================================================
 * 10. MARK: layers                                                   >>layers
 *
 * A pass is T rows, each a token and the state it is read into, that go
 * through the model together; rows of one state stand next to each other, in
 * order. Here is what both kinds of layers do with the rows of a pass.
 * ========================================================================== */

typedef struct rwkv__pass {
    const rwkv_model   *m;
    size_t              T;
    rwkv_state *const  *states; /* of each row; NULL: all of one state              */
    rwkv_state         *state;
    float *x;                   /* (T, D)  the residual stream                      */
    float *xx;                  /* (T, D)  x after a layer norm                     */
    float *xr, *xk, *xv;        /* (T, D)  mixed with the row before                */
    float *r, *k, *v;           /* (T, A); in the channel mix k is (T, F)           */
    float *o;                   /* (T, D)  what a layer adds                        */
    /* told of every product before it is made; or NULL                           */
    void (*watch)(void *watcher, const rwkv__matmul *product);
    void  *watcher;
} rwkv__pass;

static rwkv_state *rwkv__row_state(const rwkv__pass *pass, size_t t)
{
    return pass->states ? pass->states[t] : pass->state;
}

static int rwkv__is_last_of_state(const rwkv__pass *pass, size_t t)
{
    return t + 1 == pass->T || rwkv__row_state(pass, t) != rwkv__row_state(pass, t + 1);
}

static size_t rwkv__part_size(const rwkv_model *m, int part)
{
    return part == RWKV_PART_ATT_X || part == RWKV_PART_FFN_X ? rwkv__D(m) : rwkv__A(m);
}

static float *rwkv__part(const rwkv_state *state, int part, int layer)
{
    const size_t D16 = rwkv__round16(rwkv__D(state->model));
    const size_t A16 = rwkv__round16(rwkv__A(state->model));
    float       *p = state->numbers + (size_t)layer * (2 * D16 + 3 * A16);
    RWKV_ASSERT(layer >= 0 && layer < rwkv__L(state->model));
    if (part == RWKV_PART_ATT_X)
        return p;
    return p + D16 + (size_t)(part - RWKV_PART_ATT_A) * A16;
}

/* y (n) = columns c to c + n of the D of an embedding's row of 8-bit codes.    */
static void rwkv__widen_codes(float *y, const unsigned char *row, size_t c, size_t n, size_t D)
{
    const size_t blocks = rwkv__code_blocks(D);
    size_t       i;
    for (i = 0; i < n; i++) {
        const unsigned char *scale =
            row + blocks * RWKV__CODE_BLOCK + (c + i) / RWKV__CODE_BLOCK * 2;
        y[i] = rwkv__from_f16((uint16_t)(scale[0] | scale[1] << 8)) *
               (float)(signed char)row[c + i];
    }
}

/* x = the embedding of each row's token, after ln0.                          */
static void rwkv__embed(const rwkv__pass *pass, const int *tokens)
{
    const rwkv_model *m = pass->m;
    const size_t      D = rwkv__D(m), T = pass->T;
    const size_t      bytes = (size_t)rwkv__places_of(&m->file, RWKV__EMB).row;
    const size_t      element = rwkv__element((rwkv__storage)m->file.type);
    size_t            t, c;
    for (t = 0; t < T; t++) {
        const unsigned char *row = rwkv__weights(m, RWKV__EMB, 0) + (size_t)tokens[t] * bytes;
        float               *x = pass->x + rwkv__at(T, t, 0);
        for (c = 0; c < D; c += RWKV__BLOCK)
            if (m->file.type <= RWKV_TYPE_BF16)
                m->kernels.widen[m->file.type](pass->x + rwkv__at(T, t, c), row + c * element,
                                               rwkv__min(RWKV__BLOCK, D - c));
            else
                rwkv__widen_codes(pass->x + rwkv__at(T, t, c), row, c,
                                  rwkv__min(RWKV__BLOCK, D - c), D);
        for (c = D; c < rwkv__round16(D); c++)
            pass->x[rwkv__at(T, t, c & ~(size_t)15) + c % 16] = 0;
        m->kernels.norm(x, T * RWKV__BLOCK, x, T * RWKV__BLOCK, rwkv__vector(m, RWKV__LN0_W, 0),
                        rwkv__vector(m, RWKV__LN0_B, 0), D, m->file.norm_eps);
    }
}

/* One step of a layer on all rows, to be split over threads.                 */
typedef struct rwkv__step {
    const rwkv__pass *pass;
    int               layer;
    int               id;   /* of a norm or mix: the first of the tensors it uses   */
    int               part; /* of a mix: where the row before the first one is      */
    float *const     *y;    /* of a mix: the n_y results                            */
    int               n_y;
} rwkv__step;

static rwkv__step rwkv__step_of(const rwkv__pass *pass, int layer)
{
    rwkv__step step;
    memset(&step, 0, sizeof step);
    step.pass = pass;
    step.layer = layer;
    return step;
}

/* n units of work on T rows of so many columns.                              */
static void rwkv__run_step(const rwkv__step *step, rwkv__work work, size_t n, size_t grain,
                           size_t columns)
{
    rwkv__split(&rwkv__row_state(step->pass, 0)->team, work, step, n, grain,
                16.0 * (double)step->pass->T * (double)columns);
}

static void rwkv__norm_rows(const void *context, size_t begin, size_t end, int part)
{
    const rwkv__step *step = (const rwkv__step *)context;
    const rwkv__pass *pass = step->pass;
    const rwkv_model *m = pass->m;
    const size_t      T = pass->T;
    size_t            t;
    for (t = begin; t < end; t++)
        m->kernels.norm(pass->xx + rwkv__at(T, t, 0), T * RWKV__BLOCK, pass->x + rwkv__at(T, t, 0),
                        T * RWKV__BLOCK, rwkv__vector(m, step->id, step->layer),
                        rwkv__vector(m, step->id + 1, step->layer), rwkv__D(m), m->file.norm_eps);
    (void)part;
}

/* xx = layer norm of x, with the weight `id` and the bias that follows it.   */
static void rwkv__norm(const rwkv__pass *pass, int id, int layer)
{
    rwkv__step step = rwkv__step_of(pass, layer);
    step.id = id;
    rwkv__run_step(&step, rwkv__norm_rows, pass->T, 1, rwkv__D(pass->m));
}

static void rwkv__mix_rows(const void *context, size_t begin, size_t end, int part)
{
    const rwkv__step *step = (const rwkv__step *)context;
    const rwkv__pass *pass = step->pass;
    const size_t      T = pass->T, D16 = rwkv__round16(rwkv__D(pass->m));
    size_t            t, c;
    int               i;
    for (t = begin; t < end; t++) {
        const int    first = t == 0 || rwkv__is_last_of_state(pass, t - 1);
        const float *stored = rwkv__part(rwkv__row_state(pass, t), step->part, step->layer);
        for (i = 0; i < step->n_y; i++)
            for (c = 0; c < D16; c += RWKV__BLOCK)
                pass->m->kernels.mix(step->y[i] + rwkv__at(T, t, c), pass->xx + rwkv__at(T, t, c),
                                     first ? stored + c : pass->xx + rwkv__at(T, t - 1, c),
                                     rwkv__vector(pass->m, step->id + i, step->layer) + c,
                                     rwkv__min(RWKV__BLOCK, D16 - c));
    }
    (void)part;
}

/* y[i] = mu_i xx + (1 - mu_i) xx of the row before, which for the first row of
 * a state is in the state (`part`). The mu are n tensors from `id` on.       */
static void rwkv__mix(const rwkv__pass *pass, int id, int part, int layer, float *const *y, int n)
{
    rwkv__step step = rwkv__step_of(pass, layer);
    step.id = id;
    step.part = part;
    step.y = y;
    step.n_y = n;
    rwkv__run_step(&step, rwkv__mix_rows, pass->T, 1, rwkv__D(pass->m));
}

/* Copy one row of an activation matrix of T rows to a plain vector.          */
static void rwkv__copy_row(float *y, const float *x, size_t T, size_t t, size_t n)
{
    size_t c;
    for (c = 0; c < n; c += RWKV__BLOCK)
        memcpy(y + c, x + rwkv__at(T, t, c), rwkv__min(RWKV__BLOCK, n - c) * sizeof *y);
}

/* Keep the last xx of every state for its next pass.                         */
static void rwkv__keep(const rwkv__pass *pass, int part, int layer)
{
    size_t t;
    for (t = 0; t < pass->T; t++)
        if (rwkv__is_last_of_state(pass, t))
            rwkv__copy_row(rwkv__part(rwkv__row_state(pass, t), part, layer), pass->xx, pass->T, t,
                           rwkv__round16(rwkv__D(pass->m)));
}

/* The product y = W x of a layer's matrix, all rows of the pass.             */
static rwkv__matmul rwkv__product(const rwkv__pass *pass, int id, int layer, float *x, float *y)
{
    const rwkv__tensor *tensor = &rwkv__tensors[id];
    const rwkv__places  places = rwkv__places_of(&pass->m->file, id);
    rwkv__matmul        product;
    product.exponent = rwkv__weights(pass->m, id, layer);
    product.scale = product.exponent + (size_t)places.scale;
    product.w = product.exponent + (size_t)places.data;
    product.storage = rwkv__storage_of(&pass->m->file, id);
    product.by_columns = tensor->kind == 'c';
    product.n_in = (size_t)rwkv__dimension(&pass->m->file, tensor->columns);
    product.n_out = rwkv__round16((size_t)rwkv__dimension(&pass->m->file, tensor->rows));
    product.x = x;
    product.packed = 0;
    product.sums = pass->xr; /* in the channel mix no longer needed                 */
    product.y = y;
    product.rows = NULL;
    product.y_row = RWKV__BLOCK;
    product.y_block = pass->T * RWKV__BLOCK;
    return product;
}

/* Leave out the first n panels.                                              */
static void rwkv__skip_panels(rwkv__matmul *product, size_t n)
{
    const size_t blocks = rwkv__code_blocks(product->n_in);
    if (product->storage <= RWKV__BF16) {
        product->w += n * 16 * product->n_in * rwkv__element(product->storage);
    } else {
        product->w += n * blocks * RWKV__CODE_BYTES((size_t)product->storage);
        product->scale += n * blocks * 16;
        product->exponent += n;
    }
}

/* What is done to a product, by whoever has computed a part of it.            */
typedef enum rwkv__op {
    RWKV__OP_NONE,
    RWKV__OP_ADD,         /* x += o                                              */
    RWKV__OP_RELU_SQUARE, /* k = max(k, 0)^2                                     */
    RWKV__OP_GATE         /* x += sigmoid(r) o, r being where xv was             */
} rwkv__op;

/* Columns [begin, end) of all rows.                                          */
static void rwkv__op_columns(const rwkv__pass *pass, rwkv__op op, size_t begin, size_t end)
{
    const rwkv__kernels *kernels = &pass->m->kernels;
    size_t               t, c, n;
    for (c = begin; c < end && op != RWKV__OP_NONE; c += n) {
        n = rwkv__min(end - c, RWKV__BLOCK - c % RWKV__BLOCK);
        for (t = 0; t < pass->T; t++) {
            const size_t at = rwkv__at(pass->T, t, c);
            if (op == RWKV__OP_ADD)
                kernels->add(pass->x + at, pass->o + at, n);
            else if (op == RWKV__OP_RELU_SQUARE)
                kernels->relu_square(pass->k + at, n);
            else
                kernels->gate(pass->x + at, pass->xv + at, pass->o + at, n);
        }
    }
}

/* Products that need nothing of each other are carried out together, as if
 * their matrices stood one above the other.                                  */
typedef struct rwkv__products {
    const rwkv__pass   *pass;
    const rwkv__matmul *product;
    int                 n;
    rwkv__op            op; /* on the last of them                                */
} rwkv__products;

static void rwkv__multiply_panels(const void *context, size_t begin, size_t end, int part)
{
    const rwkv__products *all = (const rwkv__products *)context;
    const rwkv_model     *m = all->pass->m;
    float *const          wide = rwkv__row_state(all->pass, 0)->wide +
                        (size_t)part * (size_t)rwkv__wide_size(m);
    size_t                at = 0;
    int                   i;
    for (i = 0; i < all->n; i++) {
        const size_t panels = rwkv__panels(all->product[i].n_out);
        const size_t first = rwkv__min(rwkv__max(begin, at) - at, panels);
        const size_t last = rwkv__min(rwkv__max(end, at) - at, panels);
        if (first < last) {
            m->kernels.matmul[all->product[i].storage](&all->product[i], first, last, all->pass->T,
                                                       wide);
            if (i == all->n - 1)
                rwkv__op_columns(all->pass, all->op, 16 * first, 16 * last);
        }
        at += panels;
    }
}

/* The inputs of products with codes.                                         */
static void rwkv__pack_rows(const void *context, size_t begin, size_t end, int part)
{
    const rwkv__products *all = (const rwkv__products *)context;
    const size_t          T = all->pass->T;
    size_t                t, c;
    int                   i;
    for (i = 0; i < all->n; i++) {
        const size_t n_in = all->product[i].n_in, n = rwkv__round16(n_in);
        float *const x = all->product[i].x;
        for (t = begin; t < end; t++) {
            for (c = n_in; c < n; c++) /* not 0 if a file has codes for rows there are not */
                x[rwkv__at(T, t, n - 16) + c % 16] = 0;
            for (c = 0; c < n; c += RWKV__BLOCK)
                all->pass->m->kernels.pack(x + rwkv__at(T, t, c), rwkv__min(RWKV__BLOCK, n - c));
        }
    }
    (void)part;
}

static void rwkv__multiply(const rwkv__pass *pass, const rwkv__matmul *product, int n, rwkv__op op)
{
    const rwkv__team *team = &rwkv__row_state(pass, 0)->team;
    rwkv__products    all;
    size_t            panels = 0, inputs = 0;
    double            multiply_adds = 0;
    /* the most panels that a kernel takes together                             */
    const size_t      grain = product->by_columns             ? 8
                              : product->storage > RWKV__BF16 ? 1
                              : pass->T > 1                   ? 2
                                                              : 4;
    all.pass = pass;
    all.product = product;
    all.n = n;
    all.op = op;
    for (; n > 0; n--, product++) {
        panels += rwkv__panels(product->n_out);
        inputs += product->n_in;
        multiply_adds += (double)product->n_out * (double)product->n_in * (double)pass->T;
        if (pass->watch)
            pass->watch(pass->watcher, product);
    }
    if (all.product->storage > RWKV__BF16 && !all.product->packed)
        rwkv__split(team, rwkv__pack_rows, &all, pass->T, 1,
                    16.0 * (double)pass->T * (double)inputs);
    rwkv__split(team, rwkv__multiply_panels, &all, panels, grain, multiply_adds);
}

/* ============================================================================
 * 11. MARK: time_mix                                               >>time_mix
 *
 * The five equations of the time mix, as the paper numbers them:
 *
 *   r_t = W_r (mu_r x_t + (1 - mu_r) x_{t-1})                           (11)
 *   k_t = W_k (mu_k x_t + (1 - mu_k) x_{t-1})                           (12)
 *   v_t = W_v (mu_v x_t + (1 - mu_v) x_{t-1})                           (13)
 *            sum_{i<t} exp(-(t-1-i) w + k_i) v_i + exp(u + k_t) v_t
 *   wkv_t = -------------------------------------------------------     (16)
 *              sum_{i<t} exp(-(t-1-i) w + k_i) + exp(u + k_t)
 *   o_t = W_o (sigmoid(r_t) wkv_t)                                      (17)
 *
 * x_t is the layer's input after ln1; o_t is added to the residual stream. The
 * w of the file and of the code is the paper's -w.
 * ========================================================================== */
static void rwkv__wkv_channels(const void *context, size_t begin, size_t end, int part)
{
    const rwkv__step *step = (const rwkv__step *)context;
    const rwkv__pass *pass = step->pass;
    const rwkv_model *m = pass->m;
    const int         l = step->layer;
    size_t            t, c, n;
    for (c = begin; c < end; c += n) {
        n = rwkv__min(end - c, RWKV__BLOCK - c % RWKV__BLOCK);
        for (t = 0; t < pass->T; t++) {
            const rwkv_state *state = rwkv__row_state(pass, t);
            const size_t      at = rwkv__at(pass->T, t, c);
            m->kernels.wkv(pass->r + at, pass->k + at, pass->v + at,
                           rwkv__vector(m, RWKV__ATT_FIRST, l) + c,
                           rwkv__vector(m, RWKV__ATT_DECAY, l) + c,
                           rwkv__part(state, RWKV_PART_ATT_A, l) + c,
                           rwkv__part(state, RWKV_PART_ATT_B, l) + c,
                           rwkv__part(state, RWKV_PART_ATT_P, l) + c, n);
        }
    }
    (void)part;
}

RWKV__APART void rwkv__time_mix(const rwkv__pass *pass, int l)
{
    float *const     mixed[3] = {pass->xr, pass->xk, pass->xv};
    const rwkv__step step = rwkv__step_of(pass, l);
    rwkv__matmul     rkv[3], output;

    rwkv__norm(pass, RWKV__LN1_W, l);
    rwkv__mix(pass, RWKV__ATT_MIX_R, RWKV_PART_ATT_X, l, mixed, 3);
    rwkv__keep(pass, RWKV_PART_ATT_X, l);

    rkv[0] = rwkv__product(pass, RWKV__ATT_R, l, pass->xr, pass->r); /* (11)       */
    rkv[1] = rwkv__product(pass, RWKV__ATT_K, l, pass->xk, pass->k); /* (12)       */
    rkv[2] = rwkv__product(pass, RWKV__ATT_V, l, pass->xv, pass->v); /* (13)       */
    rwkv__multiply(pass, rkv, 3, RWKV__OP_NONE);

    /* (16), and r = sigmoid(r) wkv of (17)                                     */
    rwkv__run_step(&step, rwkv__wkv_channels, rwkv__round16(rwkv__A(pass->m)), 16,
                   rwkv__A(pass->m));

    output = rwkv__product(pass, RWKV__ATT_OUTPUT, l, pass->r, pass->o); /* (17)   */
    rwkv__multiply(pass, &output, 1, RWKV__OP_ADD);
}

/* ============================================================================
 * 12. MARK: channel_mix                                         >>channel_mix
 *
 *   r'_t = W'_r (mu'_r x_t + (1 - mu'_r) x_{t-1})                       (14)
 *   k'_t = W'_k (mu'_k x_t + (1 - mu'_k) x_{t-1})                       (15)
 *   o'_t = sigmoid(r'_t) (W'_v max(k'_t, 0)^2)                          (18)
 *
 * x_t is the layer's input after ln2; o'_t is added to the residual stream.
 * ========================================================================== */
RWKV__APART void rwkv__channel_mix(const rwkv__pass *pass, int l)
{
    float *const r = pass->xv; /* not used by this layer, and of the right size  */
    float *const mixed[2] = {pass->xr, pass->xk};
    rwkv__matmul rk[2], value;

    rwkv__norm(pass, RWKV__LN2_W, l);
    rwkv__mix(pass, RWKV__FFN_MIX_R, RWKV_PART_FFN_X, l, mixed, 2);
    rwkv__keep(pass, RWKV_PART_FFN_X, l);

    rk[0] = rwkv__product(pass, RWKV__FFN_R, l, pass->xr, r);       /* (14)        */
    rk[1] = rwkv__product(pass, RWKV__FFN_K, l, pass->xk, pass->k); /* (15)        */
    rwkv__multiply(pass, rk, 2, RWKV__OP_RELU_SQUARE);

    value = rwkv__product(pass, RWKV__FFN_V, l, pass->k, pass->o); /* (18)         */
    rwkv__multiply(pass, &value, 1, RWKV__OP_GATE);
}

/* ============================================================================
 * 13. MARK: forward                                                 >>forward
 *
 * The one function that runs a layer, and the ways to call it: one row, layer by
 * layer; rows of one state, the same with all logits, or with the probability of
 * each token; rows of different states.
 * ========================================================================== */

/* Lay out the activations in the scratch of the first row's state.           */
static void rwkv__lay_out_pass(rwkv__pass *pass)
{
    const uint64_t T = pass->T, D = rwkv__D(pass->m), A = rwkv__A(pass->m);
    RWKV_ASSERT(T >= 1 && T <= (uint64_t)pass->m->chunk);
    pass->x = rwkv__row_state(pass, 0)->scratch;
    pass->xx = pass->x + rwkv__activation_size(T, D);
    pass->xr = pass->xx + rwkv__activation_size(T, D);
    pass->xk = pass->xr + rwkv__activation_size(T, D);
    pass->xv = pass->xk + rwkv__activation_size(T, D);
    pass->k = pass->xv + rwkv__activation_size(T, D);
    pass->v = pass->k + rwkv__activation_size(T, A);
    pass->r = pass->v + rwkv__activation_size(T, A);
    pass->o = pass->xk; /* free again when a layer's last product is made         */
}

static void rwkv__layer(const rwkv__pass *pass, int layer)
{
    rwkv__time_mix(pass, layer);
    rwkv__channel_mix(pass, layer);
}

/* Read T tokens, each into its row's state; pass->x is then what the last
 * layer leaves.                                                              */
static void rwkv__forward(rwkv__pass *pass, const int *tokens)
{
    int l;
    rwkv__lay_out_pass(pass);
    rwkv__embed(pass, tokens);
    for (l = 0; l < rwkv__L(pass->m); l++)
        rwkv__layer(pass, l);
}

/* Panels [begin, end) of the head, of all rows: xx is their vectors after ln_out (with
 * codes, it is packed by the first of these calls), and where the logits of row i
 * from panel `begin` on go is in rows[i] of the first row's state.           */
static void rwkv__head(const rwkv__pass *pass, size_t begin, size_t end)
{
    rwkv__matmul head = rwkv__product(pass, RWKV__HEAD, 0, pass->xx, NULL);
    head.n_out = rwkv__min(16 * end, rwkv__V(pass->m)) - 16 * begin;
    head.rows = rwkv__row_state(pass, 0)->rows;
    head.y_block = RWKV__BLOCK;
    head.packed = begin > 0;
    rwkv__skip_panels(&head, begin);
    rwkv__multiply(pass, &head, 1, RWKV__OP_NONE);
}

/* xx = ln_out of the rows from `first` on; the last one of each state is kept as its
 * hidden vector.                                                             */
static void rwkv__norm_out(const rwkv__pass *pass, size_t first)
{
    const rwkv_model *m = pass->m;
    const size_t      T = pass->T, n = T - first, D = rwkv__D(m);
    size_t            i;
    for (i = 0; i < n; i++) {
        m->kernels.norm(pass->xx + rwkv__at(n, i, 0), n * RWKV__BLOCK,
                        pass->x + rwkv__at(T, first + i, 0), T * RWKV__BLOCK,
                        rwkv__vector(m, RWKV__LN_OUT_W, 0), rwkv__vector(m, RWKV__LN_OUT_B, 0), D,
                        m->file.norm_eps);
        if (rwkv__is_last_of_state(pass, first + i))
            rwkv__copy_row(rwkv__row_state(pass, first + i)->hidden, pass->xx, n, i,
                           rwkv__round16(D));
    }
}

/* The head, for the rows from `first` on. The logits of row first + i go to
 * logits + i * V, or, if that is NULL, to the row's state; the hidden vector
 * and the logits of each state's last row are kept in any case.              */
RWKV__APART void rwkv__read_out(const rwkv__pass *pass, size_t first, float *logits)
{
    const size_t T = pass->T, n = T - first, V = rwkv__V(pass->m);
    float      **rows = rwkv__row_state(pass, 0)->rows;
    rwkv__pass   rest = *pass;
    size_t       i;

    rwkv__norm_out(pass, first);
    for (i = 0; i < n; i++)
        rows[i] = logits ? logits + i * V : rwkv__row_state(pass, first + i)->logits;
    rest.T = n;
    rwkv__head(&rest, 0, rwkv__panels(V));

    for (i = 0; i < n; i++) {
        rwkv_state *state = rwkv__row_state(pass, first + i);
        if (!rwkv__is_last_of_state(pass, first + i))
            continue;
        if (logits)
            memcpy(state->logits, rows[i], V * sizeof *logits);
        state->has_logits = 1;
    }
}

/* ---- probabilities -------------------------------------------------------- */

/* What is known of one softmax after some blocks of its logits.              */
typedef struct rwkv__softmax {
    double sum;   /* of exp(logit - max)                                        */
    float  max;   /* so far                                                     */
    float  logit; /* of the token in question                                   */
} rwkv__softmax;

static rwkv__softmax rwkv__softmax_begin(void)
{
    rwkv__softmax s;
    s.sum = 0;
    s.max = -FLT_MAX;
    s.logit = 0;
    return s;
}

/* Take in the next n <= 256 logits. They are overwritten, and so is the padding
 * after them.                                                                */
static void rwkv__softmax_block(const rwkv__kernels *kernels, rwkv__softmax *s, float *x, size_t n)
{
    float max;
    for (; n % 16; n++)
        x[n] = -HUGE_VALF;
    max = kernels->largest(x, n);
    if (max > s->max) { /* divided, because a product could be fused with the sum */
        s->sum /= 1.0 / (double)rwkv__exp_scalar(s->max - max);
        s->max = max;
    }
    s->sum += (double)kernels->softmax(x, s->max, 1.0f, n);
}

/* ln(x) for x >= 1 (for 0: finite). 2 artanh((x - 1) / (x + 1)), as a
 * continued fraction: with divisions alone nothing can be fused, so the bits
 * are the same everywhere; to about 1e-12.                                   */
static double rwkv__log(double x)
{
    double ln = 0, z, d = 17;
    int    i;
    for (; x > 1.5; x *= 0.5)
        ln += 0.693147180559945309;
    z = (x - 1) / (x + 1);
    for (i = 8; i > 0; i--)
        d = 2 * i - 1 - (i * i) * (z * z) / d;
    return ln + 2 * z / d;
}

static float rwkv__softmax_log(const rwkv__softmax *s)
{
    return (float)((double)s->logit - (double)s->max - rwkv__log(s->sum));
}

RWKV_API float rwkv_logprob(rwkv_state *state, int token)
{
    rwkv__softmax s = rwkv__softmax_begin();
    size_t        V, n, c;
    if (!rwkv__ready(state) || token < 0 || (size_t)token >= rwkv__V(state->model))
        return rwkv__float(0x7fc00000u); /* NaN                                  */
    V = rwkv__V(state->model);
    for (c = 0; c < V; c += n) {
        n = rwkv__min(RWKV__BLOCK, V - c);
        memcpy(state->scratch, state->logits + c, n * sizeof(float));
        rwkv__softmax_block(&state->model->kernels, &s, state->scratch, n);
    }
    s.logit = state->logits[token];
    return rwkv__softmax_log(&s);
}

RWKV_API rwkv_result rwkv_softmax(const rwkv_model *model, const float *logits,
                                  float *probabilities)
{
    float *const p = probabilities;
    float        end[16], max, end_max, total; /* end: what is no whole 16, padded  */
    double       sum;
    size_t       V, whole, n, i;
    if (!model || !logits || !p)
        return RWKV_ERR_ARGUMENT;
    V = rwkv__V(model);
    whole = V / 16 * 16;
    if (p != logits)
        memcpy(p, logits, V * sizeof *p);
    for (i = 0; i < 16; i++)
        end[i] = whole + i < V ? p[whole + i] : -HUGE_VALF;
    max = model->kernels.largest(p, whole); /* of none: -infinity                  */
    end_max = model->kernels.largest(end, 16);
    max = end_max > max ? end_max : max;
    sum = (double)model->kernels.softmax(end, max, 1.0f, 16);
    for (i = 0; i < whole; i += n) {
        n = rwkv__min(RWKV__BLOCK, whole - i);
        sum += (double)model->kernels.softmax(p + i, max, 1.0f, n);
    }
    memcpy(p + whole, end, (V - whole) * sizeof *p);
    total = (float)sum;
    for (i = 0; i < V; i++)
        p[i] /= total;
    return RWKV_OK;
}

/* Columns [first, first + n) of the logits of every row of a pass.           */
typedef struct rwkv__slice {
    const rwkv__pass *pass;
    float            *y;
    size_t            first, n;
    rwkv__softmax    *softmax; /* of each row                                    */
    const int        *targets; /* what came after each row, for n_targets of them */
    size_t            n_targets;
} rwkv__slice;

static void rwkv__slice_rows(const void *context, size_t begin, size_t end, int part)
{
    const rwkv__slice *slice = (const rwkv__slice *)context;
    const size_t       T = slice->pass->T;
    size_t             t, c, n;
    for (t = begin; t < end; t++)
        for (c = 0; c < slice->n; c += n) {
            float       *y = slice->y + rwkv__at(T, t, c);
            const size_t at = slice->first + c;
            n = rwkv__min(RWKV__BLOCK, slice->n - c);
            if (t < slice->n_targets && (size_t)slice->targets[t] - at < n)
                slice->softmax[t].logit = y[(size_t)slice->targets[t] - at];
            if (t == T - 1)
                memcpy(slice->pass->state->logits + at, y, n * sizeof *y);
            rwkv__softmax_block(&slice->pass->m->kernels, &slice->softmax[t], y, n);
        }
    (void)part;
}

/* The head for all rows of a pass of one state, in as large slices as there is
 * room for where the layers worked: the logarithms of the probabilities of the
 * targets, and the logits of the last row.                                   */
RWKV__APART void rwkv__read_score(rwkv__pass *pass, const int *targets, size_t n_targets,
                                  float *logprobs)
{
    const rwkv_model *m = pass->m;
    rwkv_state       *state = pass->state;
    const size_t      T = pass->T, V = rwkv__V(m), D = rwkv__D(m);
    const size_t      room = (size_t)rwkv__scratch(m) - (size_t)(pass->xr - state->scratch);
    const size_t      most = rwkv__max(room / (T * RWKV__BLOCK), 1) * RWKV__BLOCK;
    rwkv__matmul      head;
    rwkv__slice       slice;
    size_t            t;

    rwkv__norm(pass, RWKV__LN_OUT_W, 0);
    rwkv__copy_row(state->hidden, pass->xx, T, T - 1, rwkv__round16(D));
    state->has_logits = 1;
    head = rwkv__product(pass, RWKV__HEAD, 0, pass->xx, pass->xr);

    slice.pass = pass;
    slice.y = pass->xr;
    slice.softmax = (rwkv__softmax *)(void *)pass->x; /* which is not needed any more  */
    slice.targets = targets;
    slice.n_targets = n_targets;
    for (t = 0; t < T; t++)
        slice.softmax[t] = rwkv__softmax_begin();
    for (slice.first = 0; slice.first < V; slice.first += slice.n) {
        slice.n = head.n_out = rwkv__min(most, V - slice.first);
        rwkv__multiply(pass, &head, 1, RWKV__OP_NONE);
        rwkv__split(&state->team, rwkv__slice_rows, &slice, T, 1,
                    16.0 * (double)T * (double)slice.n);
        rwkv__skip_panels(&head, slice.n / 16);
        head.packed = 1;
    }
    for (t = 0; t < n_targets; t++)
        logprobs[t] = rwkv__softmax_log(&slice.softmax[t]);
}

/* ---- one token, layer by layer -------------------------------------------- */

static int rwkv__tokens_valid(const rwkv_model *m, const int *tokens, int n)
{
    int i;
    for (i = 0; i < n; i++)
        if (tokens[i] < 0 || (size_t)tokens[i] >= rwkv__V(m))
            return 0;
    return 1;
}

/* One row of a state, as the steps before have left it.                      */
static rwkv__pass rwkv__one_row(rwkv_state *state)
{
    rwkv__pass pass;
    memset(&pass, 0, sizeof pass);
    pass.m = state->model;
    pass.state = state;
    pass.T = 1;
    rwkv__lay_out_pass(&pass);
    return pass;
}

/* Panels [begin, end) of the head for it.                                    */
static void rwkv__head_of_one(const rwkv__pass *pass, size_t begin, size_t end)
{
    pass->state->rows[0] = pass->state->logits + 16 * begin;
    rwkv__head(pass, begin, end);
}

RWKV_API rwkv_result rwkv_eval_begin(int token, rwkv_state *state)
{
    rwkv__pass pass;
    if (!rwkv__ready(state) || !rwkv__tokens_valid(state->model, &token, 1))
        return RWKV_ERR_ARGUMENT;
    pass = rwkv__one_row(state);
    rwkv__embed(&pass, &token);
    state->step = 1;
    return RWKV_OK;
}

RWKV_API int rwkv_eval_step(rwkv_state *state)
{
    size_t layers, panels, most, steps, step;
    if (!state || state->step == 0)
        return 0;
    layers = state->model->file.n_layer;
    panels = rwkv__panels(rwkv__V(state->model));
    /* panels of the head that have as many bytes as a layer                    */
    most = (size_t)(state->model->file.layer_bytes /
                    (rwkv__places_of(&state->model->file, RWKV__HEAD).bytes / panels));
    most = rwkv__max(most, 1);
    steps = layers + (panels + most - 1) / most;
    step = (size_t)state->step - 1;
    if (step < steps) {
        const rwkv__pass pass = rwkv__one_row(state);
        if (step < layers) {
            rwkv__layer(&pass, (int)step);
        } else {
            const size_t begin = (step - layers) * most;
            if (begin == 0)
                rwkv__norm_out(&pass, 0);
            rwkv__head_of_one(&pass, begin, rwkv__min(begin + most, panels));
        }
        state->step++;
        step++;
    }
    return (int)(steps - step);
}

RWKV_API const float *rwkv_eval_end(rwkv_state *state)
{
    if (!state || state->step == 0)
        return NULL;
    while (rwkv_eval_step(state) > 0)
        ;
    state->step = 0;
    state->has_logits = 1;
    return state->logits;
}

RWKV_API const float *rwkv_eval(int token, rwkv_state *state)
{
    return rwkv_eval_begin(token, state) == RWKV_OK ? rwkv_eval_end(state) : NULL;
}

/* ---- many rows ------------------------------------------------------------ */

/* How many of n rows to take next: as few passes as the chunk allows, about
 * equal, and of whole tiles.                                                 */
static size_t rwkv__pass_rows(const rwkv_model *m, size_t n)
{
    const size_t chunk = (size_t)m->chunk, tile = m->kernels.rows;
    const size_t passes = (n + chunk - 1) / chunk;
    const size_t rows = ((n + passes - 1) / passes + tile - 1) / tile * tile;
    return rwkv__min(rwkv__min(rows, chunk), n);
}

/* n tokens into one state, chunk by chunk; all logits, or the last ones and
 * perhaps the logprobs.                                                      */
static rwkv_result rwkv__eval_rows(const int *tokens, int n, rwkv_state *state, float *logits,
                                   float *logprobs)
{
    rwkv__pass pass;
    if (!rwkv__ready(state) || n < 0 || (n > 0 && !tokens) ||
        !rwkv__tokens_valid(state->model, tokens, n))
        return RWKV_ERR_ARGUMENT;
    memset(&pass, 0, sizeof pass);
    pass.m = state->model;
    pass.state = state;
    if (logprobs && n > 0)
        *logprobs++ = rwkv_logprob(state, *tokens);
    for (; n > 0; n -= (int)pass.T, tokens += pass.T) {
        pass.T = rwkv__pass_rows(state->model, (size_t)n);
        rwkv__forward(&pass, tokens);
        if (logits) {
            rwkv__read_out(&pass, 0, logits);
            logits += pass.T * rwkv__V(pass.m);
        } else if (logprobs) {
            rwkv__read_score(&pass, tokens + 1, rwkv__min(pass.T, (size_t)n - 1), logprobs);
            logprobs += pass.T;
        } else if (pass.T == (size_t)n) {
            rwkv__read_out(&pass, pass.T - 1, NULL);
        }
    }
    return RWKV_OK;
}

RWKV_API const float *rwkv_eval_sequence(const int *tokens, int n, rwkv_state *state)
{
    return rwkv__eval_rows(tokens, n, state, NULL, NULL) == RWKV_OK ? state->logits : NULL;
}

RWKV_API rwkv_result rwkv_eval_all(const int *tokens, int n, rwkv_state *state, float *logits)
{
    if (!logits && n > 0)
        return RWKV_ERR_ARGUMENT;
    return rwkv__eval_rows(tokens, n, state, logits, NULL);
}

RWKV_API rwkv_result rwkv_score(const int *tokens, int n, rwkv_state *state, float *logprobs)
{
    if (!logprobs && n > 0)
        return RWKV_ERR_ARGUMENT;
    return rwkv__eval_rows(tokens, n, state, NULL, logprobs);
}

RWKV_API rwkv_result rwkv_eval_batch(const int *tokens, rwkv_state *const *states, int n)
{
    rwkv__pass pass;
    int        i;
    if (n < 0 || (n > 0 && (!tokens || !states)))
        return RWKV_ERR_ARGUMENT;
    for (i = 0; i < n; i++) {
        if (!rwkv__ready(states[i]))
            return RWKV_ERR_ARGUMENT;
        if (states[i]->model != states[0]->model)
            return RWKV_ERR_MISMATCH;
        states[i]->slot = i;
    }
    for (i = 0; i < n; i++)
        if (states[i]->slot != i) /* given twice                                 */
            return RWKV_ERR_ARGUMENT;
    if (n > 0 && !rwkv__tokens_valid(states[0]->model, tokens, n))
        return RWKV_ERR_ARGUMENT;
    memset(&pass, 0, sizeof pass);
    for (i = 0; i < n; i += (int)pass.T) {
        pass.m = states[0]->model;
        pass.states = states + i;
        pass.T = rwkv__pass_rows(pass.m, (size_t)(n - i));
        rwkv__forward(&pass, tokens + i);
        rwkv__read_out(&pass, 0, NULL);
    }
    return RWKV_OK;
}

/* ============================================================================
 * 14. MARK: state                                                     >>state
 *
 * Making, copying, saving and restoring states.
 * ========================================================================== */

RWKV_API void rwkv_state_reset(rwkv_state *state)
{
    int l;
    if (!state)
        return;
    memset(state->numbers, 0, (size_t)rwkv__carried(state->model) * sizeof(float));
    for (l = 0; l < rwkv__L(state->model); l++) {
        float *p = rwkv__part(state, RWKV_PART_ATT_P, l);
        size_t i;
        for (i = 0; i < rwkv__round16(rwkv__A(state->model)); i++)
            p[i] = -1e30f;
    }
    state->has_logits = 0;
    state->step = 0;
}

RWKV_API rwkv_state *rwkv_state_init(const rwkv_model *model, void *memory, size_t size)
{
    unsigned char *p = (unsigned char *)memory;
    rwkv_state    *state;
    if (!model || !memory || size < rwkv__state_size(model))
        return NULL;
    p += (64 - (uintptr_t)p % 64) % 64;
    state = (rwkv_state *)(void *)p;
    memset(state, 0, sizeof *state);
    state->model = model;
    state->numbers = (float *)(void *)(p + rwkv__state_head(model));
    state->logits = state->numbers + rwkv__carried(model) - rwkv__round16(rwkv__V(model));
    state->hidden = state->logits - rwkv__round16(rwkv__D(model));
    state->scratch = state->numbers + rwkv__carried(model);
    state->wide = state->scratch + rwkv__scratch(model);
    state->rows = (float **)(void *)(state->wide +
                                     (size_t)model->n_threads * (size_t)rwkv__wide_size(model));
    state->team.parallel = &model->parallel;
    state->team.n_threads = model->n_threads;
    state->team.queues = (uint32_t *)(void *)p + (sizeof(rwkv_state) + 63) / 64 * RWKV__QUEUE;
    rwkv_state_reset(state);
    return state;
}

RWKV_API rwkv_state *rwkv_state_new(const rwkv_model *model)
{
    void       *memory;
    rwkv_state *state;
    if (!model)
        return NULL;
    memory = rwkv__alloc(&model->allocator, (size_t)rwkv__state_size(model));
    state = rwkv_state_init(model, memory, (size_t)rwkv__state_size(model));
    if (state)
        state->owned = memory;
    return state;
}

RWKV_API void rwkv_state_copy(rwkv_state *dst, const rwkv_state *src)
{
    if (!dst || !rwkv__ready(src) || dst == src || dst->model != src->model)
        return;
    memcpy(dst->numbers, src->numbers, (size_t)rwkv__carried(src->model) * sizeof(float));
    dst->has_logits = src->has_logits;
    dst->step = 0;
}

RWKV_API rwkv_state *rwkv_state_clone(const rwkv_state *state)
{
    rwkv_state *clone = rwkv__ready(state) ? rwkv_state_new(state->model) : NULL;
    rwkv_state_copy(clone, state);
    return clone;
}

RWKV_API void rwkv_state_free(rwkv_state *state)
{
    if (state && state->owned)
        rwkv__release(&state->model->allocator, state->owned);
}

RWKV_API float *rwkv_state_view(rwkv_state *state, rwkv_part part, int layer, int *count)
{
    const int valid = rwkv__ready(state) && (unsigned)part <= RWKV_PART_FFN_X && layer >= 0 &&
                      layer < rwkv__L(state->model);
    if (count)
        *count = valid ? (int)rwkv__part_size(state->model, (int)part) : 0;
    return valid ? rwkv__part(state, (int)part, layer) : NULL;
}

RWKV_API const float *rwkv_logits(const rwkv_state *state)
{
    return rwkv__ready(state) ? state->logits : NULL;
}

RWKV_API const float *rwkv_hidden(const rwkv_state *state)
{
    return rwkv__ready(state) ? state->hidden : NULL;
}

/* A saved state: 64 bytes, then for each layer the five parts in the order of
 * rwkv_part, then the hidden vector, all little-endian floats without padding.
 *    0  magic        16  header and data checksum of the model file
 *    8  format: 1    24  bytes, of all of it
 *   12  1 if there   32  zero
 *       are logits   60  CRC-32 of the 60 bytes above xor that of what follows
 * Logits are not saved: the head makes the same ones again from the hidden
 * vector.                                                                    */
static void rwkv__save_header(unsigned char *h, const rwkv_model *m)
{
    static const unsigned char magic[8] = {'R', 'W', 'K', 'V', 0x0d, 0x0a, 0x1a, 'S'};
    memset(h, 0, RWKV__SAVE_HEADER);
    memcpy(h, magic, sizeof magic);
    rwkv__put32(h + 8, 1);
    rwkv__put32(h + 16, m->file.header_crc);
    rwkv__put32(h + 20, m->file.data_crc);
    rwkv__put32(h + 24, (uint32_t)rwkv__save_size(m));
    rwkv__put32(h + 28, (uint32_t)((uint64_t)rwkv__save_size(m) >> 32));
}

static unsigned char *rwkv__save_floats(unsigned char *out, const float *x, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++, out += 4)
        rwkv__put32(out, rwkv__bits(x[i]));
    return out;
}

static uint32_t rwkv__save_crc(const unsigned char *h, size_t size)
{
    return rwkv__crc32(0, h, size, RWKV__SAVE_HEADER, size, 1) ^ rwkv__crc32(0, h, size, 0, 60, 1);
}

/* x (n) = the floats from word `at` on.                                      */
static void rwkv__load_floats(const unsigned char *data, uint64_t size, uint64_t at, float *x,
                              size_t n)
{
    size_t i;
    for (i = 0; i < n; i++)
        x[i] = rwkv__float(rwkv__word_at(data, size, at + i));
}

RWKV_API size_t rwkv_state_save(const rwkv_state *state, void *out, size_t size)
{
    unsigned char *h = (unsigned char *)out, *p;
    size_t         needs;
    int            l, part;
    if (!rwkv__ready(state))
        return 0;
    needs = rwkv__save_size(state->model);
    if (!out || size < needs)
        return needs;
    rwkv__save_header(h, state->model);
    rwkv__put32(h + 12, (uint32_t)state->has_logits);
    p = h + RWKV__SAVE_HEADER;
    for (l = 0; l < rwkv__L(state->model); l++)
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X; part++)
            p = rwkv__save_floats(p, rwkv__part(state, part, l),
                                  rwkv__part_size(state->model, part));
    rwkv__save_floats(p, state->hidden, rwkv__D(state->model));
    rwkv__put32(h + 60, rwkv__save_crc(h, needs));
    return needs;
}

RWKV_API rwkv_result rwkv_state_load(rwkv_state *state, const void *data, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)data;
    unsigned char        h[RWKV__SAVE_HEADER], expected[RWKV__SAVE_HEADER];
    const rwkv_model    *m;
    rwkv__pass           pass;
    uint64_t             at = RWKV__SAVE_HEADER / 4;
    uint32_t             has_logits;
    size_t               i;
    int                  l, part;

    if (!state || !data)
        return RWKV_ERR_ARGUMENT;
    m = state->model;
    rwkv__save_header(expected, m);
    for (i = 0; i < sizeof h; i++)
        h[i] = rwkv__byte(bytes, size, i);
    if (size < RWKV__SAVE_HEADER || memcmp(h, expected, 12) != 0)
        return RWKV_ERR_FORMAT;
    has_logits = rwkv__get32(h + 12);
    if (memcmp(h + 16, expected + 16, 8) != 0)
        return RWKV_ERR_MISMATCH;
    if (has_logits > 1 || memcmp(h + 24, expected + 24, 36) != 0 || size != rwkv__save_size(m) ||
        rwkv__get32(h + 60) != rwkv__save_crc(bytes, size))
        return RWKV_ERR_FORMAT;

    rwkv_state_reset(state);
    for (l = 0; l < rwkv__L(m); l++)
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X; part++) {
            const size_t n = rwkv__part_size(m, part);
            rwkv__load_floats(bytes, size, at, rwkv__part(state, part, l), n);
            at += n;
        }
    rwkv__load_floats(bytes, size, at, state->hidden, rwkv__D(m));
    state->has_logits = (int)has_logits;
    if (has_logits) {
        pass = rwkv__one_row(state);
        memcpy(pass.xx, state->hidden, rwkv__round16(rwkv__D(m)) * sizeof(float));
        rwkv__head_of_one(&pass, 0, rwkv__panels(rwkv__V(m)));
    }
    return RWKV_OK;
}

/* ============================================================================
 * 15. MARK: utf8                                                       >>utf8
 *
 * UTF-8 is what RFC 3629 says: nothing longer than it need be, no surrogates,
 * nothing above U+10FFFF.
 * ========================================================================== */
#ifndef RWKV_NO_TOKENIZER

/* How many bytes a character has that begins with c; 0: none does.           */
static int rwkv__utf8_length(int c)
{
    return c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
}

/* Can c be byte n >= 1 of a character that begins with `first`?              */
static int rwkv__utf8_fits(int first, int n, int c)
{
    if (n == 1 && (first == 0xe0 || first == 0xf0)) /* could be shorter          */
        return c >= (first == 0xe0 ? 0xa0 : 0x90) && c <= 0xbf;
    if (n == 1 && (first == 0xed || first == 0xf4)) /* a surrogate; too large    */
        return c >= 0x80 && c <= (first == 0xed ? 0x9f : 0x8f);
    return c >= 0x80 && c <= 0xbf;
}

RWKV_API int rwkv_utf8_push(rwkv_utf8 *stream, const char *bytes, int length, char *out,
                            int capacity)
{
    static const char replacement[3] = {'\xef', '\xbf', '\xbd'};
    const int         last = !bytes;
    char              part[4];
    int               i, held, size, n = 0, written = 0;
    if (last) {
        bytes = "";
        length = 0;
    }
    if (!stream || stream->n_tail > 3 || !out || length < 0 || capacity / 3 - 3 < length)
        return -RWKV_ERR_ARGUMENT;
    held = stream->n_tail;
    for (i = 0; i < held + length; i++) {
        const int c = i < held ? stream->tail[i] : (unsigned char)bytes[i - held];
        if (n && !rwkv__utf8_fits((unsigned char)part[0], n, c)) { /* it came to nothing */
            memcpy(out + written, replacement, 3);
            written += 3;
            n = 0;
        }
        part[n++] = (char)c;
        size = rwkv__utf8_length((unsigned char)part[0]);
        if (size == 0 || size == n) {
            memcpy(out + written, size ? part : replacement, size ? (size_t)size : 3);
            written += size ? size : 3;
            n = 0;
        }
    }
    if (n && last) {
        memcpy(out + written, replacement, 3);
        written += 3;
        n = 0;
    }
    memcpy(stream->tail, part, (size_t)n);
    stream->n_tail = (unsigned char)n;
    return written;
}
#endif /* RWKV_NO_TOKENIZER */

/* ============================================================================
 * 16. MARK: tokenizer                                             >>tokenizer
 *
 * Text to tokens. World and bytes: the longest token that the text begins with,
 * again and again. 20B: special tokens, if they are asked for, are cut out;
 * characters are normalized (NFC); runs of spaces are cut out; the rest is cut
 * into words by the pattern of GPT-2; a word is merged, pair by pair. All of it
 * works on the fly and needs no memory but 40 KB of stack (20B).
 * ========================================================================== */
#ifndef RWKV_NO_TOKENIZER

/* Where tokens go, and how many there are.                                   */
typedef struct rwkv__tokens {
    int *tokens;
    int  capacity, n;
} rwkv__tokens;

static void rwkv__put(rwkv__tokens *out, uint32_t token)
{
    if (out->n < out->capacity)
        out->tokens[out->n] = (int)token;
    if (out->n < INT_MAX)
        out->n++;
}

/* The longest token at the beginning of the text, and its length; -1 if there
 * is none. A cell of the trie is {base, parent, token + 1}; the child of cell s
 * by byte c is cell base + c, if that one's parent is s.                     */
static int rwkv__longest_token(const rwkv__vocabulary *v, const unsigned char *text, size_t length,
                               size_t *token_length)
{
    const uint32_t *const cells = v->cell;
    const size_t          n = rwkv__min(length, RWKV__MAX_TOKEN);
    uint32_t              cell = 0, token = 0;
    size_t                i;
    for (i = 0; i < n; i++) {
        const uint64_t child = (uint64_t)cells[3 * (size_t)cell] + text[i];
        if (child >= v->n_cells || cells[3 * (size_t)child + 1] != cell)
            break;
        cell = (uint32_t)child;
        if (cells[3 * (size_t)cell + 2]) {
            token = cells[3 * (size_t)cell + 2];
            *token_length = i + 1;
        }
    }
    return (int)token - 1;
}

static rwkv_result rwkv__tokenize_greedily(const rwkv__vocabulary *v, const unsigned char *text,
                                           size_t length, rwkv__tokens *out)
{
    while (length) {
        size_t    used = 0;
        const int token = rwkv__longest_token(v, text, length, &used);
        if (token < 0)
            return RWKV_ERR_MISMATCH;
        rwkv__put(out, (uint32_t)token);
        text += used;
        length -= used;
    }
    return RWKV_OK;
}

/* ---- characters ----------------------------------------------------------- */

#define RWKV__NONE     0xffffffffu
#define RWKV__BAD_BYTE 0x110000u /* + b: byte b is no part of a character           */

/* Properties of a code point: two bits of class, eight of combining class, and
 * flags.                                                                     */
#define RWKV__CLASS(property)     ((property) & 3)
#define RWKV__COMBINING(property) ((property) >> 2 & 255)
enum {
    RWKV__OTHER, RWKV__LETTER, RWKV__NUMBER, RWKV__SPACE, /* the classes             */
    RWKV__END, /* and the end of a piece of text                                  */
    RWKV__DECOMPOSES = 1 << 10,
    RWKV__MAY_COMPOSE = 1 << 11, /* with the one before it                          */
    RWKV__CHANGES = 1 << 12,     /* NFC makes another of it                         */
    RWKV__NOT_PLAIN = 0x1ffc & ~RWKV__DECOMPOSES
};

/* Number i of 16-bit numbers that lie in 32-bit words, the low half first.   */
static uint32_t rwkv__half(const uint32_t *words, size_t i)
{
    return words[i / 2] >> i % 2 * 16 & 0xffff;
}

RWKV__INLINE uint32_t rwkv__property(const rwkv__vocabulary *v, uint32_t c)
{
    if (c >= RWKV__BAD_BYTE)
        return RWKV__OTHER;
    return rwkv__half(v->property, rwkv__half(v->block, c / 128) * (size_t)128 + c % 128);
}

/* The entry of an ascending table of n, `step` words each, that begins with
 * `first` (and `second`, if not NULL); NULL if there is none.                */
RWKV__INLINE const uint32_t *rwkv__find(const uint32_t *table, uint32_t n, size_t step,
                                        uint32_t first, const uint32_t *second)
{
    if (n == 0)
        return NULL;
    while (n > 1) {
        const uint32_t        half = n / 2;
        const uint32_t *const entry = table + half * step;
        if (entry[0] < first || (entry[0] == first && (!second || entry[1] <= *second)))
            table = entry;
        n -= half;
    }
    return table[0] == first && (!second || table[1] == *second) ? table : NULL;
}

/* The code point that two make together, or none. Hangul is composed by rule. */
static uint32_t rwkv__compose(const rwkv__vocabulary *v, uint32_t a, uint32_t b)
{
    const uint32_t *entry;
    if (a - 0x1100 < 19 && b - 0x1161 < 21)
        return 0xac00 + ((a - 0x1100) * 21 + b - 0x1161) * 28;
    if (a - 0xac00 < 11172 && (a - 0xac00) % 28 == 0 && b - 0x11a8 < 27)
        return a + b - 0x11a7;
    entry = rwkv__find(v->composed, v->n_composed, 3, a, &b);
    return entry ? entry[2] : RWKV__NONE;
}

/* The character at the beginning of a text that is not empty.                */
RWKV__INLINE uint32_t rwkv__decode(const unsigned char *p, const unsigned char *end, size_t *length)
{
    const int n = rwkv__utf8_length(*p);
    uint32_t  c = n < 2 ? *p : *p & 0x7fu >> n;
    int       i;
    *length = 1;
    for (i = 1; i < n; i++) {
        if (p + i == end || !rwkv__utf8_fits(*p, i, p[i]))
            return RWKV__BAD_BYTE + *p;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (n == 0)
        return RWKV__BAD_BYTE + *p;
    *length = (size_t)n;
    return c;
}

/* The bytes of a character; returns how many.                                */
static size_t rwkv__encode(uint32_t c, unsigned char *p)
{
    const size_t n = c >= RWKV__BAD_BYTE ? 1 : (size_t)rwkv__utf8_size(c);
    size_t       i;
    if (n == 1) {
        p[0] = (unsigned char)(c < 0x80 ? c : c - RWKV__BAD_BYTE);
        return 1;
    }
    for (i = n - 1; i > 0; i--, c >>= 6)
        p[i] = (unsigned char)(0x80 | (c & 0x3f));
    p[0] = (unsigned char)(0xf00u >> n | c); /* n ones and a zero, then the rest      */
    return n;
}

/* ---- normalization -------------------------------------------------------- */

/* A place in the decomposed text: a character, and which part of it.         */
typedef struct rwkv__place {
    const unsigned char *at;
    uint32_t             part;
} rwkv__place;

/* NFC, one character at a time. What goes together is a character that starts,
 * and the marks after it, sorted by their combining class; the start takes in
 * the marks that it can be composed with. The marks that are left are not kept:
 * for each class in turn their text is read again. So any number of marks is
 * put in order without memory, in time proportional to their number.        */
typedef struct rwkv__nfc {
    const rwkv__vocabulary *v;
    const unsigned char    *end;
    rwkv__place             next;        /* what is not read yet                     */
    rwkv__place             marks, marks_end, mark; /* to be delivered, and where we are */
    uint32_t                combining;   /* their class now; 0: there are none       */
    uint32_t                following;   /* the next class                           */
    uint32_t                taken[8];    /* classes of the marks that were taken in  */
    int                     n_taken, skip; /* skip: of this class, yet to come       */
} rwkv__nfc;

/* The next code point of the decomposed text.                                */
static uint32_t rwkv__decomposed(const rwkv__nfc *s, rwkv__place *place, uint32_t *property)
{
    size_t   length;
    uint32_t c = rwkv__decode(place->at, s->end, &length);
    *property = rwkv__property(s->v, c);
    if (*property & RWKV__DECOMPOSES) {
        const uint32_t *entry = rwkv__find(s->v->decomposed, s->v->n_decomposed, 2, c, NULL);
        if (entry && place->part < entry[1] % 8) {
            c = s->v->sequence[entry[1] / 8 + place->part++];
            *property = rwkv__property(s->v, c);
            if (place->part < entry[1] % 8)
                return c;
        }
    }
    place->part = 0;
    place->at += length;
    return c;
}

static int rwkv__more_marks(const rwkv__nfc *s)
{
    return s->mark.at != s->marks_end.at || s->mark.part != s->marks_end.part;
}

/* Go through the marks from s->mark on for one of class s->combining; 0 if
 * there is none. s->following becomes the lowest class above it.             */
static int rwkv__next_mark(rwkv__nfc *s, uint32_t *c, uint32_t *property)
{
    while (rwkv__more_marks(s)) {
        uint32_t combining;
        *c = rwkv__decomposed(s, &s->mark, property);
        combining = RWKV__COMBINING(*property);
        if (combining == s->combining)
            return 1;
        if (combining > s->combining && combining < s->following)
            s->following = combining;
    }
    return 0;
}

/* Turn to the lowest class of marks above this one; 0 if there is none.      */
static uint32_t rwkv__next_class(rwkv__nfc *s)
{
    int i;
    s->combining = s->following == 256 ? 0 : s->following;
    s->following = 256;
    s->mark = s->marks;
    for (i = s->skip = 0; i < s->n_taken; i++)
        s->skip += s->taken[i] == s->combining;
    return s->combining;
}

/* Turn to the lowest class of all.                                           */
static void rwkv__first_class(rwkv__nfc *s)
{
    uint32_t c, property;
    s->combining = 0;
    s->following = 256;
    s->mark = s->marks;
    rwkv__next_mark(s, &c, &property);
    rwkv__next_class(s);
}

/* Compose the start with marks, of each class the first ones, as long as it can
 * be done. Returns what it becomes.                                          */
static uint32_t rwkv__take_marks(rwkv__nfc *s, uint32_t start)
{
    uint32_t first[256], c, property; /* the first mark of each class not taken     */
    memset(first, 0xff, sizeof first);
    s->combining = 0;
    for (s->mark = s->marks; rwkv__more_marks(s);) {
        c = rwkv__decomposed(s, &s->mark, &property);
        if (first[RWKV__COMBINING(property)] == RWKV__NONE)
            first[RWKV__COMBINING(property)] = c;
    }
    for (s->combining = 1; s->combining < 256 && s->n_taken < 8; s->combining++)
        while (first[s->combining] != RWKV__NONE && s->n_taken < 8) {
            const uint32_t both = rwkv__compose(s->v, start, first[s->combining]);
            int            i;
            if (both == RWKV__NONE)
                break;
            start = both;
            s->taken[s->n_taken++] = s->combining;
            s->mark = s->marks;
            for (i = s->skip = 0; i < s->n_taken; i++)
                s->skip += s->taken[i] == s->combining;
            do
                first[s->combining] = rwkv__next_mark(s, &c, &property) ? c : RWKV__NONE;
            while (s->skip-- > 0);
        }
    return start;
}

/* A start and its marks, where something may change. Returns the start, or
 * none if the text begins with marks.                                        */
static uint32_t rwkv__compose_next(rwkv__nfc *s)
{
    rwkv__place place = s->next;
    uint32_t    property, start = rwkv__decomposed(s, &place, &property);
    if (RWKV__COMBINING(property)) {
        start = RWKV__NONE;
        place = s->next;
    }
    for (;;) {
        uint32_t c = 0, n_marks = 0;
        s->marks = s->marks_end = place;
        s->n_taken = 0;
        while (place.at < s->end) {
            c = rwkv__decomposed(s, &place, &property);
            if (!RWKV__COMBINING(property))
                break;
            s->marks_end = place;
            n_marks++;
        }
        s->next = s->marks_end;
        if (start != RWKV__NONE && n_marks)
            start = rwkv__take_marks(s, start);
        if (n_marks > (uint32_t)s->n_taken) { /* the others follow, sorted             */
            rwkv__first_class(s);
            return start;
        }
        s->combining = 0;
        if (s->next.at == s->end || start == RWKV__NONE)
            return start;
        c = rwkv__compose(s->v, start, c); /* what follows is another start           */
        if (c == RWKV__NONE)
            return start;
        start = c;
    }
}

/* The next of the marks that are left; 0 if there is none.                   */
static int rwkv__nfc_mark(rwkv__nfc *s, uint32_t *c, uint32_t *property)
{
    for (; s->combining; rwkv__next_class(s))
        while (rwkv__next_mark(s, c, property))
            if (s->skip-- <= 0)
                return 1;
    return 0;
}

/* The next character; 0 at the end.                                          */
static int rwkv__nfc_next(rwkv__nfc *s, uint32_t *c, uint32_t *property)
{
    for (;;) {
        if (rwkv__nfc_mark(s, c, property))
            return 1;
        if (s->next.at == s->end)
            return 0;
        if (s->next.part == 0) { /* most text is normalized already                   */
            const unsigned char *at;
            size_t               length, ahead;
            *c = rwkv__decode(s->next.at, s->end, &length);
            at = s->next.at + length;
            *property = rwkv__property(s->v, *c);
            if (!(*property & (RWKV__NOT_PLAIN & ~RWKV__MAY_COMPOSE)) &&
                (at == s->end || *at < 0x80 ||
                 !(rwkv__property(s->v, rwkv__decode(at, s->end, &ahead)) & RWKV__NOT_PLAIN))) {
                s->next.at = at;
                return 1;
            }
        }
        *c = rwkv__compose_next(s);
        if (*c != RWKV__NONE) {
            *property = rwkv__property(s->v, *c);
            return 1;
        }
    }
}

/* ---- merging -------------------------------------------------------------- */

#define RWKV__WINDOW 2048 /* bytes that are merged at a time; a power of 2           */

/* A word on its way to tokens. Arrays are indexed by the byte of the window at
 * which a token begins.                                                      */
typedef struct rwkv__word {
    const rwkv_model *m;
    rwkv__tokens     *out;
    size_t            length;   /* of `text`: the word, or what is left of it      */
    size_t            window;   /* bytes at its beginning that are merged already  */
    int               begun;    /* tokens of this word have been put out           */
    unsigned char     text[2 * RWKV__WINDOW];
    uint32_t          token[RWKV__WINDOW];
    size_t            leaves;   /* of the tree: n of the window or a few more      */
    uint32_t          tree[2 * RWKV__WINDOW]; /* leaves + i: what the token at i and the
                                   next merge to, or none. k: the least of 2 k and
                                   2 k + 1                                         */
    uint16_t          next[RWKV__WINDOW], before[RWKV__WINDOW];
} rwkv__word;

/* What two tokens merge to, or none; of all merges the lowest goes first.    */
static uint32_t rwkv__merge_of(const rwkv__vocabulary *v, uint32_t left, uint32_t right)
{
    const uint32_t  begin = v->first_pair[left];
    const uint32_t *pair = rwkv__find(v->pair + 2 * (size_t)begin, v->first_pair[left + 1] - begin,
                                      2, right, NULL);
    return pair ? pair[1] : RWKV__NONE;
}

/* The token at i has changed or is no more: what it and the next merge to.   */
static void rwkv__set_merged(rwkv__word *w, size_t i, uint32_t merged)
{
    size_t k = w->leaves + i;
    w->tree[k] = merged;
    for (k /= 2; k > 0; k /= 2) {
        const uint32_t left = w->tree[2 * k], right = w->tree[2 * k + 1];
        const uint32_t least = left < right ? left : right;
        if (w->tree[k] == least)
            return;
        w->tree[k] = least;
    }
}

/* The leftmost of the lowest merges.                                         */
static size_t rwkv__lowest_merge(const rwkv__word *w)
{
    size_t k = 1;
    while (k < w->leaves)
        k = w->tree[2 * k] == w->tree[1] ? 2 * k : 2 * k + 1;
    return k - w->leaves;
}

/* Merge the first n bytes of a text, the lowest pair first, of equal ones the
 * leftmost, until none is left.                                              */
static rwkv_result rwkv__merge_window(rwkv__word *w, const unsigned char *text, size_t n)
{
    const rwkv__vocabulary *v = &w->m->vocabulary;
    size_t                  i, next;
    for (i = 0; i < n; i++) {
        size_t    used;
        const int token = rwkv__longest_token(v, text + i, 1, &used);
        if (token < 0)
            return RWKV_ERR_MISMATCH;
        w->token[i] = (uint32_t)token;
        w->next[i] = (uint16_t)(i + 1);
        w->before[i] = (uint16_t)(i - 1);
    }
    for (w->leaves = 2; w->leaves < n; w->leaves *= 2)
        continue;
    for (i = 0; i < w->leaves; i++)
        w->tree[w->leaves + i] =
            i + 1 < n ? rwkv__merge_of(v, w->token[i], w->token[i + 1]) : RWKV__NONE;
    for (i = w->leaves - 1; i > 0; i--)
        w->tree[i] = w->tree[2 * i] < w->tree[2 * i + 1] ? w->tree[2 * i] : w->tree[2 * i + 1];

    while (w->tree[1] != RWKV__NONE) {
        i = rwkv__lowest_merge(w);
        w->token[i] = w->tree[1];
        rwkv__set_merged(w, w->next[i], RWKV__NONE);
        next = w->next[i] = w->next[w->next[i]];
        if (next < n)
            w->before[next] = (uint16_t)i;
        rwkv__set_merged(w, i, next < n ? rwkv__merge_of(v, w->token[i], w->token[next])
                                        : RWKV__NONE);
        if (i > 0)
            rwkv__set_merged(w, w->before[i],
                             rwkv__merge_of(v, w->token[w->before[i]], w->token[i]));
    }
    return RWKV_OK;
}

/* Put out the tokens before byte `end` of the window.                        */
static void rwkv__put_window(rwkv__word *w, size_t end)
{
    size_t i;
    for (i = 0; i < end; i = w->next[i])
        rwkv__put(w->out, w->token[i]);
    w->begun = 1;
}

/* The word is longer than a window: put out the first part of its tokens, and
 * move on to a window that begins with the last token of that part.
 *
 * This is exact, because tokens in a row are the result of merging exactly if
 * each two neighbours are: the first merge across a border would be made with
 * these two alone as well. Neighbours in the first part are in the result of the
 * first window; if the second window begins with the same token, the others are
 * in its result. If not, the end of the first window reached too far back, and a
 * smaller part is taken.                                                     */
static rwkv_result rwkv__move_window(rwkv__word *w)
{
    size_t keep;
    for (keep = RWKV__WINDOW * 7 / 8; keep >= RWKV__WINDOW / 4; keep -= RWKV__WINDOW / 8) {
        const int   n = w->out->n;
        size_t      i = 0;
        uint32_t    token;
        rwkv_result result;
        while (w->next[i] <= keep)
            i = w->next[i];
        if (i == 0)
            break;
        token = w->token[i];
        rwkv__put_window(w, i);
        w->window = rwkv__min(w->length - i, RWKV__WINDOW);
        result = rwkv__merge_window(w, w->text + i, w->window);
        if (result != RWKV_OK)
            return result;
        if (w->token[0] == token) {
            w->length -= i;
            memmove(w->text, w->text + i, w->length);
            return RWKV_OK;
        }
        w->out->n = n;
        rwkv__merge_window(w, w->text, RWKV__WINDOW);
    }
    return RWKV_ERR_UNSUPPORTED;
}

/* Put out what can be of a word: all of it if `text` holds its end.          */
static rwkv_result rwkv__put_word(rwkv__word *w, int ends)
{
    rwkv_result result = RWKV_OK;
    if (ends && !w->begun && !w->window && w->length) { /* most words are one token      */
        size_t    used = 0;
        const int token = rwkv__longest_token(&w->m->vocabulary, w->text, w->length, &used);
        if (token >= 0 && used == w->length) {
            rwkv__put(w->out, (uint32_t)token);
            w->length = 0;
            return RWKV_OK;
        }
    }
    if (!w->window)
        result = rwkv__merge_window(w, w->text, w->window = rwkv__min(w->length, RWKV__WINDOW));
    while (result == RWKV_OK && w->length > w->window &&
           (ends || w->length + 4 > 2 * RWKV__WINDOW))
        result = rwkv__move_window(w);
    if (result == RWKV_OK && ends) {
        rwkv__put_window(w, w->window);
        w->length = w->window = 0;
        w->begun = 0;
    }
    return result;
}

/* ---- words ---------------------------------------------------------------- */

typedef struct rwkv__char {
    uint32_t c, kind; /* kind: a class, or the end of the piece                     */
} rwkv__char;

/* A text on its way to words: the next three characters.                     */
typedef struct rwkv__words {
    rwkv__nfc    nfc;
    rwkv__char   ahead[3];
    uint32_t     run; /* the token of spaces that ended the piece, or none           */
    rwkv__word   word;
} rwkv__words;

/* The token of the most spaces with which the text begins, at least two; none
 * if there is none. *length: of them.                                        */
static uint32_t rwkv__run_of_spaces(const rwkv__nfc *nfc, size_t *length)
{
    const unsigned char *p = nfc->next.at;
    const size_t         most = rwkv__min((size_t)(nfc->end - p), nfc->v->n_runs);
    size_t               n = 0;
    while (n < most && p[n] == ' ')
        n++;
    while (n > 1 && nfc->v->run[n - 1] == RWKV__NONE)
        n--;
    *length = n;
    return n > 1 ? nfc->v->run[n - 1] : RWKV__NONE;
}

/* Drop ahead[0] and read on. A run of spaces that is a token ends the piece of
 * text: w->run is set, and nothing beyond is read until it is dealt with.    */
static void rwkv__advance(rwkv__words *w)
{
    rwkv__char *const last = &w->ahead[2];
    uint32_t          property;
    size_t            n;
    w->ahead[0] = w->ahead[1];
    w->ahead[1] = *last;
    if (last->kind == RWKV__END)
        return;
    if (!rwkv__nfc_mark(&w->nfc, &last->c, &property)) {
        w->run = rwkv__run_of_spaces(&w->nfc, &n);
        if (w->run != RWKV__NONE)
            w->nfc.next.at += n;
        if (w->run != RWKV__NONE || !rwkv__nfc_next(&w->nfc, &last->c, &property)) {
            last->kind = RWKV__END;
            last->c = RWKV__NONE;
            return;
        }
    }
    last->kind = RWKV__CLASS(property);
}

/* Move the next character into the word.                                     */
static rwkv_result rwkv__take_char(rwkv__words *w)
{
    w->word.length += rwkv__encode(w->ahead[0].c, w->word.text + w->word.length);
    rwkv__advance(w);
    return w->word.length + 4 > 2 * RWKV__WINDOW ? rwkv__put_word(&w->word, 0) : RWKV_OK;
}

/* How many characters of 's, 't, 're, 've, 'm, 'll or 'd are ahead; else 0.  */
static int rwkv__contraction(const rwkv__char *ahead)
{
    if (ahead[0].c != '\'')
        return 0;
    switch (ahead[1].c) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 2;
    case 'r':
    case 'v': return ahead[2].c == 'e' ? 3 : 0;
    case 'l': return ahead[2].c == 'l' ? 3 : 0;
    default:  return 0;
    }
}

/* The next word, by the pattern of GPT-2:
 * 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+    */
static rwkv_result rwkv__next_word(rwkv__words *w)
{
    rwkv_result       result = RWKV_OK;
    const rwkv__char *ahead = w->ahead;
    int               n = rwkv__contraction(ahead);
    uint32_t          kind;
    if (n) {
        while (n-- > 0)
            rwkv__take_char(w);
        return rwkv__put_word(&w->word, 1);
    }
    if (ahead[0].c == ' ' && ahead[1].kind < RWKV__SPACE)
        rwkv__take_char(w);
    kind = ahead[0].kind;
    do /* of white space before anything else, the last is left                   */
        result = rwkv__take_char(w);
    while (result == RWKV_OK && ahead[0].kind == kind &&
           (kind != RWKV__SPACE || ahead[1].kind >= RWKV__SPACE));
    return result == RWKV_OK ? rwkv__put_word(&w->word, 1) : result;
}

/* The tokens of a text without special tokens.                               */
static rwkv_result rwkv__tokenize_words(rwkv__words *w, const unsigned char *text,
                                        const unsigned char *end)
{
    rwkv_result result = RWKV_OK;
    memset(&w->nfc, 0, sizeof w->nfc);
    w->nfc.v = &w->word.m->vocabulary;
    w->nfc.next.at = text;
    w->nfc.end = end;
    do {
        int i;
        w->run = RWKV__NONE;
        memset(w->ahead, 0, sizeof w->ahead);
        for (i = 0; i < 3; i++)
            rwkv__advance(w);
        while (result == RWKV_OK && w->ahead[0].kind != RWKV__END)
            result = rwkv__next_word(w);
        if (w->run != RWKV__NONE)
            rwkv__put(w->word.out, w->run);
    } while (result == RWKV_OK && w->run != RWKV__NONE);
    return result;
}

/* The first special token in a text: where it is (the end if there is none),
 * and which.                                                                 */
static const unsigned char *rwkv__find_special(const rwkv__vocabulary *v, const unsigned char *text,
                                               const unsigned char *end, const uint32_t **special)
{
    for (; text < end; text++) {
        uint32_t i;
        for (i = 0; i < v->n_specials; i++) {
            const uint32_t *s = v->special + 3 * (size_t)i;
            if (s[2] <= (size_t)(end - text) && memcmp(text, v->bytes + s[1], s[2]) == 0) {
                *special = s;
                return text;
            }
        }
    }
    *special = NULL;
    return end;
}

static rwkv_result rwkv__tokenize_20b(const rwkv_model *m, const unsigned char *text, size_t length,
                                      int specials, rwkv__tokens *out)
{
    const unsigned char *const end = text + length;
    rwkv_result                result = RWKV_OK;
    rwkv__words                w;
    w.word.m = m;
    w.word.out = out;
    w.word.length = w.word.window = 0;
    w.word.begun = 0;
    while (result == RWKV_OK && text < end) {
        const uint32_t      *special = NULL;
        const unsigned char *stop = end;
        if (specials)
            stop = rwkv__find_special(&m->vocabulary, text, end, &special);
        result = rwkv__tokenize_words(&w, text, stop);
        text = stop;
        if (special) {
            rwkv__put(out, special[0]);
            text += special[2];
        }
    }
    return result;
}

/* ---- calls ---------------------------------------------------------------- */

static int rwkv__tokenize(const rwkv_model *model, const char *text, size_t length, int specials,
                          int *tokens, int capacity)
{
    const unsigned char *const p = (const unsigned char *)text;
    rwkv__tokens               out;
    rwkv_result                result;
    if (!model || (!text && length) || length > INT_MAX || capacity < 0 || (!tokens && capacity))
        return -RWKV_ERR_ARGUMENT;
    if (!model->vocabulary.n_cells)
        return -RWKV_ERR_UNSUPPORTED;
    out.tokens = tokens;
    out.capacity = capacity;
    out.n = 0;
    result = model->file.tokenizer == RWKV_TOKENIZER_20B
                 ? rwkv__tokenize_20b(model, p, length, specials, &out)
                 : rwkv__tokenize_greedily(&model->vocabulary, p, length, &out);
    return result == RWKV_OK ? out.n : -(int)result;
}

RWKV_API int rwkv_tokenize(const rwkv_model *model, const char *text, size_t length, int *tokens,
                           int capacity)
{
    return rwkv__tokenize(model, text, length, 0, tokens, capacity);
}

RWKV_API int rwkv_tokenize_special(const rwkv_model *model, const char *text, size_t length,
                                   int *tokens, int capacity)
{
    return rwkv__tokenize(model, text, length, 1, tokens, capacity);
}

RWKV_API const char *rwkv_token_bytes(const rwkv_model *model, int token, int *length)
{
    uint32_t begin;
    if (length)
        *length = 0;
    if (!model || !model->vocabulary.offset || token < 0 || (size_t)token >= rwkv__V(model))
        return NULL;
    begin = model->vocabulary.offset[token];
    if (length)
        *length = (int)(model->vocabulary.offset[token + 1] - begin);
    return (const char *)model->vocabulary.bytes + begin;
}
#endif /* RWKV_NO_TOKENIZER */

/* ============================================================================
 * 17. MARK: sampler                                                 >>sampler
 *
 * The order of operations stands at rwkv_sampler. Nothing is sorted: what top_p
 * and top_k keep is what has at least some probability, and that cut is found
 * by narrowing. Works in the scratch of the state.
 * ========================================================================== */
#ifndef RWKV_NO_SAMPLER

/* The next of a sequence of 64-bit numbers (splitmix64).                     */
static uint64_t rwkv__random(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Steps 0 and 1, for V tokens and -infinity up to a multiple of 16. Where a
 * token is banned, and only there, x becomes NaN.                            */
static void rwkv__adjust(const rwkv_sampler *s, const float *logits, int V, float *x)
{
    const float *counts = s->counts;
    int          i;
    memcpy(x, logits, (size_t)V * sizeof *x);
    for (i = 0; i < V; i++)
        if (x[i] != x[i])
            x[i] = -HUGE_VALF;
    for (; i % 16; i++)
        x[i] = -HUGE_VALF;
    for (i = 0; i < s->n_bias; i++) {
        float      *to = x + s->bias[i].token;
        const float sum = *to + s->bias[i].add;
        if (!(s->bias[i].add >= -FLT_MAX))
            *to = rwkv__float(0x7fc00000u);
        else if (*to == *to)
            *to = sum == sum ? sum : -HUGE_VALF;
    }
    for (i = 0; i < V && counts; i++)
        if (counts[i] > 0 && x[i] == x[i]) {
            const float y = x[i] - rwkv__fma(s->frequency, counts[i], s->presence);
            x[i] = y == y ? y : -HUGE_VALF;
        }
}

/* The sum of 16 numbers, in halves.                                          */
static double rwkv__sum16(const float *x)
{
    double s[8];
    int    i, half;
    for (i = 0; i < 8; i++)
        s[i] = (double)x[i] + (double)x[i + 8];
    for (half = 4; half; half /= 2)
        for (i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

/* The largest number that is not above the p of enough tokens: of k, or of so many
 * that their sum is the share top_p of all, whichever are fewer. *ties is how many
 * of those that are equal to it belong to the k. The bits of numbers >= 0 are
 * ordered as the numbers are: tokens are counted and added up in 32 equal ranges of
 * them, and going down from the largest one comes to the range of the cut. What is
 * in that moves to the front of p (which is lost), to be divided again, until all
 * are equal. (In two columns, since an addition waits for the one before it if both
 * are to the same place.)                                                     */
static float rwkv__cut(float *p, int V, double top_p, int k, int *ties)
{
    struct {
        double sum;
        int    n;
    } ranges[2][32];
    double above = 0, target = HUGE_VAL;
    int    n = V, kept, at, i;
    for (;;) {
        uint32_t low = rwkv__bits(p[0]), high = low, bits;
        int      shift = 0;
        for (i = 1; i < n; i++) {
            bits = rwkv__bits(p[i]);
            low = bits < low ? bits : low;
            high = bits > high ? bits : high;
        }
        if (low == high)
            break;
        while ((high - low) >> shift > 31)
            shift++;
        memset(ranges, 0, sizeof ranges);
        for (i = 0; i < n; i++) {
            at = (int)((rwkv__bits(p[i]) - low) >> shift);
            ranges[i & 1][at].sum += (double)p[i];
            ranges[i & 1][at].n++;
        }
        for (at = 0; at < 32; at++) {
            ranges[0][at].sum += ranges[1][at].sum;
            ranges[0][at].n += ranges[1][at].n;
        }
        if (n == V && top_p < 1) {
            for (at = 0, target = 0; at < 32; at++)
                target += ranges[0][at].sum;
            target *= top_p;
        }
        for (at = 31; at > 0 && above + ranges[0][at].sum < target && ranges[0][at].n < k; at--) {
            above += ranges[0][at].sum;
            k -= ranges[0][at].n;
        }
        for (i = kept = 0; i < n; i++) {
            bits = rwkv__bits(p[i]);
            p[kept] = p[i];
            kept += (int)((bits - low) >> shift) == at;
        }
        n = kept;
    }
    *ties = k;
    return p[0];
}

/* Steps 2 to 5. x are the logits, of which `max`, the largest, is finite.    */
static int rwkv__draw(rwkv_sampler *s, const rwkv__kernels *kernels, float *x, float *p, float max,
                      int V)
{
    const float T = s->temperature < FLT_MAX ? s->temperature : FLT_MAX;
    const int   by_p = s->top_p > 0 && s->top_p < 1, by_k = s->top_k > 0 && s->top_k < V;
    float       cut = s->min_p > 0 ? (s->min_p < 1 ? s->min_p : 1) : 0; /* the largest p is 1 */
    int         ties = V, kept = 0, token = -1, i;
    double      total = 0, passed = 0, drawn;

    memcpy(p, x, rwkv__round16((size_t)V) * sizeof *p);
    kernels->softmax(p, max, 1.0f, rwkv__round16((size_t)V));
    if (by_p || by_k) {
        const float least = rwkv__cut(p, V, by_p ? (double)s->top_p : 1, by_k ? s->top_k : V, &i);
        if (least >= cut) {
            cut = least;
            ties = i;
        }
        memcpy(p, x, rwkv__round16((size_t)V) * sizeof *p); /* again: it is lost     */
        kernels->softmax(p, max, 1.0f, rwkv__round16((size_t)V));
    }
    for (i = 0; i < V; i++) { /* kept ones move down, their ids into p             */
        const float pi = p[i];
        x[kept] = x[i];
        p[kept] = rwkv__float((uint32_t)i);
        kept += pi >= cut;
        if (pi == cut && --ties == 0)
            cut = rwkv__float(rwkv__bits(cut) + 1); /* the next larger number      */
    }
    for (i = kept; i % 16; i++)
        x[i] = -HUGE_VALF;
    max = kernels->largest(x, rwkv__round16((size_t)kept)); /* it may be cut off, and p alike */
    kernels->softmax(x, max, T, rwkv__round16((size_t)kept)); /* p^(1/T), but for a factor */
    for (i = 0; i < kept; i += 16)
        total += rwkv__sum16(x + i);
    drawn = (double)(rwkv__random(&s->seed) >> 11) * 1.1102230246251565e-16 * total; /* 2^-53 */
    for (i = 0; i + 16 < kept && passed + rwkv__sum16(x + i) <= drawn; i += 16)
        passed += rwkv__sum16(x + i);
    for (; i < kept && passed <= drawn; i++) {
        passed += (double)x[i];
        if (x[i] > 0)
            token = (int)rwkv__bits(p[i]);
    }
    return token;
}

RWKV_API int rwkv_sample(rwkv_sampler *sampler, rwkv_state *state)
{
    float *x, *p, max;
    int    V, i, token;
    if (!sampler || !rwkv__ready(state) || sampler->n_bias < 0 ||
        (sampler->n_bias > 0 && !sampler->bias))
        return -1;
    V = (int)rwkv__V(state->model);
    for (i = 0; i < sampler->n_bias; i++)
        if (sampler->bias[i].token < 0 || sampler->bias[i].token >= V)
            return -1;
    x = state->scratch;
    p = x + rwkv__round16((size_t)V);

    rwkv__adjust(sampler, state->logits, V, x);
    max = state->model->kernels.largest(x, rwkv__round16((size_t)V));
    if (sampler->temperature > 0 && max - max == 0) { /* finite: there is a choice */
        for (i = 0; i < sampler->n_bias; i++)
            if (x[sampler->bias[i].token] != x[sampler->bias[i].token])
                x[sampler->bias[i].token] = -HUGE_VALF; /* banned: no probability      */
        token = rwkv__draw(sampler, &state->model->kernels, x, p, max, V);
    } else {
        for (token = 0; token < V && x[token] != max; token++) /* no NaN is equal */
            ;
        if (token == V) /* all are banned                                         */
            return -1;
    }
    if (sampler->counts) {
        float *const counts = sampler->counts;
        const float  decay = sampler->decay;
        for (i = 0; i < V && decay > 0; i++)
            counts[i] *= decay;
        counts[token] += 1;
    }
    return token;
}
#endif /* RWKV_NO_SAMPLER */

/* ============================================================================
 * 18. MARK: quantize                                               >>quantize
 *
 * From a 32 or 16-bit model file to one of codes. For Q8 each block of a row
 * gets the scale with the least squared error, and each weight the value that
 * is nearest. For Q4 that is the beginning. What counts then is the error of the
 * products, which for a row w that becomes q, with inputs x, is the sum
 *
 *   sum_t ((w - q) x_t)^2 = (w - q) H (w - q)^T,   H = sum_t x_t x_t^T
 *
 * The inputs are those of text that the model writes itself, drawn from its own
 * probabilities: so no text need be brought, and none is preferred. A third of
 * the mean of H's diagonal is added to the diagonal, against chance. Then the
 * sum is descended: each weight in turn becomes the value that makes it least,
 * and each block's scale too, a few times over. H is taken for spans of columns
 * alone, which bounds the memory.
 *
 * Between the rows of a matrix nothing is shared, so they are what is split over
 * threads. Wherever something is decided, products that are summed are exact or
 * fused, so the decisions are the same on every machine.
 * ========================================================================== */
#if !defined(RWKV_NO_QUANTIZE) && !defined(RWKV_NO_STDIO)

#define RWKV__SPAN    1024 /* columns of a matrix that H relates to each other     */
#define RWKV__SWEEPS  4    /* over the codes of a span                             */
#ifndef RWKV__STREAMS      /* the tests are content with fewer                   */
#define RWKV__STREAMS 256  /* texts that the model writes, 256 tokens each          */
#endif
#define RWKV__WORK    ((4 * 16 + 4) * RWKV__SPAN) /* floats of a thread             */

/* Rounding to the values of codes.                                           */
typedef struct rwkv__grid {
    signed char   nearest[512]; /* to t, at floor(2 t) + 256: midpoints of values are
                                   multiples of a half                             */
    unsigned char code[256];    /* of a value, at value + 128                       */
    float         largest;      /* of the values' sizes                             */
    int           bits;
} rwkv__grid;

typedef struct rwkv__quantizer {
    rwkv_model    *m;           /* that is read                                     */
    rwkv_state    *state;       /* scratch and threads; of one stream at a time     */
    rwkv__file     file;        /* that is written                                  */
    FILE          *out;
    const char    *path;
    char          *part_path;
    uint64_t       written;
    unsigned char *bytes;       /* of the tensor that is being made                 */
    double        *sums;        /* of each panel: see rwkv__code_span               */
    float         *work;        /* of each thread                                   */
    int           *tokens;      /* (STREAMS, 256), and the rest: only for Q4        */
    float         *x;           /* (STREAMS, 256, D) the residual stream            */
    float         *h[8];        /* of each matrix of a layer, the head: spans of H  */
    float         *sum, *columns, *panels; /* to add to one: rwkv__watch_input       */
    int            next;        /* matrix that is multiplied                        */
    void (*report)(const rwkv_quantized *matrix, void *user);
    void          *user;
    rwkv_quantized told;
    rwkv_error    *error;
} rwkv__quantizer;

static void *rwkv__need(const rwkv__quantizer *q, const char *what, uint64_t bytes)
{
    void *p = bytes <= SIZE_MAX / 2 ? rwkv__alloc(&q->m->allocator, (size_t)bytes) : NULL;
    if (!p)
        rwkv__fail(q->error, RWKV_ERR_MEMORY, 0, "no memory for %s (%u bytes)", what, bytes);
    return p;
}

/* A message about a tensor begins with its place.                            */
static rwkv_result rwkv__fail_tensor(const rwkv__quantizer *q, int id, int layer, const char *what,
                                     uint64_t from, uint64_t to)
{
    const uint64_t offset = q->m->file.offset[id] + (uint64_t)layer * q->m->file.layer_bytes;
    if (id >= RWKV__LAYER_BEGIN && id < RWKV__LAYER_END)
        return rwkv__fail(q->error, RWKV_ERR_FORMAT, offset, "block %u %s: %s in %u to %u",
                          (uint64_t)layer, rwkv__tensors[id].name, what, from, to);
    return rwkv__fail(q->error, RWKV_ERR_FORMAT, offset, "%s: %s in %u to %u",
                      rwkv__tensors[id].name, what, from, to);
}

/* ---- rounding ------------------------------------------------------------- */

static void rwkv__grid_init(rwkv__grid *grid, int bits)
{
    const signed char *table = rwkv__values(bits);
    const int          n = bits == RWKV__CODES_8 ? 255 : 1 << bits;
    int                i, k;
    memset(grid, 0, sizeof *grid);
    grid->bits = bits;
    for (i = 0; i < n; i++) {
        const int   value = bits == RWKV__CODES_8 ? i - 127 : table[i];
        const float size = (float)(value < 0 ? -value : value);
        grid->code[value + 128] = (unsigned char)(bits == RWKV__CODES_8 ? value : i);
        grid->largest = size > grid->largest ? size : grid->largest;
        for (k = 0; k < 512; k++) { /* the middle of the half that k stands for      */
            const int middle = 2 * (k - 256) + 1;
            const int away = 4 * value - middle, before = 4 * grid->nearest[k] - middle;
            if (i == 0 || (away < 0 ? -away : away) < (before < 0 ? -before : before))
                grid->nearest[k] = (signed char)value;
        }
    }
}

/* The value nearest to w / scale; the inverse is 2 / scale.                  */
static int rwkv__nearest(const rwkv__grid *grid, float w, float inverse)
{
    double t = (double)w * (double)inverse;
    t = t > -256 ? t : -256; /* NaN too                                             */
    t = t < 255 ? t : 255;
    return grid->nearest[(int)(t + 256)];
}

/* The byte of the scale nearest to s >= 0.                                   */
static unsigned char rwkv__nearest_scale(float s, unsigned char exponent)
{
    const uint32_t bits = rwkv__bits(s), least = (uint32_t)exponent << 23;
    const uint32_t steps = bits < least ? 0 : bits - least;
    return (unsigned char)(steps < 127u << 19 ? (steps + (1u << 18)) >> 19 : 127);
}

/* The exponent with which the largest scale of a panel fits.                 */
static unsigned char rwkv__panel_exponent(const rwkv__grid *grid, float largest)
{
    const float    scale = largest / grid->largest * 1.15f;
    const uint32_t high = (rwkv__bits(scale) + (1u << 19) - 1) >> 23;
    return (unsigned char)(high < 8 ? 1 : high > 254 ? 247 : high - 7);
}

/* The scale with the least sum of weight * (w - scale * value)^2, of those that
 * make the largest value about as large as the largest w. Errors are taken in
 * units of the panel, so that their squares are in a float's range.          */
static unsigned char rwkv__best_scale(const rwkv__grid *grid, const float *w, const float *weight,
                                      unsigned char exponent)
{
    const int           eight = grid->bits == RWKV__CODES_8;
    const float         unit = rwkv__float((uint32_t)(exponent < 247 ? 247 - exponent : 1) << 23);
    double              sum, least = HUGE_VAL;
    float               largest = 0;
    unsigned char       best, last;
    int                 byte, sign, k;
    for (k = 0; k < RWKV__CODE_BLOCK; k++)
        largest = fabsf(w[k]) > largest ? fabsf(w[k]) : largest;
    best = rwkv__nearest_scale(largest / grid->largest * (eight ? 0.9f : 0.6f), exponent);
    last = rwkv__nearest_scale(largest / grid->largest * (eight ? 1.05f : 1.15f), exponent);
    for (byte = best; byte <= last; byte++)
        for (sign = 0; sign < (eight ? 1 : 2); sign++) {
            const float scale = rwkv__scale((unsigned char)(byte | sign << 7), exponent);
            const float inverse = 2.0f / scale;
            for (sum = 0, k = 0; k < RWKV__CODE_BLOCK; k++) {
                const float e = w[k] - scale * (float)rwkv__nearest(grid, w[k], inverse);
                const float square = e * unit * (e * unit);
                sum += (double)square * (double)weight[k];
            }
            if (sum < least) {
                least = sum;
                best = (unsigned char)(byte | sign << 7);
            }
        }
    return best;
}

/* ---- H -------------------------------------------------------------------- */

/* Columns of the span that begins at `first`, with those that fill a block.  */
static size_t rwkv__span(size_t first, size_t columns)
{
    return rwkv__min(RWKV__SPAN, rwkv__code_blocks(columns - first) *
                                     RWKV__CODE_BLOCK);
}

/* Floats of the H of a matrix with so many columns. A whole span has SPAN^2; each
 * lies like the activations of as many rows.                                 */
static uint64_t rwkv__h_size(uint64_t columns)
{
    const uint64_t whole = columns / RWKV__SPAN, rest = rwkv__span(0, columns % RWKV__SPAN);
    return whole * RWKV__SPAN * RWKV__SPAN + (rest ? rwkv__activation_size(rest, rest) : 0);
}

/* One span of the inputs of a product.                                       */
typedef struct rwkv__inputs {
    const rwkv__quantizer *q;
    const float           *x;
    float                 *h;
    size_t                 first, n, columns;
} rwkv__inputs;

/* Channels as rows, and as a matrix of panels; what does not exist is zero.  */
static void rwkv__turn_inputs(const void *context, size_t begin, size_t end, int part)
{
    const rwkv__inputs *in = (const rwkv__inputs *)context;
    size_t              p, t, i;
    for (p = begin; p < end; p++) {
        const size_t c = in->first + 16 * p;
        const size_t n = c < in->columns ? rwkv__min(16, in->columns - c) : 0;
        float       *panel = in->q->panels + p * 16 * RWKV__BLOCK;
        float       *rows = in->q->columns + p * 16 * RWKV__BLOCK;
        memset(panel, 0, 16 * RWKV__BLOCK * sizeof *panel);
        for (t = 0; t < RWKV__BLOCK; t++) {
            if (n)
                memcpy(panel + 16 * t, in->x + rwkv__at(RWKV__BLOCK, t, c), n * sizeof *panel);
            for (i = 0; i < 16; i++)
                rows[i * RWKV__BLOCK + t] = panel[16 * t + i];
        }
    }
    (void)part;
}

/* H += x x^T of 256 tokens, for panels of its columns.                       */
static void rwkv__add_inputs(const void *context, size_t begin, size_t end, int part)
{
    const rwkv__inputs  *in = (const rwkv__inputs *)context;
    const rwkv__kernels *kernels = &in->q->m->kernels;
    rwkv__matmul         product;
    size_t               t, c, n;
    memset(&product, 0, sizeof product);
    product.w = (const unsigned char *)in->q->panels;
    product.storage = RWKV__F32;
    product.n_in = RWKV__BLOCK;
    product.n_out = in->n;
    product.x = in->q->columns;
    product.y = in->q->sum;
    product.y_row = RWKV__BLOCK;
    product.y_block = in->n * RWKV__BLOCK;
    kernels->matmul[RWKV__F32](&product, begin, end, in->n, NULL);
    for (c = 16 * begin; c < 16 * end; c += n) {
        n = rwkv__min(16 * end - c, RWKV__BLOCK - c % RWKV__BLOCK);
        for (t = 0; t < in->n; t++)
            kernels->add(in->h + rwkv__at(in->n, t, c), in->q->sum + rwkv__at(in->n, t, c), n);
    }
    (void)part;
}

/* The matrices of a layer are multiplied in the order of their numbers.      */
static void rwkv__watch_input(void *watcher, const rwkv__matmul *product)
{
    rwkv__quantizer  *q = (rwkv__quantizer *)watcher;
    const rwkv__team *team = &q->state->team;
    rwkv__inputs      in;
    in.q = q;
    in.x = product->x;
    in.h = q->h[q->next++];
    in.columns = product->n_in;
    for (in.first = 0; in.first < in.columns; in.first += RWKV__SPAN) {
        in.n = rwkv__span(in.first, in.columns);
        rwkv__split(team, rwkv__turn_inputs, &in, in.n / 16, 1, (double)in.n * RWKV__BLOCK);
        rwkv__split(team, rwkv__add_inputs, &in, in.n / 16, 4,
                    (double)in.n * (double)in.n * RWKV__BLOCK);
        in.h += RWKV__SPAN * RWKV__SPAN;
    }
}

/* Where the diagonal of a matrix's H is.                                     */
static float *rwkv__diagonal(float *h, size_t column, size_t columns)
{
    const size_t first = column / RWKV__SPAN * RWKV__SPAN, j = column - first;
    return h + first * RWKV__SPAN +
           rwkv__at(rwkv__span(first, columns), j, j & ~(size_t)15) + j % 16;
}

/* Returns what is added to the diagonal, 0 if it is not finite.              */
static float rwkv__damp(float *h, size_t columns)
{
    double sum = 0;
    float  damping;
    size_t j;
    for (j = 0; j < columns; j++)
        sum += (double)*rwkv__diagonal(h, j, columns);
    damping = (float)(sum / (3.0 * (double)columns));
    if (damping < FLT_MIN) /* no inputs: any rounding will do                       */
        damping = 1;
    for (j = 0; j < columns; j++)
        *rwkv__diagonal(h, j, columns) += damping;
    return sum - sum == 0 ? damping : 0;
}

/* ---- the text ------------------------------------------------------------- */

/* A token by its probability; the logits are lost.                           */
static int rwkv__draw_token(const rwkv__kernels *kernels, float *p, int V, uint64_t *seed)
{
    const int n = (int)rwkv__round16((size_t)V);
    double    total = 0, drawn;
    int       i;
    for (i = V; i < n; i++)
        p[i] = -HUGE_VALF;
    kernels->softmax(p, kernels->largest(p, (size_t)n), 1.0f, (size_t)n);
    for (i = 0; i < V; i++)
        total += (double)p[i];
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    drawn = (double)(*seed >> 11) * 1.1102230246251565e-16 * total; /* 2^-53            */
    for (total = (double)p[0], i = 0; i < V - 1 && total <= drawn;)
        total += (double)p[++i];
    return i;
}

/* Have the model write. The states are small: they share their scratch.      */
static rwkv_result rwkv__write_text(rwkv__quantizer *q)
{
    const rwkv_model *m = q->m;
    const size_t      carried = (size_t)rwkv__carried(m);
    int               last[RWKV__STREAMS] = {0};
    uint64_t          seed = 1;
    rwkv_state       *states, **each;
    float            *numbers;
    size_t            t;
    int               i;
    states = (rwkv_state *)rwkv__need(q, "states",
                                      RWKV__STREAMS * (rwkv__carried(m) * sizeof *numbers +
                                                       sizeof *states + sizeof *each));
    if (!states)
        return RWKV_ERR_MEMORY;
    numbers = (float *)(void *)(states + RWKV__STREAMS);
    each = (rwkv_state **)(void *)(numbers + RWKV__STREAMS * carried);
    for (i = 0; i < RWKV__STREAMS; i++) {
        each[i] = states + i;
        states[i] = *q->state;
        states[i].numbers = numbers + (size_t)i * carried;
        states[i].logits = states[i].numbers + (q->state->logits - q->state->numbers);
        states[i].hidden = states[i].numbers + (q->state->hidden - q->state->numbers);
        rwkv_state_reset(&states[i]);
    }
    for (t = 0; t < RWKV__BLOCK; t++) {
        for (i = 0; i < RWKV__STREAMS; i++)
            q->tokens[(size_t)i * RWKV__BLOCK + t] = last[i];
        rwkv_eval_batch(last, each, RWKV__STREAMS);
        for (i = 0; i < RWKV__STREAMS; i++)
            last[i] = rwkv__draw_token(&m->kernels, states[i].logits, (int)rwkv__V(m), &seed);
    }
    rwkv__release(&m->allocator, states);
    return RWKV_OK;
}

/* Take all streams through a layer, after the last one to the head, and H from
 * what its matrices are given.                                               */
static void rwkv__calibrate(rwkv__quantizer *q, int layer)
{
    const size_t D = rwkv__D(q->m), size = (size_t)rwkv__activation_size(RWKV__BLOCK, D);
    const size_t all = (size_t)(q->h[7] - q->h[0]) + (size_t)rwkv__h_size(D);
    rwkv__pass   pass;
    size_t       i;
    memset(&pass, 0, sizeof pass);
    memset(q->h[0], 0, all * sizeof(float));
    pass.m = q->m;
    pass.T = RWKV__BLOCK;
    pass.state = q->state;
    pass.watch = rwkv__watch_input;
    pass.watcher = q;
    for (i = 0; i < RWKV__STREAMS; i++) {
        rwkv_state_reset(q->state);
        rwkv__lay_out_pass(&pass);
        pass.x = q->x + i * size;
        if (layer == 0)
            rwkv__embed(&pass, q->tokens + i * RWKV__BLOCK);
        if (layer < rwkv__L(q->m)) {
            q->next = 0;
            rwkv__time_mix(&pass, layer);
            rwkv__channel_mix(&pass, layer);
        } else {
            const rwkv__matmul head = rwkv__product(&pass, RWKV__HEAD, 0, pass.xx, NULL);
            q->next = 7;
            rwkv__norm(&pass, RWKV__LN_OUT_W, 0);
            rwkv__watch_input(q, &head);
        }
    }
}

/* ---- codes ---------------------------------------------------------------- */

/* One matrix.                                                                */
typedef struct rwkv__coder {
    const rwkv__quantizer *q;
    rwkv__grid             grid;
    const unsigned char   *from; /* its weights                                    */
    unsigned char         *exponent, *scale, *code;
    float                 *h;    /* NULL: Q8                                       */
    size_t                 rows, columns, blocks;
    int                    by_columns;
    size_t                 scale_panel, scale_block; /* from one to the next, in scale[] */
} rwkv__coder;

/* One span of one panel of it. Weights, errors and products are (n, 16), as in a
 * panel; the gradient g = H (w - q) and the codes' values are (16, SPAN).      */
typedef struct rwkv__part_of {
    size_t         panel, first, n, columns; /* n columns, with those that fill a block */
    size_t         rows;
    unsigned char  exponent, *scale;
    size_t         scale_block;              /* from one block's scales to the next     */
    const float   *h;
    float         *w, *e, *y, *g;
    signed char   *value;
} rwkv__part_of;

static float rwkv__block_scale(const rwkv__part_of *s, size_t row, size_t column)
{
    return rwkv__scale(s->scale[column / RWKV__CODE_BLOCK * s->scale_block + row], s->exponent);
}

/* e = w - q                                                                  */
static void rwkv__take_errors(const rwkv__part_of *s)
{
    size_t i, k;
    for (k = 0; k < s->n; k++)
        for (i = 0; i < 16; i++) {
            const float q = rwkv__block_scale(s, i, k) * (float)s->value[i * RWKV__SPAN + k];
            s->e[k * 16 + i] = s->w[k * 16 + i] - q;
        }
}

/* y = H a, for the 16 rows of a = w or e.                                      */
static void rwkv__times_h(const rwkv__coder *coder, const rwkv__part_of *s, float *a)
{
    rwkv__matmul product;
    memset(&product, 0, sizeof product);
    product.w = (const unsigned char *)a;
    product.storage = RWKV__F32;
    product.n_in = s->n;
    product.n_out = 16;
    product.x = (float *)s->h;
    product.y = s->y;
    product.y_row = 16;
    coder->q->m->kernels.matmul[RWKV__F32](&product, 0, 1, s->n, NULL);
}

/* The sum of a b over the span's weights; products of floats are exact.      */
static double rwkv__sum_products(const rwkv__part_of *s, const float *a, const float *b)
{
    double sum = 0;
    size_t i;
    for (i = 0; i < s->n * 16; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Row g of the gradient when weight j of it becomes less by `less`.          */
static void rwkv__move(const rwkv__coder *coder, const rwkv__part_of *s, float *g, size_t j,
                       float less)
{
    size_t c;
    for (c = 0; c < s->n; c += RWKV__BLOCK)
        coder->q->m->kernels.axpy(g + c, s->h + rwkv__at(s->n, j, c), less,
                                  rwkv__min(RWKV__BLOCK, s->n - c));
}

/* The scale of a row's block with the least error, given the values v: along it
 * the error changes by -2 d num + d^2 den.                                   */
static void rwkv__fit_scale(const rwkv__coder *coder, const rwkv__part_of *s, size_t row, size_t k0)
{
    const signed char *v = s->value + row * RWKV__SPAN + k0;
    unsigned char     *byte = s->scale + k0 / RWKV__CODE_BLOCK * s->scale_block + row;
    float             *g = s->g + row * RWKV__SPAN, hv[RWKV__CODE_BLOCK] = {0}, d;
    const float        scale = rwkv__scale(*byte, s->exponent);
    double             num = 0, den = 0, best;
    unsigned char      to;
    size_t             k;
    for (k = 0; k < RWKV__CODE_BLOCK; k++)
        if (v[k])
            coder->q->m->kernels.axpy(hv, s->h + rwkv__at(s->n, k0 + k, k0), (float)v[k],
                                      RWKV__CODE_BLOCK);
    for (k = 0; k < RWKV__CODE_BLOCK; k++) {
        num += (double)v[k] * (double)g[k0 + k];
        den += (double)v[k] * (double)hv[k];
    }
    if (!(den > 0))
        return;
    best = (double)scale + num / den;
    to = rwkv__nearest_scale((float)fabs(best), s->exponent);
    to = (unsigned char)(to | (best < 0 ? 128 : 0));
    d = rwkv__scale(to, s->exponent) - scale;
    if (d > 0 ? (double)d * den < 2 * num : d < 0 && (double)d * den > 2 * num) {
        *byte = to;
        for (k = 0; k < RWKV__CODE_BLOCK; k++)
            if (v[k])
                rwkv__move(coder, s, g, k0 + k, -d * (float)v[k]);
    }
}

/* Each weight in turn becomes the value with the least error, given all others. */
static void rwkv__descend(const rwkv__coder *coder, const rwkv__part_of *s)
{
    float  scale[16], inverse[16];
    size_t i, j, k0;
    int    sweep;
    for (sweep = 0; sweep < RWKV__SWEEPS; sweep++)
        for (k0 = 0; k0 < s->n; k0 += RWKV__CODE_BLOCK) {
            for (i = 0; i < s->rows; i++) {
                if (sweep > 0)
                    rwkv__fit_scale(coder, s, i, k0);
                scale[i] = rwkv__block_scale(s, i, k0);
                inverse[i] = 2.0f / scale[i];
            }
            for (j = k0; j < rwkv__min(k0 + RWKV__CODE_BLOCK, s->columns); j++) {
                const float hjj = *rwkv__diagonal((float *)s->h, j, s->n);
                for (i = 0; i < s->rows; i++) { /* row j of H is now near              */
                    signed char *value = s->value + i * RWKV__SPAN + j;
                    float       *g = s->g + i * RWKV__SPAN;
                    const float  t = scale[i] * (float)*value + g[j] / hjj;
                    const int    to = rwkv__nearest(&coder->grid, t, inverse[i]);
                    const int    less = *value - to;
                    if (less) {
                        *value = (signed char)to;
                        rwkv__move(coder, s, g, j, scale[i] * (float)less);
                    }
                }
            }
        }
}

/* The beginning: the best scale of each block alone, and the nearest values.  */
static void rwkv__round_span(const rwkv__coder *coder, const rwkv__part_of *s)
{
    float  w[RWKV__CODE_BLOCK], weight[RWKV__CODE_BLOCK], inverse;
    size_t i, k, k0;
    memset(s->value, 0, 16 * RWKV__SPAN);
    for (k0 = 0; k0 < s->n; k0 += RWKV__CODE_BLOCK) {
        for (k = 0; k < RWKV__CODE_BLOCK; k++)
            weight[k] = k0 + k >= s->columns ? 0
                        : s->h               ? *rwkv__diagonal((float *)s->h, k0 + k, s->n)
                                             : 1;
        for (i = 0; i < 16; i++) {
            for (k = 0; k < RWKV__CODE_BLOCK; k++)
                w[k] = s->w[(k0 + k) * 16 + i];
            s->scale[k0 / RWKV__CODE_BLOCK * s->scale_block + i] =
                rwkv__best_scale(&coder->grid, w, weight, s->exponent);
            inverse = 2.0f / rwkv__block_scale(s, i, k0);
            for (k = 0; k < RWKV__CODE_BLOCK; k++)
                s->value[i * RWKV__SPAN + k0 + k] =
                    (signed char)rwkv__nearest(&coder->grid, w[k], inverse);
        }
    }
}

/* The codes of a block, as the file format has them.                         */
static void rwkv__put_codes(const rwkv__grid *grid, const signed char *value, unsigned char *code)
{
    int i, k;
    memset(code, 0, RWKV__CODE_BYTES((size_t)grid->bits));
    for (i = 0; i < 16; i++)
        for (k = 0; k < RWKV__CODE_BLOCK; k++) {
            const unsigned c = grid->code[value[i * RWKV__SPAN + k] + 128];
            const int      group = k / 4, byte = 4 * i + k % 4;
            if (grid->bits == RWKV__CODES_8) {
                code[group * 64 + byte] = (unsigned char)c;
                continue;
            }
            code[group / 2 * 64 + byte] |= (unsigned char)((c & 15) << group % 2 * 4);
            if (grid->bits >= RWKV__CODES_5)
                code[256 + byte] |= (unsigned char)((c >> 4 & 1) << group);
            if (grid->bits == RWKV__CODES_6)
                code[320 + byte] |= (unsigned char)(c >> 5 << group);
        }
}

/* The same of the columns of a span of a matrix by columns.                   */
static void rwkv__put_columns(const rwkv__coder *coder, const rwkv__part_of *s)
{
    const rwkv__storage storage = (rwkv__storage)coder->grid.bits;
    const uint64_t      stride = rwkv__code_column(rwkv__panels(coder->rows), storage);
    unsigned char      *column = coder->code + s->first * (size_t)stride;
    size_t              i, k;
    for (k = 0; k < s->columns; k++, column += (size_t)stride)
        for (i = 0; i < 16; i++) {
            const unsigned c = coder->grid.code[s->value[i * RWKV__SPAN + k] + 128];
            if (storage == RWKV__CODES_8)
                column[s->panel * 16 + i] = (unsigned char)c;
            else
                column[s->panel / 2 * 16 + i] |= (unsigned char)(c << s->panel % 2 * 4);
        }
}

/* Adds to sums: (w - q)^2, w^2, and the same of the products, damped.         */
static void rwkv__code_span(const rwkv__coder *coder, const rwkv__part_of *s, double *sums)
{
    const size_t first = s->panel * coder->blocks + s->first / RWKV__CODE_BLOCK;
    size_t       i, k;
    rwkv__round_span(coder, s);
    if (s->h) {
        rwkv__times_h(coder, s, s->w);
        sums[3] += rwkv__sum_products(s, s->w, s->y);
        rwkv__take_errors(s);
        rwkv__times_h(coder, s, s->e);
        for (i = 0; i < 16; i++)
            for (k = 0; k < s->n; k++)
                s->g[i * RWKV__SPAN + k] = s->y[k * 16 + i];
        rwkv__descend(coder, s);
        for (i = 0; i < 16; i++)
            for (k = 0; k < s->n; k++)
                s->y[k * 16 + i] = s->g[i * RWKV__SPAN + k];
    }
    rwkv__take_errors(s);
    sums[0] += rwkv__sum_products(s, s->e, s->e);
    sums[1] += rwkv__sum_products(s, s->w, s->w);
    if (s->h)
        sums[2] += rwkv__sum_products(s, s->e, s->y);
    if (coder->by_columns)
        rwkv__put_columns(coder, s);
    for (k = 0; k < s->n && !coder->by_columns; k += RWKV__CODE_BLOCK)
        rwkv__put_codes(&coder->grid, s->value + k,
                        coder->code + (first + k / RWKV__CODE_BLOCK) *
                                          RWKV__CODE_BYTES((size_t)coder->grid.bits));
}

/* The weights of a panel from column `first` on, as floats.                  */
static void rwkv__load_span(const rwkv__coder *coder, const rwkv__part_of *s)
{
    const rwkv_model *m = coder->q->m;
    const size_t      element = rwkv__element((rwkv__storage)m->file.type);
    const size_t      panels = rwkv__panels(coder->rows);
    size_t            k;
    if (coder->by_columns)
        for (k = 0; k < s->columns; k++)
            m->kernels.widen[m->file.type](
                s->w + 16 * k,
                coder->from + ((s->first + k) * panels + s->panel) * 16 * element, 16);
    else
        m->kernels.widen[m->file.type](
            s->w, coder->from + (s->panel * coder->columns + s->first) * 16 * element,
            s->columns * 16);
    memset(s->w + s->columns * 16, 0, (s->n - s->columns) * 16 * sizeof *s->w);
}

static void rwkv__code_panels(const void *context, size_t begin, size_t end, int part)
{
    const rwkv__coder *coder = (const rwkv__coder *)context;
    float             *work = coder->q->work + (size_t)part * RWKV__WORK;
    double            *sums;
    rwkv__part_of      s;
    size_t             i;
    s.w = work;
    s.e = s.w + 16 * RWKV__SPAN;
    s.y = s.e + 16 * RWKV__SPAN;
    s.g = s.y + 16 * RWKV__SPAN;
    s.value = (signed char *)(s.g + 16 * RWKV__SPAN);
    for (s.panel = begin; s.panel < end; s.panel++) {
        float largest = 0;
        int   pass;
        sums = coder->q->sums + 4 * s.panel;
        memset(sums, 0, 4 * sizeof *sums);
        s.rows = rwkv__min(16, coder->rows - s.panel * 16);
        for (pass = 0; pass < 2; pass++) { /* first for the largest weight            */
            for (s.first = 0; s.first < coder->columns; s.first += RWKV__SPAN) {
                s.columns = rwkv__min(RWKV__SPAN, coder->columns - s.first);
                s.n = rwkv__span(s.first, coder->columns);
                rwkv__load_span(coder, &s);
                for (i = 0; i < s.n * 16 && pass == 0; i++)
                    largest = fabsf(s.w[i]) > largest ? fabsf(s.w[i]) : largest;
                s.exponent = rwkv__panel_exponent(&coder->grid, largest);
                s.scale = coder->scale + s.panel * coder->scale_panel +
                          s.first / RWKV__CODE_BLOCK * coder->scale_block;
                s.scale_block = coder->scale_block;
                s.h = coder->h ? coder->h + s.first * RWKV__SPAN : NULL;
                if (pass == 1)
                    rwkv__code_span(coder, &s, sums);
            }
        }
        coder->exponent[s.panel] = s.exponent;
    }
}

/* ---- the file ------------------------------------------------------------- */

static rwkv_result rwkv__put_bytes(rwkv__quantizer *q, const void *bytes, uint64_t n)
{
    const size_t put = fwrite(bytes, 1, (size_t)n, q->out);
    q->file.data_crc = rwkv__crc32(q->file.data_crc, (const unsigned char *)bytes, n, 0, n, 1);
    q->written += put;
    if (put == n)
        return RWKV_OK;
    return rwkv__fail(q->error, RWKV_ERR_FILE, q->written, "%s: cannot write byte %u of %u",
                      q->part_path, q->written, q->file.bytes);
}

/* 32-bit numbers, which the model holds in the machine's order, and then bytes,
 * through q->bytes.                                                          */
static rwkv_result rwkv__put_words(rwkv__quantizer *q, const unsigned char *from, uint64_t words,
                                   uint64_t bytes)
{
    rwkv_result result = RWKV_OK;
    uint64_t    i;
    uint32_t    word;
    for (i = 0; i < words && result == RWKV_OK; i++, from += 4) {
        memcpy(&word, from, sizeof word);
        rwkv__put32(q->bytes + i % 16 * 4, word);
        if (i % 16 == 15 || i + 1 == words)
            result = rwkv__put_bytes(q, q->bytes, (i % 16 + 1) * 4);
    }
    return result == RWKV_OK && bytes ? rwkv__put_bytes(q, from, bytes) : result;
}

/* x >= 0 to the nearest binary16, of equals to the even one; at most the largest. */
static uint16_t rwkv__to_f16(float x)
{
    const uint32_t bits = rwkv__bits(x);
    if (bits < 0x38800000u) /* subnormal: 0.5 makes the last bit 2^-24               */
        return (uint16_t)(rwkv__bits(x + 0.5f) - rwkv__bits(0.5f));
    if (bits >= 0x477ff000u)
        return 0x7bff;
    return (uint16_t)(((bits + 0xfff + (bits >> 13 & 1)) >> 13) - (112u << 10));
}

/* A block of the embedding: n numbers, 32 codes.                             */
static uint16_t rwkv__embedding_block(const float *x, size_t n, unsigned char *code)
{
    float    largest = 0;
    uint16_t scale;
    size_t   k;
    memset(code, 0, RWKV__CODE_BLOCK);
    for (k = 0; k < n; k++)
        largest = fabsf(x[k]) > largest ? fabsf(x[k]) : largest;
    scale = rwkv__to_f16(largest / 127);
    if (scale == 0 && largest > 0)
        scale = 1;
    for (k = 0; k < n && scale; k++) {
        float t = x[k] / rwkv__from_f16(scale);
        t = t > -127 ? t : -127;
        t = t < 127 ? t : 127;
        t += 12582912.0f; /* 1.5 * 2^23: rounds to an integer, of equals to even      */
        code[k] = (unsigned char)(int)(t - 12582912.0f);
    }
    return scale;
}

static rwkv_result rwkv__put_embedding(rwkv__quantizer *q)
{
    const rwkv_model *m = q->m;
    const size_t      D = rwkv__D(m), V = rwkv__V(m);
    const size_t      blocks = rwkv__code_blocks(D);
    const rwkv__places to = rwkv__places_of(&q->file, RWKV__EMB);
    const size_t      from = (size_t)rwkv__places_of(&m->file, RWKV__EMB).row;
    float            *x = (float *)(void *)(q->bytes + rwkv__round64(to.row));
    rwkv_result       result = RWKV_OK;
    size_t            i, k;
    for (i = 0; i < V && result == RWKV_OK; i++) {
        m->kernels.widen[m->file.type](x, rwkv__weights(m, RWKV__EMB, 0) + i * from, D);
        for (k = 0; k < D; k++)
            if (!(fabsf(x[k]) <= FLT_MAX))
                return rwkv__fail_tensor(q, RWKV__EMB, 0, "a number that is infinite or NaN", i, i);
        for (k = 0; k < blocks; k++) {
            const size_t   c = k * RWKV__CODE_BLOCK;
            const unsigned scale = rwkv__embedding_block(x + c, rwkv__min(RWKV__CODE_BLOCK, D - c),
                                                         q->bytes + c);
            q->bytes[blocks * RWKV__CODE_BLOCK + 2 * k] = (unsigned char)scale;
            q->bytes[blocks * RWKV__CODE_BLOCK + 2 * k + 1] = (unsigned char)(scale >> 8);
        }
        result = rwkv__put_bytes(q, q->bytes, to.row);
    }
    memset(q->bytes, 0, 64);
    return result == RWKV_OK ? rwkv__put_bytes(q, q->bytes, to.bytes - V * to.row) : result;
}

/* Tell of a matrix: sums over its panels, and without the damping.           */
static void rwkv__tell(rwkv__quantizer *q, const double *sums, float damping)
{
    const double e = damping > 0 ? sums[2] - sums[0] / (1.0 / (double)damping) : 0;
    const double all = damping > 0 ? sums[3] - sums[1] / (1.0 / (double)damping) : 0;
    q->told.weight_error = sums[1] > 0 ? sqrtf((float)(sums[0] / sums[1])) : 0;
    q->told.output_error = damping == 0     ? q->told.weight_error
                           : e > 0 && all > 0 ? sqrtf((float)(e / all))
                                              : 0;
    q->told.done++;
    if (q->report)
        q->report(&q->told, q->user);
}

static rwkv_result rwkv__put_matrix(rwkv__quantizer *q, int id, int layer)
{
    const rwkv__tensor *tensor = &rwkv__tensors[id];
    const rwkv__places  places = rwkv__places_of(&q->file, id);
    const int           index = rwkv__matrix_index(id);
    double              sums[4] = {0, 0, 0, 0};
    float               damping = 0;
    rwkv__coder         coder;
    size_t              p, panels;
    int                 i;
    coder.q = q;
    coder.rows = (size_t)rwkv__dimension(&q->file, tensor->rows);
    coder.columns = (size_t)rwkv__dimension(&q->file, tensor->columns);
    coder.blocks = rwkv__code_blocks(coder.columns);
    coder.from = rwkv__weights(q->m, id, id == RWKV__HEAD ? 0 : layer);
    coder.exponent = q->bytes;
    coder.scale = q->bytes + places.scale;
    coder.code = q->bytes + places.data;
    coder.h = q->h[index];
    panels = rwkv__panels(coder.rows);
    coder.by_columns = tensor->kind == 'c';
    coder.scale_panel = coder.by_columns ? 16 : coder.blocks * 16;
    coder.scale_block = coder.by_columns ? panels * 16 : 16;
    rwkv__grid_init(&coder.grid, q->file.bits[index]);
    memset(q->bytes, 0, (size_t)places.bytes);
    if (coder.h && (damping = rwkv__damp(coder.h, coder.columns)) == 0)
        return rwkv__fail_tensor(q, id, layer, "an input that is infinite or NaN", 0,
                                 coder.columns - 1);
    rwkv__split(&q->state->team, rwkv__code_panels, &coder, panels, 2, /* see put_columns */
                64.0 * 16.0 * (double)panels * (double)coder.columns);
    for (p = 0; p < panels; p++) {
        if (!(q->sums[4 * p + 1] <= DBL_MAX))
            return rwkv__fail_tensor(q, id, layer, "a weight that is infinite or NaN", 16 * p,
                                     rwkv__min(16 * p + 16, coder.rows) - 1);
        for (i = 0; i < 4; i++)
            sums[i] += q->sums[4 * p + (size_t)i];
    }
    q->told.name = tensor->name;
    q->told.layer = id == RWKV__HEAD ? -1 : layer;
    q->told.bits = q->file.bits[index];
    q->told.bits_per_weight =
        (double)places.bytes * 8 / ((double)coder.rows * (double)coder.columns);
    rwkv__tell(q, sums, damping);
    return rwkv__put_bytes(q, q->bytes, places.bytes);
}

/* Layer -1 is what stands before the layers, layer L what stands after them. */
static rwkv_result rwkv__put_layer(rwkv__quantizer *q, int layer)
{
    const int   L = rwkv__L(q->m);
    const int   end = layer < 0 ? RWKV__LAYER_BEGIN : layer < L ? RWKV__LAYER_END : RWKV__TENSORS;
    int         id = layer < 0 ? 0 : layer < L ? RWKV__LAYER_BEGIN : RWKV__LAYER_END;
    rwkv_result result = RWKV_OK;
    if (layer >= 0 && q->tokens)
        rwkv__calibrate(q, layer);
    for (; id < end && result == RWKV_OK; id++) {
        if (rwkv__tensors[id].kind == 'e')
            result = rwkv__put_embedding(q);
        else if (rwkv__matrix_index(id) >= 0)
            result = rwkv__put_matrix(q, id, layer);
        else
            result = rwkv__put_words(q, rwkv__weights(q->m, id, layer < L && layer > 0 ? layer : 0),
                                     rwkv__places_of(&q->file, id).bytes / 4, 0);
    }
    return result;
}

static void rwkv__put64(unsigned char *p, uint64_t value)
{
    rwkv__put32(p, (uint32_t)value);
    rwkv__put32(p + 4, (uint32_t)(value >> 32));
}

/* Everything, and the header last, when the checksum is known.               */
static rwkv_result rwkv__put_file(rwkv__quantizer *q)
{
    const rwkv_model *m = q->m;
    unsigned char     h[RWKV__HEADER_BYTES] = {0};
    rwkv_result       result = rwkv__put_bytes(q, h, sizeof h);
    int               layer;
    q->file.data_crc = 0;
    for (layer = -1; layer <= rwkv__L(m) && result == RWKV_OK; layer++)
        result = rwkv__put_layer(q, layer);
    if (result == RWKV_OK && m->file.vocab_bytes) {
        const unsigned char *from = m->data + (size_t)m->file.vocab_offset;
        result = rwkv__put_words(q, from, m->vocabulary.words,
                                 m->file.vocab_bytes - 4 * m->vocabulary.words);
    }
    if (result != RWKV_OK)
        return result;
    memcpy(h, m->data, 120);
    rwkv__put32(h + 16, q->file.type);
    rwkv__put64(h + 48, q->file.bytes);
    memcpy(h + 68, q->file.bits, sizeof q->file.bits);
    rwkv__put32(h + 120, q->file.data_crc);
    rwkv__put32(h + 124, rwkv__crc32(0, h, 124, 0, 124, 1));
    q->written = 0;
    if (fflush(q->out) != 0 || fseek(q->out, 0, SEEK_SET) != 0)
        return rwkv__fail(q->error, RWKV_ERR_FILE, 0, "%s: cannot write %u bytes", q->part_path,
                          q->file.bytes);
    return rwkv__put_bytes(q, h, sizeof h);
}

/* To a file beside the one that is asked for.                                */
static rwkv_result rwkv__write_part(rwkv__quantizer *q)
{
    rwkv_result result;
    q->out = fopen(q->part_path, "wb");
    if (!q->out)
        return rwkv__fail(q->error, RWKV_ERR_FILE, 0, "%s: cannot open%s", q->part_path,
                          rwkv__why());
    result = rwkv__put_file(q);
    if (fclose(q->out) != 0 && result == RWKV_OK)
        result = rwkv__fail(q->error, RWKV_ERR_FILE, 0, "%s: cannot write %u bytes", q->part_path,
                            q->file.bytes);
    if (result != RWKV_OK)
        remove(q->part_path);
    return result;
}

/* Rename, in one step: until then the old file stays. 0 if it cannot be done. */
static int rwkv__replace(const char *path, const char *part_path)
{
#ifdef _WIN32 /* where rename replaces nothing                                      */
    return MoveFileExA(part_path, path, MOVEFILE_REPLACE_EXISTING) != 0;
#else
    return rename(part_path, path) == 0;
#endif
}

/* ---- all of it ------------------------------------------------------------ */

/* The types of the codes: Q4 begins with 5 bits and 6 for the head, and matrices
 * go down by one, those that take it best first, until 5 bits a weight are
 * enough for all.                                                            */
static void rwkv__choose_bits(rwkv__file *f)
{
    static const signed char order[9] = {6, 4, 7, 1, 0, 2, 5, 3, 7};
    int                      i, id;
    memset(f->bits, f->type == RWKV_TYPE_Q8 ? RWKV__CODES_8 : RWKV__CODES_5, sizeof f->bits);
    if (f->type == RWKV_TYPE_Q4)
        f->bits[7] = RWKV__CODES_6;
    for (i = 0; f->type == RWKV_TYPE_Q4 && i < 9; i++) {
        double bits = 0, weights = 0;
        for (id = 0; id < RWKV__TENSORS; id++)
            if (rwkv__matrix_index(id) >= 0) {
                const double n = id == RWKV__HEAD ? 1 : (double)f->n_layer;
                bits += 8.0 * (double)rwkv__places_of(f, id).bytes / (1 / n);
                weights += (double)rwkv__dimension(f, rwkv__tensors[id].rows) *
                           (double)rwkv__dimension(f, rwkv__tensors[id].columns) / (1 / n);
            }
        if (bits <= 5 * weights)
            break;
        f->bits[order[i]]--;
    }
    rwkv__lay_out(f);
    f->bytes = f->vocab_offset + f->vocab_bytes;
}

/* What Q4 needs more.                                                        */
static rwkv_result rwkv__need_text(rwkv__quantizer *q)
{
    const uint64_t D = rwkv__D(q->m);
    uint64_t       h = 0, widest = 0, columns, square;
    int            id;
    for (id = 0; id < RWKV__TENSORS; id++)
        if (rwkv__matrix_index(id) >= 0) {
            columns = rwkv__dimension(&q->file, rwkv__tensors[id].columns);
            h += rwkv__h_size(columns);
            widest = widest > columns ? widest : columns;
        }
    widest = rwkv__span(0, (size_t)widest);
    square = rwkv__activation_size(widest, widest);
    q->tokens = (int *)rwkv__need(q, "tokens", RWKV__STREAMS * RWKV__BLOCK * sizeof(int));
    q->x = (float *)rwkv__need(q, "activations",
                               RWKV__STREAMS * sizeof(float) *
                                   rwkv__activation_size(RWKV__BLOCK, D));
    q->h[0] = (float *)rwkv__need(q, "sums of inputs", h * sizeof(float));
    q->sum = (float *)rwkv__need(q, "inputs",
                                 (square + 2 * widest * RWKV__BLOCK) * sizeof(float));
    if (!q->tokens || !q->x || !q->h[0] || !q->sum)
        return RWKV_ERR_MEMORY;
    q->columns = q->sum + square;
    q->panels = q->columns + widest * RWKV__BLOCK;
    for (id = 0; id < RWKV__TENSORS; id++)
        if (rwkv__matrix_index(id) >= 0 && id != RWKV__HEAD) {
            const int i = rwkv__matrix_index(id);
            columns = rwkv__dimension(&q->file, rwkv__tensors[id].columns);
            q->h[i + 1] = q->h[i] + rwkv__h_size(columns);
        }
    return rwkv__write_text(q);
}

static rwkv_result rwkv__run_quantizer(rwkv__quantizer *q)
{
    uint64_t    bytes = 0, panels = 0, n;
    rwkv_result result;
    int         id;
    for (id = 0; id < RWKV__TENSORS; id++) {
        const rwkv__places places = rwkv__places_of(&q->file, id);
        const uint64_t     D = q->file.n_embd;
        n = places.bytes;
        if (rwkv__tensors[id].kind == 'e')
            n = rwkv__round64(places.row) + D * sizeof(float);
        bytes = bytes > n ? bytes : n;
        n = rwkv__panels(rwkv__dimension(&q->file, rwkv__tensors[id].rows));
        panels = panels > n ? panels : n;
    }
    n = strlen(q->path) + sizeof ".part";
    q->state = rwkv_state_new(q->m);
    if (!q->state)
        return rwkv__fail(q->error, RWKV_ERR_MEMORY, 0, "no memory for a state (%u bytes)",
                          rwkv__state_size(q->m));
    q->part_path = (char *)rwkv__need(q, "a path", n);
    q->bytes = (unsigned char *)rwkv__need(q, "a tensor", bytes);
    q->sums = (double *)rwkv__need(q, "errors", panels * 4 * sizeof(double));
    q->work = (float *)rwkv__need(q, "the panels of threads",
                                  (uint64_t)q->m->n_threads * RWKV__WORK * sizeof(float));
    if (!q->part_path || !q->bytes || !q->sums || !q->work)
        return RWKV_ERR_MEMORY;
    memcpy(q->part_path, q->path, (size_t)n - sizeof ".part");
    memcpy(q->part_path + n - sizeof ".part", ".part", sizeof ".part");
    if (q->file.type == RWKV_TYPE_Q4) {
        result = rwkv__need_text(q);
        if (result != RWKV_OK)
            return result;
    }
    return rwkv__write_part(q);
}

/* Give everything back but the path. The model too, because some systems do not
 * replace a file that is mapped.                                             */
static void rwkv__end_quantizer(rwkv__quantizer *q)
{
    const rwkv_allocator *allocator = &q->m->allocator;
    rwkv__release(allocator, q->sum);
    rwkv__release(allocator, q->h[0]);
    rwkv__release(allocator, q->x);
    rwkv__release(allocator, q->tokens);
    rwkv__release(allocator, q->work);
    rwkv__release(allocator, q->sums);
    rwkv__release(allocator, q->bytes);
    rwkv_state_free(q->state);
    rwkv_free(q->m);
}

RWKV_API rwkv_result rwkv_quantize_with(const char *in_path, const char *out_path, rwkv_type type,
                                        const rwkv_options *options,
                                        void (*report)(const rwkv_quantized *matrix, void *user),
                                        void *user, rwkv_error *error)
{
    rwkv__quantizer q;
    rwkv_options    own;
    rwkv_error      unasked;
    rwkv_result     result;
    memset(&unasked, 0, sizeof unasked);
    error = error ? error : &unasked;
    rwkv__clear(error);
    if (!in_path || !out_path)
        return rwkv__fail(error, RWKV_ERR_ARGUMENT, 0, "path is NULL");
    if (type != RWKV_TYPE_Q8 && type != RWKV_TYPE_Q4)
        return rwkv__fail(error, RWKV_ERR_ARGUMENT, 0, "type is %u, must be %u (Q8) or %u (Q4)",
                          (uint64_t)type, (uint64_t)RWKV_TYPE_Q8, (uint64_t)RWKV_TYPE_Q4);
    if (rwkv__is_special(out_path)) /* it would be replaced by a file               */
        return rwkv__fail(error, RWKV_ERR_FILE, 0, "%s: not a regular file", out_path);
    memset(&own, 0, sizeof own);
    if (options)
        own = *options;
    own.flags = 0;
    own.chunk = type == RWKV_TYPE_Q4 ? RWKV__BLOCK : 1;
    memset(&q, 0, sizeof q);
    q.m = rwkv_load(in_path, &own, error);
    if (!q.m)
        return error->code;
    q.path = out_path;
    q.report = report;
    q.user = user;
    q.error = error;
    q.file = q.m->file;
    q.file.type = (uint32_t)type;
    q.told.total = 7 * rwkv__L(q.m) + 1;
    rwkv__choose_bits(&q.file);
    if (q.m->file.type > RWKV_TYPE_BF16)
        result = rwkv__fail(error, RWKV_ERR_UNSUPPORTED, 16,
                            "%s: has type %u already, a file of 32 or 16 bits is needed", in_path,
                            (uint64_t)q.m->file.type);
    else
        result = rwkv_verify(q.m, error);
    if (result == RWKV_OK)
        result = rwkv__run_quantizer(&q);
    rwkv__end_quantizer(&q);
    if (result == RWKV_OK && !rwkv__replace(out_path, q.part_path)) {
        result = rwkv__fail(error, RWKV_ERR_FILE, 0, "%s: cannot be renamed to %s", q.part_path,
                            out_path);
        remove(q.part_path);
    }
    rwkv__release(&own.allocator, q.part_path);
    return result;
}

RWKV_API rwkv_result rwkv_quantize(const char *in_path, const char *out_path, rwkv_type type,
                                   rwkv_error *error)
{
    return rwkv_quantize_with(in_path, out_path, type, NULL, NULL, NULL, error);
}
#endif

/* ============================================================================
 * 19. MARK: end                                                         >>end
 *
 * What is left: the version, and the licence.
 * ========================================================================== */
RWKV_API int rwkv_version(void)
{
    return RWKV_VERSION;
}

#ifdef __cplusplus
}
#endif
#define RWKV__DONE
#endif /* RWKV_IMPLEMENTATION, second part */

/* MIT License. Copyright (c) 2026 the rwkv.h authors
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy
 * of this software and associated documentation files (the "Software"), to deal
 * in the Software without restriction, including without limitation the rights
 * to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 * copies of the Software, and to permit persons to whom the Software is
 * furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in
 * all copies or substantial portions of the Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 * IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 * FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 * AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
 * LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 * OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
 * SOFTWARE.                                                                  */
