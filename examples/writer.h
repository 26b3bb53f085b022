/* writer.h: text on its way out, a token at a time. Whole UTF-8 characters only;
 * on a terminal lines break between words, and what could command the terminal
 * is not passed on. Include it after common.h.                                */
#ifndef WRITER_H
#define WRITER_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__unix__) || defined(__APPLE__)
#include <sys/ioctl.h>
#include <unistd.h>
#endif

typedef struct writer {
    FILE         *file;
    int           width, column;  /* of the terminal; width 0: it is none        */
    int           spaces;         /* before the word                             */
    int           n_part, n_word, word_columns;
    unsigned char part[4];        /* a character so far                          */
    char          word[128];      /* a word so far                               */
    char          last;           /* byte written                                */
    int           error;          /* errno of the first write that failed, or 0  */
} writer;

static inline int is_terminal(FILE *file)
{
#ifdef _POSIX_VERSION
    return isatty(fileno(file));
#else
    return file == NULL;
#endif
}

static inline writer writer_to(FILE *file)
{
    writer w;
    memset(&w, 0, sizeof w);
    w.file = file;
    w.width = is_terminal(file) ? 80 : 0;
#ifdef TIOCGWINSZ
    {
        struct winsize s;
        if (w.width && ioctl(fileno(file), TIOCGWINSZ, &s) == 0 && s.ws_col && s.ws_col < 80)
            w.width = s.ws_col;
    }
#endif
#ifdef SIGPIPE
    signal(SIGPIPE, SIG_IGN); /* a reader that leaves is an error of fflush */
#endif
    return w;
}

static inline void writer_word(writer *w)
{
    if (w->n_word == 0) return;
    if (w->column && w->column + w->spaces + w->word_columns > w->width) {
        fputc('\n', w->file);
        w->column = w->spaces = 0;
    }
    fprintf(w->file, "%*s%.*s", w->spaces, "", w->n_word, w->word);
    w->column += w->spaces + w->word_columns;
    w->spaces = w->n_word = w->word_columns = 0;
}

/* Change how a terminal shows what follows: "1" bold, "2" faint, "0" as usual. */
static inline void writer_style(writer *w, const char *style)
{
    if (w->width == 0 || getenv("NO_COLOR")) return;
    writer_word(w);
    fprintf(w->file, "\033[%sm", style);
}

static inline void writer_char(writer *w, const unsigned char *bytes, int n)
{
    int wide = n > 2 && bytes[0] > 0xE2; /* scripts that break a line anywhere */
    w->last = (char)bytes[n - 1];
    if (w->width == 0) { fwrite(bytes, 1, (size_t)n, w->file); return; }
    if (bytes[0] == '\n' || bytes[0] == ' ' || wide || w->n_word > 120) writer_word(w);
    if (bytes[0] == '\n') {
        fputc('\n', w->file);
        w->column = w->spaces = 0;
    } else if (bytes[0] == ' ') {
        w->spaces++;
    } else { /* what could command the terminal becomes '?' */
        int control = bytes[0] < 0x20 || bytes[0] == 0x7F || (bytes[0] == 0xC2 && bytes[1] < 0xA0);
        if (control) n = 1;
        memcpy(w->word + w->n_word, control ? "?" : (const char *)bytes, (size_t)n);
        w->n_word += n;
        w->word_columns += wide ? 2 : 1;
    }
}

/* Bytes that one UTF-8 character that begins with `c` has; 0: none does. */
static inline int utf8_length(unsigned c)
{
    return c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
}

/* Can `c` be byte number n >= 1 of a character that begins with `first`? */
static inline int utf8_fits(unsigned first, int n, unsigned c)
{
    unsigned low = n > 1 ? 0x80 : first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned high = n > 1 ? 0xBF : first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    return c >= low && c <= high;
}

/* Write what makes whole characters, keep the rest for the next call. What can
 * never become one is written as U+FFFD.                                      */
static inline void writer_put(writer *w, const char *text, size_t size)
{
    static const unsigned char replacement[] = {0xEF, 0xBF, 0xBD};
    size_t i;
    for (i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (w->n_part && !utf8_fits(w->part[0], w->n_part, c)) {
            w->n_part = 0;
            writer_char(w, replacement, 3);
        }
        if (w->n_part == 0 && utf8_length(c) == 0) { writer_char(w, replacement, 3); continue; }
        w->part[w->n_part++] = c;
        if (w->n_part == utf8_length(w->part[0])) {
            int n = w->n_part;
            w->n_part = 0;
            writer_char(w, w->part, n);
        }
    }
}

/* The reader sees it now. 0 if it could not be written. */
static inline int writer_flush(writer *w)
{
    int failed = fflush(w->file) != 0 || ferror(w->file);
    if (failed && !w->error) w->error = errno;
    return !failed;
}

/* The text of a token, seen at once. 0 if it could not be written. */
static inline int writer_token(writer *w, const rwkv_model *model, int token)
{
    int         size = 0;
    const char *bytes = rwkv_token_bytes(model, token, &size);
    writer_put(w, bytes, (size_t)size);
    return writer_flush(w);
}

/* End the text, and the line. 0 if not all could be written. */
static inline int writer_end(writer *w)
{
    if (w->n_part) writer_put(w, "\n", 1); /* the tail becomes U+FFFD */
    writer_word(w);
    if (w->last != '\n') fputc('\n', w->file);
    w->column = w->spaces = 0;
    w->last = '\n';
    return writer_flush(w);
}

/* End the program because of w->error. A reader that has left, as head does,
 * wants no more: then there is nothing to say.                                */
static inline void writer_quit(const writer *w)
{
#ifdef EPIPE
    if (w->error == EPIPE) exit(0);
#endif
    fail(1, "standard output: %s", strerror(w->error));
}
#endif
