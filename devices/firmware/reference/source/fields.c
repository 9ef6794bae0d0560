/* The configuration: what is staged in RAM, and what is in force in one of two flash sectors.
 *
 * A commit erases the sector that does not count and writes there; it counts when its CRC is there, which comes last.
 * So a power cut at any moment leaves all of the old or all of the new.
 */
#include "gateway.h"

enum { CHILDREN_MOST = 4096, MAGIC = 0x31474355, SLOT_SIZE = 0x4000 };

/* form: t text, n name, l lines of two names, anything else: a number of so many bytes */
static const struct {
    uint8_t tag;
    char form;
    bool must;
    uint16_t most, at;
} RULES[FIELDS] = {
    {GATEWAY, 'n', true, 64, 0},      {DISTRICT, 't', true, 64, 64},    {HOST, 't', true, 255, 128},
    {PORT, 2, true, 2, 383},          {TLS, 1, false, 1, 385},          {USER, 't', false, 64, 386},
    {PASSWORD, 't', false, 128, 450}, {SITE, 't', false, 64, 578},      {ZONE, 't', false, 64, 642},
    {PERIOD, 4, false, 4, 706},       {CHILDREN, 'l', false, 4096, 710},
};
enum { VALUES = 710 + CHILDREN_MOST };

typedef struct {
    uint16_t size[FIELDS];
    uint8_t value[VALUES];
} values_t;

typedef struct {
    uint32_t magic, generation;
    uint8_t id[COMMIT_ID];
    values_t values;
    uint32_t crc;
} slot_t;

#define SLOT(i) ((slot_t *)(0x20008000u + (uint32_t)(i) * 0x4000u))

static values_t staged;
static bool is_staged[FIELDS];
static const slot_t *in_force; /* NULL: nothing is */

static bool whole(const slot_t *slot) {
    return slot->magic == MAGIC && slot->crc == crc32(0, (const uint8_t *)slot, offsetof(slot_t, crc));
}

void fields_open(void) {
    const slot_t *one = whole(SLOT(0)) ? SLOT(0) : NULL, *other = whole(SLOT(1)) ? SLOT(1) : NULL;
    in_force = !one ? other : !other ? one : one->generation > other->generation ? one : other;
}

int field_index(uint32_t tag) {
    for (int i = 0; i < FIELDS; i++) {
        if (RULES[i].tag == tag) {
            return i;
        }
    }
    return -1;
}

uint8_t field_tag(int index) { return RULES[index].tag; }

size_t field_most(int index) { return RULES[index].most; }

const uint8_t *commit_id(void) { return in_force ? in_force->id : NULL; }

const uint8_t *field_at(int index, size_t *size) {
    *size = in_force ? in_force->values.size[index] : 0;
    return in_force ? in_force->values.value + RULES[index].at : NULL;
}

const uint8_t *field(field_t tag, size_t *size) { return field_at(field_index(tag), size); }

size_t staged_size(int index) { return is_staged[index] ? staged.size[index] : 0; }

/* Keep `keep` bytes of what is staged and put `value` behind them: the same twice gives the same. */
void stage(int index, size_t keep, const uint8_t *value, size_t size) {
    is_staged[index] = true;
    memcpy(staged.value + RULES[index].at + keep, value, size);
    staged.size[index] = (uint16_t)(keep + size);
}

void stage_nothing(void) { memset(is_staged, 0, sizeof is_staged); }

uint32_t staged_crc(void) {
    uint32_t crc = 0;
    for (int i = 0; i < FIELDS; i++) {
        if (is_staged[i]) {
            uint8_t head[3] = {RULES[i].tag};
            put_number(head + 1, staged.size[i], 2);
            crc = crc32(crc, head, sizeof head);
            crc = crc32(crc, staged.value + RULES[i].at, staged.size[i]);
        }
    }
    return crc;
}

static bool name_byte(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           byte == '_' || byte == '.' || byte == ':' || byte == '-';
}

static bool is_name(const uint8_t *text, size_t size) {
    size_t at = 0;
    while (at < size && name_byte(text[at])) {
        at++;
    }
    return at == size && size >= 1 && size <= 64;
}

/* UTF-8 without control characters. */
static bool is_text(const uint8_t *text, size_t size) {
    for (size_t at = 0; at < size;) {
        uint8_t first = text[at++];
        int more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : 3;
        if (first < 0x20 || first == 0x7f || (first >= 0x80 && first < 0xc2) || first > 0xf4) {
            return false;
        }
        while (more--) {
            if (at >= size || (text[at++] & 0xc0) != 0x80) {
                return false;
            }
        }
    }
    return true;
}

/* Lines of two names, ended by line feeds. */
static bool is_lines(const uint8_t *text, size_t size) {
    size_t begin = 0;
    int names = 0;
    for (size_t at = 0; at < size; at++) {
        if (text[at] == ' ' || text[at] == '\n') {
            names++;
            if (!is_name(text + begin, at - begin) || (names == 1) != (text[at] == ' ')) {
                return false;
            }
            begin = at + 1;
            names = text[at] == '\n' ? 0 : names;
        }
    }
    return begin == size && names == 0;
}

/* A topic may not hold these. */
static bool is_level(const uint8_t *text, size_t size) {
    for (size_t at = 0; at < size; at++) {
        if (text[at] == '+' || text[at] == '#' || text[at] == '/') {
            return false;
        }
    }
    return true;
}

static bool usable(int index, const uint8_t *value, size_t size) {
    switch (RULES[index].form) {
    case 'n':
        return is_name(value, size);
    case 't':
        return is_text(value, size) && (RULES[index].tag != DISTRICT || is_level(value, size));
    case 'l':
        return is_lines(value, size);
    default:
        /* TLS is not built in; port 0 is none. */
        return size == RULES[index].most && (RULES[index].tag != TLS || value[0] == 0) &&
               (RULES[index].tag != PORT || value[0] || value[1]);
    }
}

static uint8_t checked(const values_t *values, uint8_t *about) {
    for (int i = 0; i < FIELDS; i++) {
        *about = RULES[i].tag;
        if (RULES[i].must && !values->size[i]) {
            return MISSING;
        }
        if (values->size[i] && !usable(i, values->value + RULES[i].at, values->size[i])) {
            return BAD_VALUE;
        }
    }
    return 0;
}

static void erase(slot_t *slot) { memset(slot, 0xff, SLOT_SIZE); }

/* Put what is staged in force over what is; 0, or why it is refused and the field it is about. */
uint8_t commit(const uint8_t id[COMMIT_ID], uint8_t *about) {
    static slot_t made;
    made.magic = MAGIC;
    made.generation = in_force ? in_force->generation + 1 : 1;
    memcpy(made.id, id, COMMIT_ID);
    for (int i = 0; i < FIELDS; i++) {
        const values_t *from = is_staged[i] ? &staged : in_force ? &in_force->values : NULL;
        made.values.size[i] = from ? from->size[i] : 0;
        memcpy(made.values.value + RULES[i].at, from ? from->value + RULES[i].at : NULL, made.values.size[i]);
    }
    uint8_t refused = checked(&made.values, about);
    if (refused) {
        return refused;
    }
    made.crc = crc32(0, (const uint8_t *)&made, offsetof(slot_t, crc));
    slot_t *free = in_force == SLOT(0) ? SLOT(1) : SLOT(0);
    erase(free);
    memcpy(free, &made, sizeof made);
    if (!whole(free)) {
        return STORAGE;
    }
    in_force = free;
    stage_nothing();
    return 0;
}
