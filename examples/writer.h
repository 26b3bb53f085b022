/* writer.h: text on its way out, a token at a time. Whole UTF-8 characters only;
 * on a terminal lines break between words, and what could command the terminal
 * is not passed on. Then: stop strings. Include it after common.h.            */
#ifndef WRITER_H
#define WRITER_H

#if defined(__unix__) || defined(__APPLE__)
#include <sys/ioctl.h>
#endif

typedef struct writer {
    FILE         *file;
    int           width, column;  /* of the terminal; width 0: it is none        */
    int           spaces;         /* before the word                             */
    int           n_word, word_columns;
    char          word[128];      /* a word so far                               */
    rwkv_utf8     part;           /* a character so far                          */
    int           trim;           /* leave out blanks until there is anything else */
    char          last;           /* byte written                                */
    int           error;          /* errno of the first write that failed, or 0  */
} writer;

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

/* The same for the rows of a table, which are not broken. */
static inline writer table_to(FILE *file)
{
    writer w = writer_to(file);
    if (w.width) w.width = INT_MAX;
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

/* Change how a terminal shows what follows: "1" bold, "0" as usual. Not where
 * NO_COLOR is set, or where no TERM says that the terminal knows such commands. */
static inline void writer_style(writer *w, const char *style)
{
    const char *terminal = getenv("TERM");
    if (w->width == 0 || getenv("NO_COLOR") || !terminal || !strcmp(terminal, "dumb")) return;
    writer_word(w);
    fprintf(w->file, "\033[%sm", style);
}

static inline void writer_char(writer *w, const unsigned char *bytes, int n)
{
    int wide = n > 2 && bytes[0] > 0xE2; /* scripts that break a line anywhere */
    if (w->trim && (bytes[0] == ' ' || bytes[0] == '\n')) return;
    w->trim = 0;
    w->last = (char)bytes[n - 1];
    if (w->width == 0) { fwrite(bytes, 1, (size_t)n, w->file); return; }
    if (bytes[0] == '\n' || bytes[0] == ' ' || wide || w->n_word > 120) writer_word(w);
    if (bytes[0] == '\n') {
        fputc('\n', w->file);
        w->column = w->spaces = 0;
    } else if (bytes[0] == ' ') {
        w->spaces++;
    } else if (bytes[0] == '\t') {
        writer_word(w);
        w->spaces += 8 - (w->column + w->spaces) % 8;
    } else if (bytes[0] != '\r') { /* what could command the terminal becomes '?' */
        int control = bytes[0] < 0x20 || bytes[0] == 0x7F || (bytes[0] == 0xC2 && bytes[1] < 0xA0);
        if (control) n = 1;
        memcpy(w->word + w->n_word, control ? "?" : (const char *)bytes, (size_t)n);
        w->n_word += n;
        w->word_columns += wide ? 2 : 1;
    }
}

/* Write what makes whole characters, keep the rest for the next call. What can
 * never become one is written as U+FFFD. text = NULL: there is no next call.  */
static inline void writer_put(writer *w, const char *text, size_t size)
{
    unsigned char whole[3 * (64 + 3)];
    size_t        at = 0;
    do {
        int part = size - at < 64 ? (int)(size - at) : 64, i = 0;
        int n = rwkv_utf8_push(&w->part, text ? text + at : NULL, part, (char *)whole,
                               (int)sizeof whole);
        while (i < n) {
            int length = whole[i] < 0x80 ? 1 : whole[i] < 0xE0 ? 2 : whole[i] < 0xF0 ? 3 : 4;
            writer_char(w, whole + i, length);
            i += length;
        }
        at += (size_t)part;
    } while (at < size);
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

/* The end of main: fails if not all could be written. Returns 0. */
static inline int writer_close(writer *w)
{
    if (!writer_flush(w)) writer_quit(w);
    return 0;
}

/* The same, if nothing but printf wrote, as for --help. */
static inline int all_said(void)
{
    writer w = writer_to(stdout);
    return writer_close(&w);
}

/* A line from standard input, and those that follow one that ends in \, without
 * blanks at its end. 0: there is none. A terminal shows `prompt` before it, and
 * Ctrl-C ends the program.                                                    */
static inline int ask(writer *w, const char *prompt, buffer *line)
{
    int goes_on = 1, n, shown = is_terminal(stdin);
    release_interrupt();
    if (shown) writer_style(w, "1");
    if (shown) fputs(prompt, w->file);
    if (shown) writer_style(w, "0");
    fflush(w->file);
    line->size = 0;
    for (n = 0; goes_on && read_until(stdin, "standard input", '\n', line); n++) {
        if (line->size && line->bytes[line->size - 1] == '\r') line->bytes[--line->size] = '\0';
        goes_on = line->size && line->bytes[line->size - 1] == '\\';
        if (goes_on) line->bytes[line->size - 1] = '\n';
    }
    while (line->size && strspn(line->bytes + line->size - 1, " \t\r\n") == 1)
        line->bytes[--line->size] = '\0';
    if (n == 0 && shown) fputc('\n', w->file);
    return n > 0;
}

/* ---- stop strings: a text ends where the first of them that is complete begins */

typedef struct stops {
    list strings;
    char held[MAX_ITEM + 1]; /* may be the beginning of one, and is not written yet */
    int  n_held, found;      /* found: how long the one is that ended the text, or 0 */
} stops;

/* How many bytes at the end of what is held are the beginning of a stop string,
 * or all of one.                                                              */
static inline int stops_longest(const stops *s, int whole)
{
    int i, k, longest = 0;
    for (i = 0; i < s->strings.n; i++) {
        const char *stop = s->strings.item[i];
        int         length = (int)strlen(stop);
        for (k = length < s->n_held ? length : s->n_held; k > longest; k--)
            if ((!whole || k == length) && !memcmp(s->held + s->n_held - k, stop, (size_t)k))
                longest = k;
    }
    return longest;
}

/* Write text up to a stop string, which sets s->found. Returns how many of the
 * bytes that took: all of them, or as many as end the stop string.            */
static inline int stops_put(stops *s, writer *w, const char *bytes, int size)
{
    int i;
    for (i = 0; i < size && !s->found; i++) {
        int keep;
        s->held[s->n_held++] = bytes[i];
        s->found = stops_longest(s, 1);
        keep = s->found ? s->found : stops_longest(s, 0);
        writer_put(w, s->held, (size_t)(s->n_held - keep));
        memmove(s->held, s->held + s->n_held - keep, (size_t)keep);
        s->n_held = s->found ? 0 : keep;
    }
    return i;
}

/* Nothing comes any more: what is held is no stop string. Ready for a new text. */
static inline void stops_end(stops *s, writer *w)
{
    writer_put(w, s->held, (size_t)s->n_held);
    s->n_held = s->found = 0;
}
#endif
