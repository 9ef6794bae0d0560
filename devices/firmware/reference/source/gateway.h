/* What the parts of the reference application know of each other. Each part says at its top what it does. */
#ifndef GATEWAY_H
#define GATEWAY_H

#include "board.h"

#define BOARD_NAME       "undercity-ref"
#define BOARD_REVISION   "r1"
#define BOARD_CHIP       "stm32:0x413"
#define VERSION_TEXT     "1.0.0"
#define SECURITY_COUNTER 1u

/* text.c */
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
bool same(const void *one, const void *other, size_t size);
size_t length(const char *text);
uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size);
void sha256(const uint8_t *data, size_t size, uint8_t digest[32]);
uint64_t number(const uint8_t *data, size_t size);
void put_number(uint8_t *to, uint64_t value, size_t size);

typedef void (*out_t)(uint8_t byte);
void print(out_t out, const char *text);
void print_number(out_t out, uint64_t value);

/* main.c: time, the ports */
extern volatile uint32_t uptime_ms;
extern uint64_t epoch_ms; /* of the start; 0: nobody has said what time it is */
extern uint8_t image_digest[32];
void console(uint8_t byte);
int modem_take(void); /* the next byte, -1: none */
void modem(uint8_t byte);
void restart_soon(bool into_loader);
static inline uint64_t utc_ms(void) { return epoch_ms ? epoch_ms + uptime_ms : 0; }

/* frames.c: 00 | COBS(version, type, sequence, body, CRC) | 00 */
enum { BODY_MAX = 1024, HEAD = 3, CRC = 2, RAW_MAX = HEAD + BODY_MAX + CRC };
typedef struct {
    uint8_t raw[RAW_MAX]; /* version, type, sequence, body */
    size_t size;          /* of the body */
} frame_t;
bool frame_take(uint8_t byte, frame_t *frame);
void frame_send(const frame_t *frame);

/* fields.c: the configuration, staged and in force */
typedef enum {
    GATEWAY = 0x40, DISTRICT, HOST, PORT, TLS, USER, PASSWORD, SITE = 0x4a, ZONE, PERIOD, CHILDREN
} field_t;
enum { FIELDS = 11, COMMIT_ID = 8 };
void fields_open(void);
int field_index(uint32_t tag); /* -1: it has no such field */
uint8_t field_tag(int index);
size_t field_most(int index);
const uint8_t *commit_id(void); /* of what is in force; NULL: nothing is */
const uint8_t *field(field_t tag, size_t *size);
const uint8_t *field_at(int index, size_t *size);
size_t staged_size(int index);
void stage(int index, size_t keep, const uint8_t *value, size_t size);
void stage_nothing(void);
uint32_t staged_crc(void);
uint8_t commit(const uint8_t id[COMMIT_ID], uint8_t *about);

/* protocol.c */
enum {
    MALFORMED = 1, UNKNOWN_REQUEST, UNKNOWN_FIELD, BAD_VALUE, TOO_LONG, GAP, STAGED_DIFFERS, MISSING, SECRET,
    STORAGE, BUSY, UNSUPPORTED, WRONG_VERSION
};
void answer(frame_t *frame); /* the request becomes its answer */

/* uplink.c: modem and MQTT */
enum { UNCONFIGURED, MODEM, NETWORK, TCP, WITH_TLS, MQTT };
enum { NONE, NO_NETWORK, NAME, REFUSED, SILENT, LOGIN = 8, BROKER, LOST, NOT_ALLOWED };
extern uint8_t link_state, last_error;
extern uint32_t published, acknowledged;
void uplink_restart(void);
void uplink_poll(void);

/* report.c: the children's readings as JSON v1 */
uint32_t report(out_t out, uint32_t sequence, uint64_t at_ms); /* how many readings */

#endif
