/* common.h: what the example programs share: errors, the clock, Ctrl-C, options,
 * files, models, sessions. #define PROGRAM, the program's name, and include it
 * before anything else: it asks for POSIX.                                    */
#ifndef COMMON_H
#define COMMON_H

#if defined(__unix__) || defined(__APPLE__)
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* POSIX of 2008, with realpath */
#endif
#include <sys/stat.h>
#include <unistd.h>
#elif defined(_WIN32)
#include <io.h>
#include <process.h>
#endif

#include "../rwkv.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- errors: one line each; status 1: the world failed, 2: the command line */

static inline void complain(const char *format, va_list args)
{
    fflush(stdout);
    fputs(PROGRAM ": ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

static inline void warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
}

static inline void fail(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
    exit(status);
}

static inline void *grab(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        fail(1, "no memory for %lu x %lu bytes", (unsigned long)count, (unsigned long)size);
    return memory;
}

/* Text that grows. There is always a NUL after its last byte, once it has one. */
typedef struct buffer {
    char  *bytes;
    size_t size, capacity;
} buffer;

static inline void add_text(buffer *t, const char *bytes, size_t size)
{
    if (size >= t->capacity - t->size) {
        size_t need = size < (size_t)-1 / 4 ? t->size + size + 1 : 0;
        char  *more = need && need < (size_t)-1 / 2 ? (char *)realloc(t->bytes, 2 * need) : NULL;
        if (!more) fail(1, "no memory for a text of over %lu bytes", (unsigned long)t->size);
        t->bytes = more;
        t->capacity = 2 * need;
    }
    if (size) memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
    t->bytes[t->size] = '\0';
}

/* Wall clock in seconds, from any beginning. */
static inline double seconds(void)
{
#if defined(CLOCK_MONOTONIC) && !defined(_WIN32) /* where clock() is wall time */
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#else
    return (double)clock() / CLOCKS_PER_SEC;
#endif
}

static inline double rate(int n, double time) { return time > 0 ? n / time : 0; }

/* ---- the terminal --------------------------------------------------------- */

static inline int is_terminal(FILE *file)
{
#if defined(_POSIX_VERSION)
    return isatty(fileno(file));
#elif defined(_WIN32)
    return _isatty(_fileno(file)) != 0;
#else
    return file == NULL;
#endif
}

static volatile sig_atomic_t interrupted;

static inline void on_signal(int number) { interrupted = number; }

/* From now on this signal sets `interrupted`, once: a second one ends the program.
 * Nothing changes if the program was started to ignore it.                    */
static inline void catch_signal(int number)
{
#ifdef SA_RESTART
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | (int)SA_RESETHAND;
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
#else
    if (signal(number, on_signal) == SIG_IGN) signal(number, SIG_IGN);
#endif
}

/* Ctrl-C. */
static inline void catch_interrupt(void)
{
    interrupted = 0;
    catch_signal(SIGINT);
}

/* Ctrl-C ends the program again. */
static inline void release_interrupt(void)
{
    if (signal(SIGINT, SIG_DFL) == SIG_IGN) signal(SIGINT, SIG_IGN);
}

/* ---- options -------------------------------------------------------------- */

#define MAX_LIST 32   /* times that an option of kind l may be given */
#define MAX_ITEM 255  /* bytes of each */

typedef struct list {
    const char *item[MAX_LIST];
    int         n;
} list;

typedef struct option {
    const char *name;
    char        kind; /* i int, f float, u uint64_t, s text, n the name of a file,
                         l one more of a list; 1, 0: set an int to that */
    void       *value;
    double      low, high;
} option;

#define SAMPLER_OPTIONS(s)                                                                         \
    {"--temperature", 'f', &(s).temperature, 0, 100}, {"--top-p", 'f', &(s).top_p, 0, 1},          \
    {"--top-k", 'i', &(s).top_k, 0, 16777216}, {"--presence", 'f', &(s).presence, -100, 100},      \
    {"--frequency", 'f', &(s).frequency, -100, 100}, {"--decay", 'f', &(s).decay, 0, 1},           \
    {"--min-p", 'f', &(s).min_p, 0, 1}, {"--seed", 'u', &(s).seed, 0, 0}
#define HELP_OPTIONS(help)                                                                         \
    {"--help", '1', &(help), 0, 0}, {"-h", '1', &(help), 0, 0}, {NULL, 0, NULL, 0, 0}
#define SAMPLER_USAGE(seed)                                                                        \
    "  --temperature X  0: always the most probable token; higher: bolder (%g)\n"                  \
    "  --top-p X        choose among the likeliest tokens that make up X; 0: all (%g)\n"           \
    "  --top-k N        choose among the N likeliest tokens; 0: all (%d)\n"                        \
    "  --min-p X        leave out what is less than X times as likely as the likeliest (%g)\n"     \
    "  --presence X     make tokens that have occurred less likely (%g)\n"                         \
    "  --frequency X    the same for every time they have occurred (%g)\n"                         \
    "  --decay X        how occurrences fade with every token; 0: not at all (%g)\n"               \
    "  --seed N         the same seed writes the same text (" seed ")\n"

#define SAMPLER_DEFAULTS(s)                                                                        \
    (double)(s).temperature, (double)(s).top_p, (s).top_k, (double)(s).min_p,                      \
    (double)(s).presence, (double)(s).frequency, (double)(s).decay

static inline void add_item(list *l, const char *name, const char *text)
{
    size_t size = strlen(text);
    if (size < 1 || size > MAX_ITEM)
        fail(2, "%s: expected 1 to %d bytes, found %lu", name, MAX_ITEM, (unsigned long)size);
    if (l->n == MAX_LIST) fail(2, "%s \"%s\": more than %d of them", name, text, MAX_LIST);
    l->item[l->n++] = text;
}

static inline void parse_value(const option *o, const char *text)
{
    char *end = NULL;
    errno = 0;
    if (o->kind == 'l') { add_item((list *)o->value, o->name, text); return; }
    if (o->kind == 's' || o->kind == 'n') {
        if (o->kind == 'n' && !*text)
            fail(2, "%s: expected the name of a file, found \"\"", o->name);
        *(const char **)o->value = text;
    } else if (o->kind == 'u') {
        *(uint64_t *)o->value = strtoull(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || *end || errno)
            fail(2, "%s: expected a whole number from 0 to 18446744073709551615, found \"%s\"",
                 o->name, text);
    } else {
        double number = strtod(text, &end);
        int    whole = o->kind == 'i';
        if (end == text || *end || !(number >= o->low && number <= o->high) ||
            (whole && number != (double)(long)number))
            fail(2, "%s: expected a %snumber from %.10g to %.10g, found \"%s\"", o->name,
                 whole ? "whole " : "", o->low, o->high, text);
        if (whole) *(int *)o->value = (int)number;
        else *(float *)o->value = (float)number;
    }
}

/* Put the arguments that are no options into words[0 .. max_words) and return
 * how many there are. `options` ends with a NULL name. "--" ends the options.  */
static inline int parse_options(int argc, char **argv, const option *options,
                                const char **words, int max_words)
{
    int i, n_words = 0, ended = 0;
    for (i = 1; i < argc; i++) {
        const char   *arg = argv[i], *equals = strchr(arg, '=');
        const option *o = options;
        size_t        length = equals ? (size_t)(equals - arg) : strlen(arg);
        if (ended || arg[0] != '-' || arg[1] == '\0') {
            if (n_words == max_words) fail(2, "one argument too many: \"%s\" (try --help)", arg);
            words[n_words++] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) { ended = 1; continue; }
        while (o->name && (strlen(o->name) != length || strncmp(o->name, arg, length) != 0)) o++;
        if (!o->name) fail(2, "no such option: %s (try --help)", arg);
        if (o->kind == '0' || o->kind == '1') {
            if (equals) fail(2, "%s: expected no value, found \"%s\"", o->name, equals + 1);
            *(int *)o->value = o->kind - '0';
        } else if (equals) {
            parse_value(o, equals + 1);
        } else {
            if (i + 1 == argc) fail(2, "%s: expected a value after it (try --help)", o->name);
            parse_value(o, argv[++i]);
        }
    }
    return n_words;
}

/* ---- files ---------------------------------------------------------------- */

/* Everything up to `stop` (a character; EOF: to the end of the file), added to
 * *t. 0 if the file was at its end already and `stop` is a character.         */
static inline int read_until(FILE *file, const char *name, int stop, buffer *t)
{
    size_t before = t->size;
    int    c;
    add_text(t, NULL, 0);
    while ((c = getc(file)) != EOF && c != stop) {
        char byte = (char)c;
        add_text(t, &byte, 1);
    }
    if (ferror(file)) fail(1, "%s: %s", name, strerror(errno));
    return c == stop || t->size > before;
}

/* What messages call it. */
static inline const char *file_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : *path ? path : "\"\"";
}

/* Open the file at *path, which becomes its name for messages; "-" is standard
 * input. NULL, and why is said, if it cannot be opened or not one byte of it can
 * be read, as with a folder.                                                  */
static inline FILE *open_text(const char **path)
{
    FILE *file = strcmp(*path, "-") == 0 ? stdin : fopen(*path, "rb");
    int   c = file ? getc(file) : EOF;
    *path = file_name(*path);
    if (c != EOF) ungetc(c, file);
    if (file && !ferror(file)) return file;
    warn("%s: %s", *path, strerror(errno));
    if (file && file != stdin) fclose(file);
    return NULL;
}

static inline char *read_file(const char *path, size_t *size)
{
    FILE  *file = open_text(&path);
    buffer t = {NULL, 0, 0};
    if (!file) exit(1);
    read_until(file, path, EOF, &t);
    if (file != stdin) fclose(file);
    *size = t.size;
    return t.bytes;
}

/* The same without the newline at its end, which most files have and few prompts
 * mean: the text would go on in the next line.                                */
static inline char *read_prompt_file(const char *path, size_t *size)
{
    char *text = read_file(path, size);
    if (*size && text[*size - 1] == '\n') --*size;
    if (*size && text[*size] == '\n' && text[*size - 1] == '\r') --*size;
    return text;
}

/* A file, line by line. */
typedef struct lines {
    const char   *name;         /* of the file                                   */
    const char   *text, *end;   /* what is left of it                            */
    unsigned long number;       /* of the last line, from 1 on                   */
} lines;

/* `text`, which was read from the file at `path`. */
static inline lines lines_of(const char *path, const char *text, size_t size)
{
    lines l;
    l.name = file_name(path);
    l.text = text;
    l.end = text + size;
    l.number = 0;
    return l;
}

/* The next line that is not empty, without its end; NULL: there is none. */
static inline const char *next_line(lines *l, size_t *length)
{
    while (l->text < l->end) {
        const char *line = l->text;
        const char *stop = (const char *)memchr(line, '\n', (size_t)(l->end - line));
        l->text = stop ? stop + 1 : l->end;
        l->number++;
        *length = (size_t)((stop ? stop : l->end) - line);
        while (*length && line[*length - 1] == '\r') --*length;
        if (*length) return line;
    }
    return NULL;
}

/* Bytes from here to the end of a file; 0: it cannot tell. */
static inline double bytes_left(FILE *file)
{
    long here = ftell(file), end;
    if (here < 0 || fseek(file, 0, SEEK_END) != 0) return 0;
    end = ftell(file);
    if (fseek(file, here, SEEK_SET) != 0) fail(1, "cannot go back in the file");
    return end > here ? (double)end - (double)here : 0;
}

static inline int exists(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    else if (errno != ENOENT) fail(1, "%s: %s", path, strerror(errno));
    return file != NULL;
}

/* ",  37 %, 0:01:02 left", if the size of it all is known: `done` took `time`. */
static inline void add_left(char *line, double size, double done, double time)
{
    double left = fmax(0, time * (size / done - 1));
    if (size > 0 && done > 0)
        sprintf(line, ", %3.0f %%, %.0f:%02.0f:%02.0f left", 100 * done / size, floor(left / 3600),
                floor(fmod(left / 60, 60)), floor(fmod(left, 60)));
}

/* The file that is meant by a path, which may be a link to it.               */
static inline char *target_of(const char *path)
{
    char *target = NULL;
#if defined(_POSIX_VERSION)
    target = realpath(path, NULL);
#endif
    return target ? target : strcpy((char *)grab(strlen(path) + 1, 1), path);
}

/* A file that takes the place of an old one only when it is complete, and may then
 * be read by whom that may be.                                                */
typedef struct out_file {
    FILE *file;          /* NULL: not open                                       */
    char *target, *part; /* what it becomes, and its name until then             */
    int   in_place;      /* a device or a pipe: written to as it is              */
} out_file;

/* 0 if it cannot be made. No two programs that run at the same time have the same
 * part, and none is in the way of a later program if this one dies.           */
static inline int out_open(out_file *o, const char *path)
{
#if defined(_POSIX_VERSION)
    unsigned long own = (unsigned long)getpid();
    struct stat   old;
#elif defined(_WIN32)
    unsigned long own = (unsigned long)_getpid();
#else
    unsigned long own = 0;
#endif
    int there = 0;
    o->in_place = 0;
    o->target = target_of(path);
    o->part = (char *)grab(strlen(o->target) + 64, 1);
    sprintf(o->part, "%s.%lu-%lu.part", o->target, (unsigned long)time(NULL), own);
#if defined(_POSIX_VERSION)
    there = stat(o->target, &old) == 0;
    o->in_place = there && !S_ISREG(old.st_mode);
#endif
    o->file = fopen(o->in_place ? o->target : o->part, "wb");
#if defined(_POSIX_VERSION)
    if (o->file && there && !o->in_place)
        return fchmod(fileno(o->file), old.st_mode & 0777) == 0;
#endif
    return o->file != NULL;
}

/* Put it in its place if it is complete, `ok`. Otherwise, or if that fails, nothing
 * is left of it, and errno is what went wrong first. Returns whether it is in its
 * place.                                                                      */
static inline int out_close(out_file *o, int ok)
{
    int made = o->file != NULL, good = ok, why = errno;
    if (made && fclose(o->file) != 0) good = 0;
#ifdef _WIN32
    if (good) remove(o->target);
#endif
    good = good && (o->in_place || rename(o->part, o->target) == 0);
    if (ok) why = errno;
    if (made && !good && !o->in_place) remove(o->part);
    free(o->part);
    free(o->target);
    o->file = NULL;
    errno = why;
    return good;
}

/* Fail now if write_file would. */
static inline void check_writable(const char *path)
{
    out_file o;
    int    ok = out_open(&o, path);
    out_close(&o, 0);
    if (!ok) fail(1, "%s: cannot be written: %s", path, strerror(errno));
}

/* 0, and why is said, if that fails. */
static inline int write_file(const char *path, const char *data, size_t size)
{
    out_file o;
    int    ok = out_open(&o, path);
    ok = ok && fwrite(data, 1, size, o.file) == size;
    ok = out_close(&o, ok);
    if (!ok) warn("%s: %s, writing %lu bytes", path, strerror(errno), (unsigned long)size);
    return ok;
}

/* ---- models --------------------------------------------------------------- */

/* A model that can read text. */
static inline rwkv_model *open_model(const char *path, const rwkv_options *options)
{
    rwkv_error  error;
    rwkv_model *model;
    rwkv_info   info;
    int         i = 0;
    char        known[128] = "";
    if (!path || !*path)
        fail(2, "expected a model file%s (try --help)", path ? ", found \"\"" : "");
    while (options && options->isa && rwkv_isa_available(i) &&
           strcmp(rwkv_isa_available(i), options->isa) != 0) {
        strncat(known, i ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, rwkv_isa_available(i++), sizeof known - strlen(known) - 1);
    }
    if (options && options->isa && !rwkv_isa_available(i))
        fail(2, "--isa: expected one of %s, found \"%s\"", known, options->isa);
    model = rwkv_load(path, options, &error);
    if (!model) { /* some messages name the file themselves */
        int named = strncmp(error.message, path, strlen(path)) == 0;
        fail(1, "%s%s%s", named ? "" : path, named ? "" : ": ", error.message);
    }
    info = rwkv_model_info(model);
    if (info.tokenizer == RWKV_TOKENIZER_NONE)
        fail(1, "%s: no tokenizer in the file (tools/convert_pth.py --vocab puts one in)", path);
    return model;
}

static inline rwkv_state *new_state(const rwkv_model *model)
{
    rwkv_state *state = rwkv_state_new(model);
    if (!state) fail(1, "no memory for a state of %lu bytes",
                     (unsigned long)rwkv_model_info(model).state_bytes);
    return state;
}

/* Token 0 ends a text and stands before the next one, unless it is text itself,
 * as in a vocabulary of bytes: then there is no such token and this is -1.    */
static inline int end_of_text(const rwkv_model *model)
{
    int length = 0;
    return rwkv_token_bytes(model, 0, &length) && length > 0 ? -1 : 0;
}

/* How many tokens a text has; negative, and why is said, if it cannot be read. The
 * message calls it `name`, and if it is a line of that file, gives its number
 * (else 0).                                                                   */
static inline int count_tokens(const rwkv_model *model, const char *name, unsigned long line,
                               const char *text, size_t size)
{
    int    n = size > INT_MAX / 2 ? -RWKV_ERR_ARGUMENT : rwkv_tokenize(model, text, size, NULL, 0);
    size_t i = 0;
    char   where[32] = "";
    if (line) sprintf(where, ", line %lu", line);
    if (n == -RWKV_ERR_MISMATCH) {
        while (i < size && rwkv_tokenize(model, text + i, 1, NULL, 0) >= 0) i++;
        warn("%s%s: a byte that no token has, byte %lu: %02X hexadecimal; is it UTF-8?", name,
             where, (unsigned long)i, i < size ? (unsigned)(unsigned char)text[i] : 0);
    } else if (n == -RWKV_ERR_ARGUMENT) {
        warn("%s%s: %lu bytes of text: at most %d", name, where, (unsigned long)size, INT_MAX / 2);
    } else if (n < 0) {
        warn("%s%s: %s", name, where, rwkv_result_string((rwkv_result)-n));
    }
    return n;
}

/* The tokens of a text; NULL, and why is said, if it cannot be read. */
static inline int *try_tokens(const rwkv_model *model, const char *name, unsigned long line,
                              const char *text, size_t size, int *n)
{
    int *tokens;
    *n = count_tokens(model, name, line, text, size);
    if (*n < 0) return NULL;
    tokens = (int *)grab((size_t)*n, sizeof *tokens);
    rwkv_tokenize(model, text, size, tokens, *n);
    return tokens;
}

/* Fail if a text cannot be read, which begins at byte `at` of the file `name`. */
static inline void check_text(const rwkv_model *model, const char *name, double at,
                              const char *text, size_t size)
{
    if (count_tokens(model, name, 0, text, size) >= 0) return;
    if (at > 0) warn("%s: counted from byte %.0f on", name, at);
    exit(1);
}

static inline int *tokens_of(const rwkv_model *model, const char *name, const char *text,
                             size_t size, int *n)
{
    int *tokens = try_tokens(model, name, 0, text, size, n);
    if (!tokens) exit(1);
    return tokens;
}

static inline void read_text(const rwkv_model *model, rwkv_state *state, const char *text,
                             size_t size)
{
    int n, *tokens = tokens_of(model, "the text", text, size, &n);
    rwkv_eval_sequence(tokens, n, state);
    free(tokens);
}

/* Begin a text: with `bos` after the end of the one before, if the model has such a
 * token. Returns how many tokens that is, 1 or 0.                             */
static inline int begin_text(const rwkv_model *model, rwkv_state *state, int bos)
{
    rwkv_state_reset(state);
    return bos && end_of_text(model) == 0 && rwkv_eval(0, state) != NULL;
}

/* The tokens of a prompt, which begins a text. Fails if there are none. */
static inline int *prompt_tokens(const rwkv_model *model, const char *text, size_t size, int bos,
                                 int *n)
{
    int begin = bos && end_of_text(model) == 0, *tokens;
    *n = count_tokens(model, "the text", 0, text, size);
    if (*n < 0) exit(1);
    if (*n + begin == 0)
        fail(2, "nothing to go on from: the prompt is empty and no token comes before");
    tokens = (int *)grab((size_t)(*n + begin), sizeof *tokens); /* zeros */
    rwkv_tokenize(model, text, size, tokens + begin, *n);
    *n += begin;
    return tokens;
}

/* The token that TOKEN of "TOKEN" or "TOKEN=X" names: by its number or its text. */
static inline int token_named(const rwkv_model *model, const char *option_name, const char *name,
                              size_t size)
{
    int n, token, *tokens, n_vocab = rwkv_model_info(model).n_vocab;
    if (size && strspn(name, "0123456789") >= size) {
        if (size > 9 || atoi(name) >= n_vocab)
            fail(2, "%s: expected a token from 0 to %d, found %.*s", option_name, n_vocab - 1,
                 (int)size, name);
        return atoi(name);
    }
    tokens = tokens_of(model, option_name, name, size, &n);
    token = tokens[0];
    free(tokens);
    if (n != 1)
        fail(2, "%s: expected 1 token, found %d in \"%.*s\"", option_name, n, (int)size, name);
    return token;
}

/* What --ban and --bias ask for; returns how many there are. */
static inline int read_biases(const rwkv_model *model, const list *ban, const list *bias,
                              rwkv_bias *biases)
{
    int i, n = 0;
    for (i = 0; i < ban->n; i++, n++) {
        biases[n].token = token_named(model, "--ban", ban->item[i], strlen(ban->item[i]));
        biases[n].add = -INFINITY;
    }
    for (i = 0; i < bias->n; i++, n++) {
        const char  *equals = strrchr(bias->item[i], '=');
        const option o = {"--bias", 'f', &biases[n].add, -1000, 1000};
        if (!equals) fail(2, "--bias: expected TOKEN=X, found \"%s\"", bias->item[i]);
        biases[n].token = token_named(model, "--bias", bias->item[i],
                                      (size_t)(equals - bias->item[i]));
        parse_value(&o, equals + 1);
    }
    return n;
}

/* ---- sessions: a saved state and the 8 bytes of the sampler's seed, lowest first */

/* Is there nothing yet, or a file that begins as a saved state does? */
static inline int may_replace(const char *path, const char *data)
{
    char  begin[8];
    FILE *file = fopen(path, "rb");
    int   ok = !file || (fread(begin, 1, 8, file) == 8 && memcmp(begin, data, 8) == 0);
    if (file) fclose(file);
    if (!ok) warn("%s: is no session, so it is not replaced by one", path);
    return ok;
}

static inline int save_session(const rwkv_state *state, const rwkv_sampler *sampler,
                               const char *path)
{
    size_t size = rwkv_state_save(state, NULL, 0), i;
    char  *data = (char *)grab(size + 8, 1);
    int    ok;
    rwkv_state_save(state, data, size);
    for (i = 0; i < 8; i++) data[size + i] = (char)(sampler->seed >> (8 * i) & 255);
    ok = may_replace(path, data) && write_file(path, data, size + 8);
    free(data);
    return ok;
}

static inline int load_session(rwkv_state *state, rwkv_sampler *sampler, const char *path)
{
    size_t      need = rwkv_state_save(state, NULL, 0), most = need + 9, size, i;
    char       *data = (char *)grab(most, 1);
    FILE       *file = open_text(&path);
    rwkv_result result = RWKV_ERR_FILE;
    size = file ? fread(data, 1, most, file) : 0;
    if (file && !ferror(file))
        result = size < need || size == need + 8
                     ? rwkv_state_load(state, data, size < need ? size : need)
                     : RWKV_ERR_FORMAT;
    if (result == RWKV_ERR_MISMATCH)
        warn("%s: belongs to another model file", path);
    else if (file && (size == need + 8 || result == RWKV_ERR_FILE) && result != RWKV_OK)
        warn("%s: %s", path, rwkv_result_string(result));
    else if (file && result != RWKV_OK)
        warn("%s: %s (%lu bytes%s; a session of this model has %lu)", path,
             rwkv_result_string(result), (unsigned long)size, size == most ? " or more" : "",
             (unsigned long)need + 8);
    if (file && file != stdin) fclose(file);
    if (result == RWKV_OK)
        for (sampler->seed = 0, i = 0; i < 8; i++)
            sampler->seed |= (uint64_t)(unsigned char)data[need + i] << (8 * i);
    free(data);
    return result == RWKV_OK;
}

/* Go on from the session in the file if there is one; *file becomes its name. Fails
 * if there is one that cannot be used, or if none could be kept there later.  */
static inline void open_session(rwkv_state *state, rwkv_sampler *sampler, const char *path,
                                buffer *file)
{
    add_text(file, path, strlen(path));
    if (exists(path) && !load_session(state, sampler, path)) exit(1);
    check_writable(path);
}
#endif
