/* chat.c: a conversation over one state, which a file can keep between runs.
 *     cc -O2 -o chat examples/chat.c -lm
 *     ./chat --session talk.session model.rwkv                               */
#define PROGRAM "chat"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

#define COMMANDS "/reset, /save [FILE], /load [FILE], /retry, /help, /quit"
static const char usage[] =
    "usage: chat [options] MODEL\n"
    "A line is what you say; a \\ at its end goes on in the next line, // at its beginning\n"
    "is a /. Ctrl-C ends an answer, a second one the program; Ctrl-D is /quit. Commands:\n"
    COMMANDS " (FILE: the last one).\n\n"
    "  --session FILE   go on from FILE if it exists, seed and all, and keep the talk there\n"
    "  --user, --bot    the names of both (User, Assistant; with a 20B vocabulary Bob, Alice)\n"
    "  --stop TEXT      end an answer before TEXT; may be given several times\n"
    "  --length N       most tokens in an answer (%d)\n" SAMPLER_USAGE("the clock");

typedef struct chat {
    rwkv_model  *model;
    rwkv_state  *state, *asked; /* asked: before the last answer */
    rwkv_sampler sampler;
    int          length, answered, is_20b;
    const char  *user, *bot;
    buffer       file;          /* that /save and /load mean */
    stops        stop;          /* the first one is an empty line */
    writer       out;
} chat;

/* Read "User: ...\n\nAssistant:". An empty line would end the user's turn, so
 * the text has none; and no space at the end: the answer's first token has it. */
static void read_turn(chat *c, const buffer *line)
{
    size_t start = strlen(c->user) + 2, n = start, i = line->bytes[0] == '/';
    char  *turn = (char *)grab(start + line->size + strlen(c->bot) + 4, 1), last;
    sprintf(turn, "%s: ", c->user);
    for (last = ' '; i < line->size; i++) /* from 1 on after a /: of // only one is said */
        if (line->bytes[i] != '\r' && (line->bytes[i] != '\n' || last != '\n'))
            turn[n++] = last = line->bytes[i];
    n += (size_t)sprintf(turn + n, "\n\n%s:", c->bot);
    read_text(c->model, c->state, turn, n);
    free(turn);
}

/* The state has read an answer, perhaps with a stop string after what was shown
 * of it. See to it that it has read what was shown and then an empty line.    */
static void read_end(chat *c, const buffer *said)
{
    size_t n = said->size, missing = 2;
    if (c->stop.found && strcmp(said->bytes + n - c->stop.found, "\n\n") != 0) {
        n -= (size_t)c->stop.found;
        rwkv_state_copy(c->state, c->asked);
        read_text(c->model, c->state, said->bytes, n);
    }
    for (; missing && n && said->bytes[n - 1] == '\n'; n--) missing--;
    if (missing == 2 && !c->is_20b) read_text(c->model, c->state, "\n\n", 2);
    else while (missing--) read_text(c->model, c->state, "\n", 1); /* Raven never saw \n\n */
}

static void answer(chat *c)
{
    int    i, size = 0, used, end = end_of_text(c->model);
    buffer said = {NULL, 0, 0};
    memset(c->sampler.counts, 0, (size_t)rwkv_model_info(c->model).n_vocab * sizeof(float));
    rwkv_state_copy(c->asked, c->state);
    c->answered = c->out.trim = 1;
    c->out.last = 0;
    catch_interrupt();
    for (i = 0; i < c->length && !c->stop.found && !interrupted; i++) {
        int         token = rwkv_sample(&c->sampler, c->state);
        const char *bytes = rwkv_token_bytes(c->model, token, &size);
        if (token == end) break;
        used = stops_put(&c->stop, &c->out, bytes, size);
        add_text(&said, bytes, (size_t)used);
        if (used == size) rwkv_eval(token, c->state);
        else read_text(c->model, c->state, bytes, (size_t)used);
        if (!writer_flush(&c->out)) break;
    }
    read_end(c, &said);
    stops_end(&c->stop, &c->out);
    writer_end(&c->out);
    free(said.bytes);
}

/* Do what a line of `size` bytes says that is a command, but not /quit. */
static void obey(chat *c, const char *line, size_t size)
{
    int         save = strcspn(line, " ") == 5 && strncmp(line, "/save", 5) == 0;
    int         load = strcspn(line, " ") == 5 && strncmp(line, "/load", 5) == 0;
    const char *file = save || load ? line + 5 + strspn(line + 5, " ") : "";
    if (!*file && c->file.size) file = c->file.bytes;
    if (strlen(line) < size) warn("there is a NUL in the command %s", line);
    else if (strcmp(line, "/reset") == 0) { begin_text(c->model, c->state, 1); c->answered = 0; }
    else if (strcmp(line, "/retry") == 0 && !c->answered) warn("/retry: there is no answer to the last line here");
    else if (strcmp(line, "/retry") == 0) { rwkv_state_copy(c->state, c->asked); answer(c); }
    else if (strcmp(line, "/help") == 0) fputs("(" COMMANDS "; // is a /)\n", stderr);
    else if (!save && !load) warn("%s: the commands are " COMMANDS ", and // is a /", line);
    else if (!*file) warn("%s: expected a FILE, as none was named before", line);
    else if (save ? save_session(c->state, &c->sampler, file)
                  : load_session(c->state, &c->sampler, file)) {
        fprintf(stderr, "(%s %s)\n", save ? "saved" : "loaded", file);
        c->answered = c->answered && save;
        if (file != c->file.bytes) { c->file.size = 0; add_text(&c->file, file, strlen(file)); }
    }
}

int main(int argc, char **argv)
{
    chat c = {NULL, NULL, NULL, {1.2f, 0.5f, 0, 0.4f, 0.4f, 0.996f, NULL, 0, 0, NULL, 0}, 400, 0, 0,
              NULL, NULL, {NULL, 0, 0}, {{{"\n\n"}, 1}, "", 0, 0}, writer_to(stdout)};
    const char  *model = NULL, *session = NULL;
    buffer       line = {NULL, 0, 0};
    int          help = 0, ok = 1;
    const option options[] = {SAMPLER_OPTIONS(c.sampler), {"--session", 'n', &session, 0, 0},
        {"--user", 's', &c.user, 0, 0}, {"--length", 'i', &c.length, 0, INT_MAX},
        {"--bot", 's', &c.bot, 0, 0}, {"--stop", 'l', &c.stop.strings, 0, 0}, HELP_OPTIONS(help)};
    c.sampler.seed = (uint64_t)time(NULL);
    parse_options(argc, argv, options, &model, 1);
    if (help) return printf(usage, c.length, SAMPLER_DEFAULTS(c.sampler)), all_said();
    c.model = open_model(model, NULL);
    c.state = new_state(c.model), c.asked = new_state(c.model);
    c.is_20b = rwkv_model_info(c.model).tokenizer == RWKV_TOKENIZER_20B;
    c.sampler.counts = (float *)grab((size_t)rwkv_model_info(c.model).n_vocab, sizeof(float));
    if (!c.user) c.user = c.is_20b ? "Bob" : "User";
    if (!c.bot) c.bot = c.is_20b ? "Alice" : "Assistant";
    check_text(c.model, "--user", 0, c.user, strlen(c.user));
    check_text(c.model, "--bot", 0, c.bot, strlen(c.bot));
    begin_text(c.model, c.state, 1);
    if (session) open_session(c.state, &c.sampler, session, &c.file);
    if (is_terminal(stdin)) fputs("(" COMMANDS " or Ctrl-D; // is a /)\n", stderr);

    while (!c.out.error && ask(&c.out, "> ", &line)) {
        if (line.size == 5 && strcmp(line.bytes, "/quit") == 0) break;
        if (line.bytes[0] == '/' && line.bytes[1] != '/') obey(&c, line.bytes, line.size);
        else if (count_tokens(c.model, "the text", 0, line.bytes, line.size) > 0)
            read_turn(&c, &line), answer(&c);
        if (session) ok = save_session(c.state, &c.sampler, session);
    }
    if (session) ok = save_session(c.state, &c.sampler, session);
    if (c.out.error && ok) writer_quit(&c.out);
    free(line.bytes), free(c.file.bytes), free(c.sampler.counts);
    rwkv_state_free(c.asked);
    rwkv_state_free(c.state);
    rwkv_free(c.model);
    return ok ? 0 : 1;
}
