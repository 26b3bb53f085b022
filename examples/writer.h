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
    int           n_word, word_columns;
    rwkv_utf8     utf8;           /* a character so far                          */
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

/* Write what makes whole characters; the rest waits for the next call. NULL: there
 * is none, and what waits is replaced.                                        */
static inline void writer_put(writer *w, const char *text, size_t size)
{
    char out[3 * (64 + 3)];
    do {
        int part = size < 64 ? (int)size : 64, at, n;
        int end = rwkv_utf8_push(&w->utf8, text, part, out, sizeof out);
        for (at = 0; at < end; at += n) {
            unsigned char first = (unsigned char)out[at];
            n = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
            writer_char(w, (const unsigned char *)out + at, n);
        }
        if (text) text += part;
        size -= (size_t)part;
    } while (size > 0);
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
    writer_put(w, NULL, 0);
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
