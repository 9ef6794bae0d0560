/* Frames on the console: 00 | COBS(version, type, sequence, body, CRC high, CRC low) | 00. */
#include "gateway.h"

enum { WIRE_MAX = RAW_MAX + RAW_MAX / 254 + 1 };

/* CRC-16/CCITT-FALSE. */
static uint16_t crc16(const uint8_t *data, size_t size) {
    uint32_t crc = 0xffff;
    while (size--) {
        crc ^= (uint32_t)*data++ << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
        }
    }
    return (uint16_t)crc;
}

/* What stood between two delimiters, in place; -1 when it is no frame. */
static int decoded(const uint8_t *wire, size_t size, uint8_t *raw) {
    size_t at = 0, made = 0;
    while (at < size) {
        size_t code = wire[at], end = at + code;
        if (code == 0 || end > size || made + code > RAW_MAX + 1) {
            return -1;
        }
        for (at++; at < end; at++) {
            raw[made++] = wire[at];
        }
        if (code != 0xff && at < size) {
            raw[made++] = 0;
        }
    }
    if (made < HEAD + CRC || made > RAW_MAX || number(raw + made - CRC, CRC) != crc16(raw, made - CRC)) {
        return -1;
    }
    return (int)made;
}

/* One byte of the line; true when it completes a request. What is none is dropped without an answer. */
bool frame_take(uint8_t byte, frame_t *frame) {
    static uint8_t wire[WIRE_MAX];
    static uint8_t raw[RAW_MAX + 2];
    static size_t held;
    static uint32_t last_ms;
    enum { PAUSE_MS = 2000 };
    if (uptime_ms - last_ms > PAUSE_MS) {
        held = 0;
    }
    last_ms = uptime_ms;
    if (byte != 0) {
        /* One too long is never whole: it is held as such until its delimiter. */
        if (held < WIRE_MAX) {
            wire[held] = byte;
        }
        held = held < WIRE_MAX ? held + 1 : WIRE_MAX + 1;
        return false;
    }
    size_t size = held;
    held = 0;
    int made = size && size <= WIRE_MAX ? decoded(wire, size, raw) : -1;
    if (made < 0 || raw[1] == 0 || raw[1] >= 0x40) {
        return false;
    }
    memcpy(frame->raw, raw, (size_t)made - CRC);
    frame->size = (size_t)made - HEAD - CRC;
    return true;
}

void frame_send(const frame_t *frame) {
    size_t size = HEAD + frame->size;
    uint16_t crc = crc16(frame->raw, size);
    static uint8_t raw[RAW_MAX];
    memcpy(raw, frame->raw, size);
    put_number(raw + size, crc, CRC);
    size += CRC;
    console(0);
    for (size_t at = 0; at <= size;) {
        size_t run = 0;
        while (run < 254 && at + run < size && raw[at + run]) {
            run++;
        }
        console((uint8_t)(run + 1));
        for (size_t i = 0; i < run; i++) {
            console(raw[at + i]);
        }
        /* A full piece stands for itself; behind others comes the zero that ended them, or the end. */
        at += run == 254 ? 254 : run + 1;
        if (run == 254 && at == size) {
            console(1);
            break;
        }
    }
    console(0);
}
