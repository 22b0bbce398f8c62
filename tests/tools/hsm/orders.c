/* A PKCS#11 module that forwards to another one and does what it is ordered: be slow, be stuck, lose its token, say no.
 *
 * ORDERS_MODULE names the other module, ORDERS_FILE a file with one order to a line, which is read at every call, and
 * ORDERS_JOURNAL a file to which a line is added for each call that is told below. Without an order it only forwards.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ulong;
/* PKCS#11 2.40, section 3: a version, then pointers to the functions in the order of the standard. */
typedef struct { unsigned char major, minor; void *f[68]; } functions;
enum { INITIALIZE = 0, FUNCTION_LIST = 3, SLOT_LIST = 4, TOKEN_INFO = 6, MECHANISM_LIST = 7, OPEN_SESSION = 12, LOGIN = 18, ATTRIBUTES = 24, SIGN = 43 };
enum { DEVICE_REMOVED = 0x32, TOKEN_NOT_PRESENT = 0xE0, SHA256_RSA_PKCS = 0x40, FINAL_TRY = 0x20000, LOCKED = 0x40000 };

enum { CLASS = 0, MAY_SIGN = 0x108, MODULUS = 0x120, EXPONENT = 0x122, ALWAYS_AUTHENTICATE = 0x202, PRIVATE_KEY = 3 };
typedef struct { ulong type; void *value; ulong length; } attribute;

static functions theirs, ours;

/* The value of an order, or nothing. */
static int order(const char *name, char *value, size_t room) {
    char line[200];
    size_t length = strlen(name);
    FILE *file = fopen(getenv("ORDERS_FILE"), "r");
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, name, length) && line[length] == '=') {
            snprintf(value, room, "%s", line + length + 1);
            found = 1;
        }
    }
    if (file) fclose(file);
    return found;
}

static int ordered(const char *name) {
    char value[100];
    return order(name, value, sizeof value);
}

static ulong told(const char *call, ulong result) {
    FILE *file = fopen(getenv("ORDERS_JOURNAL"), "a");
    if (file) {
        fprintf(file, "%s %lx\n", call, result);
        fclose(file);
    }
    return result;
}

static ulong initialize(void *arguments) {
    while (ordered("initialize_hangs")) usleep(20000);
    return told("initialize", ((ulong (*)(void *)) theirs.f[INITIALIZE])(arguments));
}

static ulong slot_list(unsigned char with_token, ulong *slots, ulong *count) {
    if (with_token && ordered("token_gone")) {
        *count = 0;
        return 0;
    }
    return ((ulong (*)(unsigned char, ulong *, ulong *)) theirs.f[SLOT_LIST])(with_token, slots, count);
}

/* The flags follow four texts of 32, 32, 16 and 16 bytes. */
static ulong token_info(ulong slot, unsigned char *info) {
    ulong result = ((ulong (*)(ulong, void *)) theirs.f[TOKEN_INFO])(slot, info), flags;
    memcpy(&flags, info + 96, sizeof flags);
    if (ordered("final_try")) flags |= FINAL_TRY;
    if (ordered("locked")) flags |= LOCKED;
    memcpy(info + 96, &flags, sizeof flags);
    return result;
}

static ulong mechanism_list(ulong slot, ulong *list, ulong *count) {
    ulong result = ((ulong (*)(ulong, ulong *, ulong *)) theirs.f[MECHANISM_LIST])(slot, list, count);
    if (!result && list && ordered("only_raw_rsa"))
        for (ulong at = 0; at < *count; at++)
            if (list[at] == SHA256_RSA_PKCS) list[at] = 0x80000000;
    return result;
}

static ulong open_session(ulong slot, ulong flags, void *context, void *notify, ulong *session) {
    if (ordered("token_gone")) return TOKEN_NOT_PRESENT;
    return ((ulong (*)(ulong, ulong, void *, void *, ulong *)) theirs.f[OPEN_SESSION])(slot, flags, context, notify, session);
}

static ulong login(ulong session, ulong user, void *pin, ulong length) {
    return told("login", ((ulong (*)(ulong, ulong, void *, ulong)) theirs.f[LOGIN])(session, user, pin, length));
}

static ulong attributes(ulong session, ulong object, attribute *list, ulong count) {
    ulong (*get)(ulong, ulong, attribute *, ulong) = theirs.f[ATTRIBUTES];
    ulong class = 0, result = get(session, object, list, count);
    attribute asked = {CLASS, &class, sizeof class};
    get(session, object, &asked, 1);
    for (ulong at = 0; class == PRIVATE_KEY && at < count; at++) {
        attribute *told = list + at;
        if (told->type == MAY_SIGN && told->value && ordered("may_not_sign")) *(char *) told->value = 0;
        if (told->type == ALWAYS_AUTHENTICATE && told->value && ordered("asks_each_time")) *(char *) told->value = 1;
        if ((told->type == MODULUS || told->type == EXPONENT) && ordered("tells_no_number")) told->length = -1;
    }
    return result;
}

static ulong sign(ulong session, void *data, ulong length, void *signature, ulong *room) {
    static char done[100];
    char value[100];
    /* The first of two calls only asks for the length. */
    if (signature) {
        if (order("sign_takes_ms", value, sizeof value)) usleep(1000 * atol(value));
        if (ordered("sign_hangs")) told("stuck", 0);
        while (ordered("sign_hangs")) usleep(20000);
        if (ordered("token_gone")) return told("sign", DEVICE_REMOVED);
        /* NUMBER:CODE, done once for each number. */
        if (order("sign_fails", value, sizeof value) && strcmp(value, done)) {
            strcpy(done, value);
            return told("sign", strtoul(strchr(value, ':') + 1, NULL, 16));
        }
    }
    ulong result = ((ulong (*)(ulong, void *, ulong, void *, ulong *)) theirs.f[SIGN])(session, data, length, signature, room);
    return signature ? told("sign", result) : result;
}

__attribute__((visibility("default"))) ulong C_GetFunctionList(functions **list) {
    functions *other;
    void *module = dlopen(getenv("ORDERS_MODULE"), RTLD_NOW | RTLD_LOCAL);
    ulong (*get)(functions **) = module ? (ulong (*)(functions **)) dlsym(module, "C_GetFunctionList") : NULL;
    if (!get || get(&other)) return 5;
    memcpy(&theirs, other, sizeof theirs);
    ours = theirs;
    ours.f[INITIALIZE] = initialize;
    ours.f[FUNCTION_LIST] = C_GetFunctionList;
    ours.f[SLOT_LIST] = slot_list;
    ours.f[TOKEN_INFO] = token_info;
    ours.f[MECHANISM_LIST] = mechanism_list;
    ours.f[OPEN_SESSION] = open_session;
    ours.f[LOGIN] = login;
    ours.f[ATTRIBUTES] = attributes;
    ours.f[SIGN] = sign;
    *list = &ours;
    return 0;
}
