/* The requests of the gateway application protocol (deploy/docs/gateways/protocol.md), one function each.
 *
 * A request's frame becomes its answer in place; the request's body is read from a copy.
 */
#include "gateway.h"

enum {
    HELLO = 1, TIME, GET, SET, COMMIT, ABORT, STATUS, REBOOT, ENTER_LOADER, CSR,
    ANSWERS = 0x80, REFUSES = 0xc0,
};
enum {
    PROTOCOLS = 1, BOARD, REVISION, CHIP, SERIAL, VERSION, COUNTER, IMAGE_DIGEST, STATE, UTC, UPTIME, CAPABILITIES,
    ID, LARGEST, OFFSET = 0x10, FIELD, CRC_OF_STAGED, LENGTH, FIELDS_KNOWN, FIELDS_SET, CODE = 0x20, ABOUT,
    LINK = 0x30, LAST_ERROR, PUBLISHED, ACKNOWLEDGED,
};
enum { LOADER = 4, PIECE = 900 };

static uint8_t asked[BODY_MAX];
static size_t asked_size;
static frame_t *made;

static void add(uint32_t tag, const void *value, size_t size) {
    const uint8_t *from = value;
    do {
        size_t part = size < 255 ? size : 255;
        uint8_t *to = made->raw + HEAD + made->size;
        to[0] = (uint8_t)tag;
        to[1] = (uint8_t)part;
        memcpy(to + 2, from, part);
        made->size += part + 2;
        from += part;
        size -= part;
    } while (size);
}

static void add_text(uint32_t tag, const char *text) { add(tag, text, length(text)); }

static void add_number(uint32_t tag, uint64_t value, size_t size) {
    uint8_t bytes[8];
    put_number(bytes, value, size);
    add(tag, bytes, size);
}

static uint8_t refuse(uint8_t code, int about) {
    made->size = 0;
    add_number(CODE, code, 1);
    if (about >= 0) {
        add_number(ABOUT, (uint64_t)about, 1);
    }
    return code;
}

static bool well_formed(void) {
    size_t at = 0;
    while (at + 2 <= asked_size) {
        at += 2u + asked[at + 1];
    }
    return at == asked_size;
}

/* All parts of a value, joined; its size, -1 when it is not there. */
static int value_of(uint32_t tag, uint8_t *to, size_t most) {
    int size = -1;
    for (size_t at = 0; at < asked_size; at += 2u + asked[at + 1]) {
        if (asked[at] == tag) {
            size = size < 0 ? 0 : size;
            if ((size_t)size + asked[at + 1] <= most) {
                memcpy(to + size, asked + at + 2, asked[at + 1]);
            }
            size += asked[at + 1];
        }
    }
    return size;
}

/* A number of exactly `size` bytes; false when it is not that. */
static bool number_of(uint32_t tag, size_t size, uint64_t *value) {
    uint8_t bytes[8];
    if (value_of(tag, bytes, size) != (int)size) {
        return false;
    }
    *value = number(bytes, size);
    return true;
}

static bool offset_of(uint64_t *offset) {
    *offset = 0;
    uint8_t bytes[2];
    return value_of(OFFSET, bytes, 2) < 0 || number_of(OFFSET, 2, offset);
}

static void add_commit_id(void) {
    if (commit_id()) {
        add(ID, commit_id(), COMMIT_ID);
    }
}

static uint8_t hello(void) {
    char serial[25];
    for (int i = 0; i < 24; i++) {
        serial[i] = "0123456789abcdef"[UNIQUE_ID[i / 2] >> (i % 2 ? 0 : 4) & 15];
    }
    serial[24] = 0;
    add_number(PROTOCOLS, 1, 1);
    add_text(BOARD, BOARD_NAME);
    add_text(REVISION, BOARD_REVISION);
    add_text(CHIP, BOARD_CHIP);
    add_text(SERIAL, serial);
    add_text(VERSION, VERSION_TEXT);
    add_number(STATE, commit_id() != NULL, 1);
    add_number(UPTIME, uptime_ms / 1000, 4);
    add_number(COUNTER, SECURITY_COUNTER, 4);
    add(IMAGE_DIGEST, image_digest, sizeof image_digest);
    add_number(UTC, utc_ms(), 8);
    add_number(CAPABILITIES, LOADER, 1);
    add_number(LARGEST, BODY_MAX, 2);
    add_commit_id();
    return 0;
}

static uint8_t set_time(void) {
    uint64_t utc;
    if (!number_of(UTC, 8, &utc) || utc <= uptime_ms) {
        return refuse(BAD_VALUE, UTC);
    }
    epoch_ms = utc - uptime_ms;
    add_number(UTC, utc_ms(), 8);
    return 0;
}

static uint8_t get_fields(void) {
    uint8_t known[FIELDS], set[FIELDS];
    size_t held = 0, size;
    for (int i = 0; i < FIELDS; i++) {
        known[i] = field_tag(i);
        field_at(i, &size);
        if (size) {
            set[held++] = field_tag(i);
        }
    }
    add(FIELDS_KNOWN, known, FIELDS);
    add(FIELDS_SET, set, held);
    add_commit_id();
    return 0;
}

static uint8_t get(void) {
    uint64_t tag, offset;
    size_t size;
    if (value_of(FIELD, NULL, 0) < 0) {
        return get_fields();
    }
    if (!number_of(FIELD, 1, &tag)) {
        return refuse(BAD_VALUE, FIELD);
    }
    if (!offset_of(&offset)) {
        return refuse(BAD_VALUE, OFFSET);
    }
    int index = field_index((uint32_t)tag);
    if (index < 0) {
        return refuse(UNKNOWN_FIELD, (int)tag);
    }
    if (tag == PASSWORD) {
        return refuse(SECRET, (int)tag);
    }
    const uint8_t *value = field_at(index, &size);
    size_t from = offset < size ? (size_t)offset : size;
    size_t piece = size - from < PIECE ? size - from : PIECE;
    add_number(LENGTH, size, 2);
    add((uint32_t)tag, value + from, piece);
    return 0;
}

/* Everything is looked at before anything is staged. */
static uint8_t set(void) {
    uint64_t offset;
    if (!offset_of(&offset)) {
        return refuse(BAD_VALUE, OFFSET);
    }
    for (int staging = 0; staging < 2; staging++) {
        size_t added[FIELDS] = {0};
        for (size_t at = 0; at < asked_size; at += 2u + asked[at + 1]) {
            uint8_t tag = asked[at];
            size_t size = asked[at + 1];
            int index = field_index(tag);
            if (tag == OFFSET) {
                continue;
            }
            if (index < 0) {
                return refuse(UNKNOWN_FIELD, tag);
            }
            if (offset + added[index] + size > field_most(index)) {
                return refuse(TOO_LONG, tag);
            }
            if (!staging && staged_size(index) < offset) {
                return refuse(GAP, tag);
            }
            if (staging) {
                stage(index, (size_t)offset + added[index], asked + at + 2, size);
            }
            added[index] += size;
        }
    }
    return 0;
}

static uint8_t put_in_force(void) {
    uint8_t id[COMMIT_ID], about;
    uint64_t crc;
    if (value_of(ID, id, COMMIT_ID) != COMMIT_ID) {
        return refuse(BAD_VALUE, ID);
    }
    if (!commit_id() || !same(commit_id(), id, COMMIT_ID)) {
        if (!number_of(CRC_OF_STAGED, 4, &crc)) {
            return refuse(BAD_VALUE, CRC_OF_STAGED);
        }
        if (crc != staged_crc()) {
            return refuse(STAGED_DIFFERS, -1);
        }
        uint8_t refused = commit(id, &about);
        if (refused) {
            return refuse(refused, refused == STORAGE ? -1 : about);
        }
        print(console, "configuration stored\r\n");
        uplink_restart();
    }
    add(ID, id, COMMIT_ID);
    return 0;
}

static uint8_t status(void) {
    add_number(LINK, link_state, 1);
    add_number(LAST_ERROR, last_error, 1);
    add_number(PUBLISHED, published, 4);
    add_number(ACKNOWLEDGED, acknowledged, 4);
    add_number(UTC, utc_ms(), 8);
    return 0;
}

static uint8_t obey(uint8_t request) {
    switch (request) {
    case HELLO:
        return hello();
    case TIME:
        return set_time();
    case GET:
        return get();
    case SET:
        return set();
    case COMMIT:
        return put_in_force();
    case ABORT:
        stage_nothing();
        return 0;
    case STATUS:
        return status();
    case REBOOT:
    case ENTER_LOADER:
        restart_soon(request == ENTER_LOADER);
        return 0;
    case CSR:
        return refuse(UNSUPPORTED, -1);
    default:
        return refuse(UNKNOWN_REQUEST, -1);
    }
}

void answer(frame_t *frame) {
    uint8_t version = frame->raw[0], request = frame->raw[1];
    made = frame;
    asked_size = frame->size;
    memcpy(asked, frame->raw + HEAD, asked_size);
    frame->size = 0;
    frame->raw[0] = 1;
    uint8_t refused = version != 1    ? refuse(WRONG_VERSION, -1)
                      : !well_formed() ? refuse(MALFORMED, -1)
                                       : obey(request);
    frame->raw[1] = (uint8_t)(request + (refused ? REFUSES : ANSWERS));
}
