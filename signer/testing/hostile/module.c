/* A PKCS#11 module that stands in front of another and misbehaves as it is told.
 *
 * It has one folder, the one it lies in. It reads `orders` there before every call, so a test can
 * change them while programs use the module, and keeps in `state` what must outlive a process:
 * counts of calls, wrong PINs, a pulled plug. Each fault it makes is a line in `log`. Chance comes
 * from the seed and the number of the call alone: the same calls meet the same faults.
 *
 * orders, a line each:
 *   signer-hostile 1
 *   generation N          counts begin anew when it changes
 *   target PATH           the module behind; PATH is the rest of the line
 *   config PATH           SOFTHSM2_CONF for it, while it is initialised
 *   seed N                of chance
 *   tries N               wrong user PINs that lock
 *   unplugs N             how often it was pulled so far by its user
 *   unplugged 0|1         whether it is pulled now
 *   rule FUNCTION CHANCE SKIP TIMES ACTION ARGUMENT
 *     FUNCTION  C_Sign, or * for every one that is about a slot or a session
 *     CHANCE    of 65536, for each call after the first SKIP; at most TIMES, 0 for no end
 *     ACTION    return CKR | after CKR | delay MS | crash SIGNAL | unplug MS | wrongpin 0 |
 *               truncate BYTES | garble 0
 *
 * Types of PKCS#11 2.40 are words here, structures included: on Linux CK_ULONG, pointers and
 * function arguments are one machine word each, so one function forwards them all.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long word;

/* name, arguments, about what (l library, t slot, h session), place of an output and its length */
#define FUNCTIONS(F) \
    F(C_Initialize, 1, 'l', 0, 0) F(C_Finalize, 1, 'l', 0, 0) F(C_GetInfo, 1, 'l', 0, 0) \
    F(C_GetFunctionList, 1, 'l', 0, 0) F(C_GetSlotList, 3, 't', 0, 0) F(C_GetSlotInfo, 2, 't', 0, 0) \
    F(C_GetTokenInfo, 2, 't', 0, 0) F(C_GetMechanismList, 3, 't', 1, 2) \
    F(C_GetMechanismInfo, 3, 't', 0, 0) F(C_InitToken, 4, 't', 0, 0) F(C_InitPIN, 3, 'h', 0, 0) \
    F(C_SetPIN, 5, 'h', 0, 0) F(C_OpenSession, 5, 't', 0, 0) F(C_CloseSession, 1, 'h', 0, 0) \
    F(C_CloseAllSessions, 1, 't', 0, 0) F(C_GetSessionInfo, 2, 'h', 0, 0) \
    F(C_GetOperationState, 3, 'h', 1, 2) F(C_SetOperationState, 5, 'h', 0, 0) \
    F(C_Login, 4, 'h', 0, 0) F(C_Logout, 1, 'h', 0, 0) F(C_CreateObject, 4, 'h', 0, 0) \
    F(C_CopyObject, 5, 'h', 0, 0) F(C_DestroyObject, 2, 'h', 0, 0) F(C_GetObjectSize, 3, 'h', 0, 0) \
    F(C_GetAttributeValue, 4, 'h', 0, 0) F(C_SetAttributeValue, 4, 'h', 0, 0) \
    F(C_FindObjectsInit, 3, 'h', 0, 0) F(C_FindObjects, 4, 'h', 1, 3) \
    F(C_FindObjectsFinal, 1, 'h', 0, 0) F(C_EncryptInit, 3, 'h', 0, 0) F(C_Encrypt, 5, 'h', 3, 4) \
    F(C_EncryptUpdate, 5, 'h', 3, 4) F(C_EncryptFinal, 3, 'h', 1, 2) F(C_DecryptInit, 3, 'h', 0, 0) \
    F(C_Decrypt, 5, 'h', 3, 4) F(C_DecryptUpdate, 5, 'h', 3, 4) F(C_DecryptFinal, 3, 'h', 1, 2) \
    F(C_DigestInit, 2, 'h', 0, 0) F(C_Digest, 5, 'h', 3, 4) F(C_DigestUpdate, 3, 'h', 0, 0) \
    F(C_DigestKey, 2, 'h', 0, 0) F(C_DigestFinal, 3, 'h', 1, 2) F(C_SignInit, 3, 'h', 0, 0) \
    F(C_Sign, 5, 'h', 3, 4) F(C_SignUpdate, 3, 'h', 0, 0) F(C_SignFinal, 3, 'h', 1, 2) \
    F(C_SignRecoverInit, 3, 'h', 0, 0) F(C_SignRecover, 5, 'h', 3, 4) F(C_VerifyInit, 3, 'h', 0, 0) \
    F(C_Verify, 5, 'h', 0, 0) F(C_VerifyUpdate, 3, 'h', 0, 0) F(C_VerifyFinal, 3, 'h', 0, 0) \
    F(C_VerifyRecoverInit, 3, 'h', 0, 0) F(C_VerifyRecover, 5, 'h', 3, 4) \
    F(C_DigestEncryptUpdate, 5, 'h', 3, 4) F(C_DecryptDigestUpdate, 5, 'h', 3, 4) \
    F(C_SignEncryptUpdate, 5, 'h', 3, 4) F(C_DecryptVerifyUpdate, 5, 'h', 3, 4) \
    F(C_GenerateKey, 5, 'h', 0, 0) F(C_GenerateKeyPair, 8, 'h', 0, 0) F(C_WrapKey, 6, 'h', 4, 5) \
    F(C_UnwrapKey, 8, 'h', 0, 0) F(C_DeriveKey, 6, 'h', 0, 0) F(C_SeedRandom, 3, 'h', 0, 0) \
    F(C_GenerateRandom, 3, 'h', 0, 0) F(C_GetFunctionStatus, 1, 'h', 0, 0) \
    F(C_CancelFunction, 1, 'h', 0, 0) F(C_WaitForSlotEvent, 3, 'l', 0, 0)

enum { FUNCTIONS_ARE = 68, ANY = -1, MOST_RULES = 64, MOST_SLOTS = 16 };
#define ID(name, ...) id_##name,
enum { FUNCTIONS(ID) };
static const struct { const char *name; int arity; char about; int out, length; } table[] = {
#define ROW(name, arity, about, out, length) {#name, arity, about, out, length},
    FUNCTIONS(ROW)};

enum { CKR_GENERAL_ERROR = 5, CKR_DEVICE_REMOVED = 0x32, CKR_PIN_INCORRECT = 0xA0,
       CKR_PIN_LOCKED = 0xA4, CKR_TOKEN_NOT_PRESENT = 0xE0 };
enum { COUNT_LOW = 0x10000, FINAL_TRY = 0x20000, LOCKED = 0x40000 }; /* CK_TOKEN_INFO.flags */
enum { FLAGS_AT = 96, SLOT_FLAGS_AT = 96, CKU_USER = 1 };           /* after four texts */
#define UNAVAILABLE ((word)-1)

struct function_list { unsigned char version[2]; word (*call[FUNCTIONS_ARE])(); };
struct attribute { word type; unsigned char *value; word length; };
struct rule { int function; unsigned chance; uint64_t skip, times; char action[12]; word argument; };
struct state { /* of the folder: shared by all processes, changed under a lock */
    uint64_t generation, calls, wrong_pins, unplugs, unplugged_until, matched[MOST_RULES],
        fired[MOST_RULES];
};

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static char folder[3000];
static struct stat orders_read;
static struct rule rules[MOST_RULES];
static int rule_count, pulled;
static uint64_t generation, seed, tries = 3, unplugs, unplugs_seen;
static char target[4096], config[4096];
static struct state *state;
static int state_file = -1;
static struct function_list *real;

static const char *path(const char *name) {
    static __thread char whole[4096];
    snprintf(whole, sizeof whole, "%s/%s", folder, name);
    return whole;
}

static uint64_t milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int function_named(const char *name) {
    for (int id = 0; id < FUNCTIONS_ARE; id++)
        if (!strcmp(name, table[id].name)) return id;
    return ANY;
}

/* Read the orders if they are others than before. 0: there are none that can be understood. */
static int read_orders(void) {
    struct stat now;
    if (stat(path("orders"), &now)) return 0;
    if (now.st_ino == orders_read.st_ino && now.st_mtim.tv_sec == orders_read.st_mtim.tv_sec
        && now.st_mtim.tv_nsec == orders_read.st_mtim.tv_nsec) return 1;
    FILE *file = fopen(path("orders"), "re");
    if (!file) return 0;
    char line[4200], name[64];
    int version = 0;
    rule_count = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        struct rule *next = &rules[rule_count];
        unsigned long number;
        if (sscanf(line, "signer-hostile %d", &version) == 1) continue;
        if (!strncmp(line, "target ", 7)) strcpy(target, line + 7);
        else if (!strncmp(line, "config ", 7)) strcpy(config, line + 7);
        else if (sscanf(line, "generation %lu", &number) == 1) generation = number;
        else if (sscanf(line, "seed %lu", &number) == 1) seed = number;
        else if (sscanf(line, "tries %lu", &number) == 1) tries = number;
        else if (sscanf(line, "unplugs %lu", &number) == 1) unplugs = number;
        else if (sscanf(line, "unplugged %d", &pulled) == 1) continue;
        else if (rule_count < MOST_RULES
                 && sscanf(line, "rule %63s %u %lu %lu %11s %lu", name, &next->chance, &next->skip,
                           &next->times, next->action, &next->argument) == 6) {
            next->function = function_named(name);
            if (next->function == ANY && strcmp(name, "*")) version = 0;
            rule_count++;
        } else version = 0;
    }
    fclose(file);
    orders_read = now;
    return version == 1 && *target;
}

/* Load orders, state and the module behind. */
static int ready(void) {
    if (!*folder) {
        Dl_info here;
        if (!dladdr(&one, &here) || strlen(here.dli_fname) >= sizeof folder) return 0;
        strcpy(folder, here.dli_fname);
        char *slash = strrchr(folder, '/');
        if (!slash) return 0;
        *slash = 0;
    }
    if (!read_orders()) return 0;
    if (!state) {
        state_file = open(path("state"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (state_file < 0 || ftruncate(state_file, sizeof *state)) return 0;
        void *shared = mmap(0, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, state_file, 0);
        if (shared == MAP_FAILED) return 0;
        state = shared;
        unplugs_seen = unplugs + state->unplugs;
    }
    if (!real) {
        void *library = dlopen(target, RTLD_NOW | RTLD_LOCAL);
        word (*get)(struct function_list **) = library ? dlsym(library, "C_GetFunctionList") : 0;
        if (!get || get(&real)) real = 0;
    }
    return real != 0;
}

static void note(int id, const char *action, word argument) {
    char line[128];
    int size = snprintf(line, sizeof line, "%s %s %lu\n", table[id].name, action, argument);
    int file = open(path("log"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) {
        if (write(file, line, size) != size) { /* a full disk: the fault happens all the same */ }
        close(file);
    }
}

static uint64_t chance(uint64_t call, int rule) { /* splitmix64 */
    uint64_t x = seed * 0x9E3779B97F4A7C15u + call * 0xBF58476D1CE4E5B9u
                 + (rule + 1) * 0x94D049BB133111EBu;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return (x ^ (x >> 31)) & 0xFFFF;
}

/* Return the first rule that this call meets, or 0; `one` is held. */
static struct rule *met(int id) {
    struct rule *found = 0;
    flock(state_file, LOCK_EX);
    if (state->generation != generation) {
        memset(state->matched, 0, sizeof state->matched + sizeof state->fired);
        state->generation = generation;
        state->calls = state->unplugged_until = 0;
    }
    uint64_t call = state->calls++;
    for (int number = 0; number < rule_count && !found; number++) {
        struct rule *rule = &rules[number];
        if (rule->function != id && (rule->function != ANY || table[id].about == 'l')) continue;
        if (state->matched[number]++ < rule->skip) continue;
        if (rule->times && state->fired[number] >= rule->times) continue;
        if (chance(call, number) >= rule->chance) continue;
        state->fired[number]++;
        found = rule;
    }
    if (found && !strcmp(found->action, "unplug")) { /* until then, or until the next orders */
        state->unplugs++;
        state->unplugged_until = milliseconds() + found->argument;
    }
    flock(state_file, LOCK_UN);
    return found;
}

static word forward(int id, const word *a) {
    word (*f)() = real->call[id];
    switch (table[id].arity) {
    case 1: return f(a[0]);
    case 2: return f(a[0], a[1]);
    case 3: return f(a[0], a[1], a[2]);
    case 4: return f(a[0], a[1], a[2], a[3]);
    case 5: return f(a[0], a[1], a[2], a[3], a[4]);
    case 6: return f(a[0], a[1], a[2], a[3], a[4], a[5]);
    default: return f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    }
}

static word initialize(const word *a) {
    const char *before = getenv("SOFTHSM2_CONF");
    char *kept = before ? strdup(before) : 0;
    if (*config) setenv("SOFTHSM2_CONF", config, 1);
    word value = forward(id_C_Initialize, a);
    if (*config) kept ? setenv("SOFTHSM2_CONF", kept, 1) : unsetenv("SOFTHSM2_CONF");
    free(kept);
    return value;
}

/* Sessions of before the plug was pulled are gone, and the login with them. */
static void forget_sessions(void) {
    word slots[MOST_SLOTS], count = MOST_SLOTS;
    if (!real->call[id_C_GetSlotList](0, slots, &count))
        for (word i = 0; i < count; i++) real->call[id_C_CloseAllSessions](slots[i]);
}

static word unplugged(int id, const word *a) {
    if (id == id_C_GetSlotList && (unsigned char)a[0]) {
        *(word *)a[2] = 0;
        return 0;
    }
    if (id == id_C_GetSlotList || id == id_C_CloseAllSessions) return forward(id, a);
    if (id == id_C_GetSlotInfo) {
        word value = forward(id, a);
        if (!value) *(word *)(a[1] + SLOT_FLAGS_AT) &= ~(word)1; /* CKF_TOKEN_PRESENT */
        return value;
    }
    return table[id].about == 't' ? CKR_TOKEN_NOT_PRESENT : CKR_DEVICE_REMOVED;
}

static void count_pin(int wrong) {
    flock(state_file, LOCK_EX);
    state->wrong_pins = wrong ? state->wrong_pins + 1 : 0;
    flock(state_file, LOCK_UN);
}

static word log_in(const word *a, int wrong) {
    if (a[1] != CKU_USER) return forward(id_C_Login, a);
    if (state->wrong_pins >= tries) return CKR_PIN_LOCKED;
    word value = wrong ? (word)CKR_PIN_INCORRECT : forward(id_C_Login, a);
    if (!value || value == CKR_PIN_INCORRECT) count_pin(value != 0);
    return value;
}

static void show_tries(word info) {
    word *flags = (word *)(info + FLAGS_AT);
    *flags &= ~(word)(COUNT_LOW | FINAL_TRY | LOCKED);
    if (state->wrong_pins) *flags |= COUNT_LOW;
    if (state->wrong_pins + 1 == tries) *flags |= FINAL_TRY;
    if (state->wrong_pins >= tries) *flags |= LOCKED;
}

/* Change what a call gave back: cut it to `most` bytes, or flip a bit of its last byte. */
static void spoil(int id, const word *a, int cut, word most) {
    if (id == id_C_GetAttributeValue) {
        struct attribute *all = (struct attribute *)a[2];
        for (word i = 0; i < a[3]; i++) {
            if (!all[i].value || all[i].length == UNAVAILABLE || !all[i].length) continue;
            if (!cut) all[i].value[all[i].length - 1] ^= 1;
            else if (all[i].length > most) all[i].length = most;
        }
    } else if (id == id_C_GenerateRandom) {
        unsigned char *bytes = (unsigned char *)a[1];
        if (cut && a[2] > most) memset(bytes + most, 0, a[2] - most);
        else if (!cut && a[2]) bytes[a[2] - 1] ^= 1;
    } else if (table[id].length && a[table[id].out]) {
        unsigned char *bytes = (unsigned char *)a[table[id].out];
        word *length = (word *)a[table[id].length];
        if (!cut && *length) bytes[*length - 1] ^= 1;
        else if (cut && *length > most) *length = most;
    }
}

static word call(int id, const word *a) {
    pthread_mutex_lock(&one);
    if (!ready()) {
        pthread_mutex_unlock(&one);
        return CKR_GENERAL_ERROR;
    }
    struct rule *rule = met(id), order = {0};
    if (rule) order = *rule;
    int away = pulled || state->unplugged_until > milliseconds();
    int new_unplug = unplugs_seen != unplugs + state->unplugs;
    unplugs_seen = unplugs + state->unplugs;
    pthread_mutex_unlock(&one);

    if (rule) note(id, order.action, order.argument);
    if (new_unplug && table[id].about != 'l') forget_sessions();
    if (away && table[id].about != 'l') return unplugged(id, a);
    if (!strcmp(order.action, "return")) return order.argument;
    if (!strcmp(order.action, "delay"))
        nanosleep(&(struct timespec){order.argument / 1000, order.argument % 1000 * 1000000}, 0);
    if (!strcmp(order.action, "crash")) {
        signal(order.argument, SIG_DFL);
        raise(order.argument);
    }
    word value = id == id_C_Initialize ? initialize(a)
                 : id == id_C_Login    ? log_in(a, !strcmp(order.action, "wrongpin"))
                                       : forward(id, a);
    if (value) return value;
    if (id == id_C_GetTokenInfo) show_tries(a[1]);
    if (id == id_C_InitPIN) count_pin(0);
    if (!strcmp(order.action, "truncate")) spoil(id, a, 1, order.argument);
    if (!strcmp(order.action, "garble")) spoil(id, a, 0, 0);
    return strcmp(order.action, "after") ? 0 : order.argument;
}

#define P1 word a
#define P2 P1, word b
#define P3 P2, word c
#define P4 P3, word d
#define P5 P4, word e
#define P6 P5, word f
#define P8 P6, word g, word h
#define A1 a
#define A2 A1, b
#define A3 A2, c
#define A4 A3, d
#define A5 A4, e
#define A6 A5, f
#define A8 A6, g, h
#define EXPORT __attribute__((visibility("default")))
#define DEFINE(name, arity) \
    static word our_##name(P##arity) { return call(id_##name, (word[8]){A##arity}); }
#define EVERY(name, arity, ...) DEFINE(name, arity)
FUNCTIONS(EVERY)

EXPORT word C_GetFunctionList(struct function_list **list) {
    static struct function_list ours = {{2, 40}, {
#define ENTRY(name, ...) (word (*)())our_##name,
        FUNCTIONS(ENTRY)}};
    if (!list) return 7; /* CKR_ARGUMENTS_BAD */
    ours.call[id_C_GetFunctionList] = (word (*)())C_GetFunctionList;
    *list = &ours;
    return 0;
}
