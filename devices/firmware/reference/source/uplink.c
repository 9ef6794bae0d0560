/* The way to the broker: a modem with AT commands, and MQTT 5 through it. Nothing here waits.
 *
 *   AT, AT+CIPMODE=1, AT+CIPSTART="TCP","host","port" -> CONNECT -> bytes pass -> MQTT CONNECT -> PUBLISH, QoS 1
 *
 * What goes wrong ends in hanging up, and another try five seconds later.
 */
#include "gateway.h"

enum { ATTENTION, TRANSPARENT, DIAL, LOG_IN, ONLINE, SILENCE, ESCAPE, HANG_UP, REST };
enum { CONNECT = 0x10, CONNACK = 0x20, PUBLISH_QOS_1 = 0x32, PUBACK = 0x40, PINGREQ = 0xc0, PINGRESP = 0xd0 };
enum { BAD_LOGIN = 0x86, FORBIDDEN = 0x87 };
enum { KEEP_ALIVE_S = 60, PING_MS = 25000, ACK_MS = 15000, REST_MS = 5000, PERIOD_S = 60 };

uint8_t link_state, last_error;
uint32_t published, acknowledged;

static int state = REST;
static uint32_t since_ms, said_ms, sent_ms, heard_ms, due_ms;
static char line[64];
static size_t line_size;

/* The packet that is coming: its first bytes are enough for us, properties are passed over. */
static struct {
    uint8_t type, body[4];
    size_t size, had, shift;
    enum { TYPE, SIZE, BODY } part;
} packet;

/* The report that the broker has not acknowledged, 0 readings: none. */
static uint32_t sequence, pending;
static uint64_t pending_at;
static bool pending_sent;

static uint32_t counted;
static void count(uint8_t byte) {
    (void)byte;
    counted++;
}

static void enter(int next) {
    state = next;
    since_ms = said_ms = uptime_ms;
    line_size = 0;
    packet.part = TYPE;
}

static bool passed(uint32_t from, uint32_t milliseconds) { return uptime_ms - from >= milliseconds; }

static void tell(uint8_t now, uint8_t error) {
    static const char *const LINKS[] = {"UNCONFIGURED", "MODEM", "NETWORK", "TCP", "TLS", "MQTT"};
    if (now == link_state && error == last_error) {
        return;
    }
    link_state = now;
    last_error = error;
    print(console, "link: ");
    print(console, LINKS[now]);
    print(console, ", last error ");
    print_number(console, error);
    print(console, "\r\n");
}

/* End the connection, if there is one. The escape needs a second of silence on both sides. */
static void fail(uint8_t error) {
    tell(MODEM, error);
    pending_sent = false;
    enter(SILENCE);
}

void uplink_restart(void) {
    tell(commit_id() ? MODEM : UNCONFIGURED, NONE);
    pending = 0;
    pending_sent = false;
    due_ms = uptime_ms;
    enter(SILENCE);
}

static void say(const char *text) { print(modem, text); }

static void say_field(field_t tag) {
    size_t size;
    for (const uint8_t *byte = field(tag, &size); size--; byte++) {
        modem(*byte);
    }
}

static uint32_t field_number(field_t tag, uint32_t otherwise) {
    size_t size;
    const uint8_t *value = field(tag, &size);
    return size ? (uint32_t)number(value, size) : otherwise;
}

static void dial(void) {
    say("AT+CIPSTART=\"TCP\",\"");
    say_field(HOST);
    say("\",\"");
    print_number(modem, field_number(PORT, 0));
    say("\"\r\n");
    enter(DIAL);
}

static void say_size(size_t size) {
    modem((uint8_t)(size >> 8));
    modem((uint8_t)size);
}

static void say_string(field_t tag) {
    size_t size;
    field(tag, &size);
    say_size(size);
    say_field(tag);
}

static void say_head(uint8_t type, size_t size) {
    modem(type);
    do {
        modem((uint8_t)(size % 128 | (size > 127 ? 0x80 : 0)));
        size /= 128;
    } while (size);
    sent_ms = uptime_ms;
}

static void log_in(void) {
    size_t id, user, password;
    field(GATEWAY, &id), field(USER, &user), field(PASSWORD, &password);
    say_head(CONNECT, 11 + 2 + id + (user ? 2 + user : 0) + (password ? 2 + password : 0));
    say_size(4);
    say("MQTT");
    modem(5);
    modem((uint8_t)(0x02 | (user ? 0x80 : 0) | (password ? 0x40 : 0)));
    say_size(KEEP_ALIVE_S);
    modem(0); /* no properties */
    say_string(GATEWAY);
    if (user) {
        say_string(USER);
    }
    if (password) {
        say_string(PASSWORD);
    }
    enter(LOG_IN);
}

/* 0 is none. */
static uint16_t packet_id(void) { return sequence & 0xffff ? (uint16_t)sequence : 1; }

static void publish(void) {
    size_t district, id;
    field(DISTRICT, &district), field(GATEWAY, &id);
    size_t topic = 5 + district + 9 + id + 3;
    counted = 0;
    report(count, sequence, pending_at);
    say_head(PUBLISH_QOS_1, 2 + topic + 2 + 1 + counted);
    say_size(topic);
    say("city/");
    say_field(DISTRICT);
    say("/gateway/");
    say_field(GATEWAY);
    say("/up");
    say_size(packet_id());
    modem(0); /* no properties */
    report(modem, sequence, pending_at);
    pending_sent = true;
}

/* Make the report that is due; it stays until the broker has it. */
static void report_if_due(void) {
    if (!pending && utc_ms() && (int32_t)(uptime_ms - due_ms) >= 0) {
        due_ms = uptime_ms + field_number(PERIOD, PERIOD_S) * 1000;
        pending_at = utc_ms();
        pending = report(count, ++sequence, pending_at);
        published += pending;
        pending_sent = false;
    }
    if (pending && !pending_sent) {
        publish();
    }
}

static void acknowledge(uint8_t reason) {
    if (!pending_sent || number(packet.body, 2) != packet_id()) {
        return;
    }
    acknowledged += reason < 0x80 ? pending : 0;
    pending = 0;
    pending_sent = false;
    tell(MQTT, reason < 0x80 ? NONE : reason == FORBIDDEN ? NOT_ALLOWED : BROKER);
}

static void packet_came(void) {
    heard_ms = uptime_ms;
    if (state == LOG_IN && packet.type == CONNACK && packet.size >= 2) {
        uint8_t reason = packet.body[1];
        if (reason == 0) {
            enter(ONLINE);
            tell(MQTT, last_error);
        } else {
            fail(reason == BAD_LOGIN || reason == FORBIDDEN ? LOGIN : BROKER);
        }
    } else if (state == ONLINE && packet.type == PUBACK && packet.size >= 2) {
        acknowledge(packet.size > 2 ? packet.body[2] : 0);
    } else if (packet.type != PINGRESP) {
        fail(LOST); /* it takes leave, or the modem says that the connection is gone */
    }
}

static void packet_byte(uint8_t byte) {
    if (packet.part == TYPE) {
        packet.type = byte;
        packet.size = packet.had = packet.shift = 0;
        packet.part = SIZE;
        return;
    }
    if (packet.part == SIZE) {
        packet.size |= (size_t)(byte & 0x7f) << packet.shift;
        packet.shift += 7;
        packet.part = byte & 0x80 && packet.shift < 28 ? SIZE : BODY;
    } else {
        if (packet.had < sizeof packet.body) {
            packet.body[packet.had] = byte;
        }
        packet.had++;
    }
    /* A type that is none means that the modem speaks: what it says has no size. */
    if (packet.part == BODY && (packet.had == packet.size || packet.type < CONNECT)) {
        packet.part = TYPE;
        packet_came();
    }
}

static bool line_is(const char *text) { return line_size == length(text) && same(line, text, line_size); }

static void line_came(void) {
    if (state == ATTENTION && line_is("OK")) {
        say("AT+CIPMODE=1\r\n");
        enter(TRANSPARENT);
    } else if (state == TRANSPARENT && line_is("OK")) {
        tell(NETWORK, last_error);
        dial();
    } else if (state == DIAL && line_is("CONNECT")) {
        tell(TCP, last_error);
        log_in();
    } else if (state == DIAL && line_is("CONNECT FAIL")) {
        fail(REFUSED);
    } else if (state == DIAL && line_is("DNS FAIL")) {
        fail(NAME);
    } else if (state == DIAL && line_is("ERROR")) {
        fail(BROKER);
    } else if (state == ESCAPE && line_is("OK")) {
        say("AT+CIPSHUT\r\n");
        enter(HANG_UP);
    } else if (state == HANG_UP && line_is("SHUT OK")) {
        enter(REST);
    }
}

static void hear(uint8_t byte) {
    if (state == LOG_IN || state == ONLINE) {
        packet_byte(byte);
    } else if (byte == '\n') {
        line_came();
        line_size = 0;
    } else if (byte != '\r' && line_size < sizeof line) {
        line[line_size++] = (char)byte;
    }
}

/* Ask again every two seconds: a modem takes some to start. */
static void attend(void) {
    if (passed(since_ms, 10000)) {
        tell(MODEM, NO_NETWORK);
    }
    if (passed(said_ms, 2000)) {
        say("AT\r\n");
        said_ms = uptime_ms;
    }
}

void uplink_poll(void) {
    for (int byte = modem_take(); byte >= 0; byte = modem_take()) {
        hear((uint8_t)byte);
    }
    switch (state) {
    case ATTENTION:
        attend();
        break;
    case TRANSPARENT:
    case DIAL:
    case LOG_IN:
        if (passed(since_ms, state == TRANSPARENT ? 5000 : 30000)) {
            fail(state == TRANSPARENT ? NO_NETWORK : SILENT);
        }
        break;
    case ONLINE:
        report_if_due();
        if (passed(sent_ms, PING_MS)) {
            say_head(PINGREQ, 0);
        } else if (passed(sent_ms, ACK_MS) && (int32_t)(sent_ms - heard_ms) > 0) {
            fail(LOST);
        }
        break;
    case SILENCE:
        if (passed(since_ms, 1100)) {
            say("+++");
            enter(ESCAPE);
        }
        break;
    case ESCAPE:
        if (passed(since_ms, 2000)) {
            enter(REST);
        }
        break;
    case HANG_UP:
        if (passed(since_ms, 3000)) {
            enter(REST);
        }
        break;
    default:
        if (commit_id() && passed(since_ms, last_error ? REST_MS : 0)) {
            enter(ATTENTION);
            say("AT\r\n");
        }
    }
}
