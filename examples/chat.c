/* chat.c: a conversation over one state, which a file can keep between runs.
 *     cc -O2 -o chat examples/chat.c -lm
 *     ./chat --session talk.session model.rwkv                               */
#define PROGRAM "chat"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

#define COMMANDS "/reset, /save FILE, /load FILE, /quit"

static const char usage[] =
    "usage: chat [options] MODEL\n"
    "A line is what you say; a \\ at its end goes on in the next line, // at its beginning\n"
    "is a /. Commands: " COMMANDS "; Ctrl-D is /quit.\n\n"
    "  --session FILE   go on from FILE if it exists (with its own seed), and keep the\n"
    "                   conversation there\n"
    "  --length N       most tokens in an answer (%d)\n" SAMPLER_USAGE("the clock");

typedef struct chat {
    rwkv_model  *model;
    rwkv_state  *state;
    rwkv_sampler sampler;
    int          length;
    writer       out;
} chat;

static void read_text(chat *c, const char *text, size_t size)
{
    int n, *tokens = tokens_of(c->model, text, size, &n);
    rwkv_eval_sequence(tokens, n, c->state);
    free(tokens);
}

static void begin(chat *c)
{
    rwkv_state_reset(c->state);
    if (end_of_text(c->model) == 0) rwkv_eval(0, c->state);
}

/* Read "User: ...\n\nAssistant:". An empty line would end the user's turn, so
 * the text has none; and no space at the end: the answer's first token has it. */
static void read_turn(chat *c, const char *text, size_t size)
{
    char  *turn = (char *)grab(size + 32, 1);
    size_t i = size && text[0] == '/', n = 6; /* of // only one is said */
    memcpy(turn, "User: ", n);
    for (; i < size; i++)
        if (text[i] != '\r' && (text[i] != '\n' || turn[n - 1] != '\n')) turn[n++] = text[i];
    while (n > 6 && (turn[n - 1] == '\n' || turn[n - 1] == ' ')) n--;
    memcpy(turn + n, "\n\nAssistant:", 12);
    read_text(c, turn, n + 12);
    free(turn);
}

/* Write the answer. It ends with an empty line, which the state has read when
 * this returns, whether the model wrote it or not.                            */
static void answer(chat *c)
{
    int newlines = 0, shown = 0, end = end_of_text(c->model), i, n;
    memset(c->sampler.counts, 0, (size_t)rwkv_model_info(c->model).n_vocab * sizeof(float));
    for (n = 0; n < c->length && newlines < 2; n++) {
        int         size = 0, token = rwkv_sample(&c->sampler, c->state);
        const char *bytes = rwkv_token_bytes(c->model, token, &size);
        if (token == end) break;
        for (i = 0; i < size && newlines < 2; i++) {
            if (bytes[i] == '\n') { newlines++; continue; }
            if (newlines && shown) writer_put(&c->out, "\n", 1);
            newlines = 0;
            if (bytes[i] != ' ' || shown) { writer_put(&c->out, bytes + i, 1); shown = 1; }
        }
        if (i == size) rwkv_eval(token, c->state);
        else read_text(c, bytes, (size_t)i); /* only up to the end of the answer */
        if (!writer_flush(&c->out)) break;
    }
    if (newlines < 2) read_text(c, "\n\n", (size_t)(2 - newlines));
    if (!shown) writer_put(&c->out, "\n", 1);
    writer_end(&c->out);
}

/* 0: the conversation is over. */
static int command(chat *c, const char *line)
{
    if (strcmp(line, "/quit") == 0) return 0;
    if (strcmp(line, "/reset") == 0) begin(c);
    else if (strncmp(line, "/save ", 6) == 0) save_session(c->state, &c->sampler, line + 6);
    else if (strncmp(line, "/load ", 6) == 0) load_session(c->state, &c->sampler, line + 6);
    else warn("%s: the commands are " COMMANDS ", and // is a /", line);
    return 1;
}

/* What the user says next: a line, and those that follow one that ends in \. */
static char *hear(size_t *size)
{
    size_t length;
    char  *text, *more;
    if (is_terminal(stdin)) fputs("> ", stdout);
    fflush(stdout);
    text = read_until(stdin, "standard input", '\n', size);
    if (!text && is_terminal(stdin)) fputs("\n", stdout);
    while (text && *size && text[*size - 1] == '\\' &&
           (more = read_until(stdin, "standard input", '\n', &length)) != NULL) {
        text[*size - 1] = '\n';
        text = (char *)realloc(text, *size + length + 1);
        if (!text) fail(1, "no memory for %lu bytes", (unsigned long)(*size + length + 1));
        memcpy(text + *size, more, length + 1);
        *size += length;
        free(more);
    }
    return text;
}

int main(int argc, char **argv)
{
    chat c = {.length = 400, .out = writer_to(stdout), .sampler = {.temperature = 1.0f, .top_p = 0.5f,
        .presence = 0.2f, .frequency = 0.2f, .decay = 0.996f, .seed = (uint64_t)time(NULL)}};
    const char  *model = NULL, *session = NULL;
    int          help = 0, going = 1, ok = 1;
    size_t       size;
    char        *text;
    const option options[] = {SAMPLER_OPTIONS(c.sampler), {"--session", 's', &session, 0, 0},
        {"--length", 'i', &c.length, 0, INT_MAX}, HELP_OPTIONS(help)};

    parse_options(argc, argv, options, &model, 1);
    if (help) return printf(usage, c.length, SAMPLER_DEFAULTS(c.sampler)), 0;
    c.model = open_model(model, NULL);
    c.state = new_state(c.model);
    c.sampler.counts = (float *)grab((size_t)rwkv_model_info(c.model).n_vocab, sizeof(float));
    begin(&c);
    if (session) open_session(c.state, &c.sampler, session);
    if (is_terminal(stdin)) fputs("(" COMMANDS " or Ctrl-D; // is a /)\n", stderr);

    while (going && !c.out.error && (text = hear(&size)) != NULL) {
        if (text[0] == '/' && text[1] != '/') going = command(&c, text);
        else if (strspn(text, " \t\r\n") < size) {
            read_turn(&c, text, size);
            answer(&c);
            if (session) save_session(c.state, &c.sampler, session);
        }
        free(text);
    }
    if (session) ok = save_session(c.state, &c.sampler, session);
    if (c.out.error && ok) writer_quit(&c.out);
    free(c.sampler.counts);
    rwkv_state_free(c.state);
    rwkv_free(c.model);
    return ok ? 0 : 1;
}
