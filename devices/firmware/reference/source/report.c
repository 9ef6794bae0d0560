/* Readings of the children as one JSON v1 array. There are no sensors: values follow a slow triangle, one per child. */
#include "gateway.h"

typedef struct {
    const char *name;
    uint32_t middle, swing; /* thousandths */
} quantity_t;

static const quantity_t PRESSURE[] = {{"pressure_kpa", 320000, 25000}, {"battery_v", 3580, 20}, {NULL, 0, 0}};
static const quantity_t COVER[] = {{"tilt_deg", 1200, 400}, {"water_level_m", 150, 50}, {NULL, 0, 0}};
static const quantity_t HEAT[] = {{"supply_c", 82000, 2000}, {"return_c", 48000, 1000}, {NULL, 0, 0}};
static const struct {
    const char *kind;
    const quantity_t *quantities;
} KINDS[] = {{"water_pressure", PRESSURE}, {"manhole_cover", COVER}, {"heat_meter", HEAT}};

static const quantity_t *quantities_of(const uint8_t *kind, size_t size) {
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        if (length(KINDS[i].kind) == size && same(KINDS[i].kind, kind, size)) {
            return KINDS[i].quantities;
        }
    }
    return NULL;
}

/* Up for 64 reports, down for 64; each child and each quantity at another place of it. */
static uint32_t value_at(const quantity_t *quantity, uint32_t step) {
    uint32_t place = step % 128, height = place < 64 ? place : 128 - place;
    return quantity->middle - quantity->swing + quantity->swing * height / 32;
}

static void print_thousandths(out_t out, uint32_t value) {
    print_number(out, value / 1000);
    out('.');
    for (uint32_t unit = 100; unit; unit /= 10) {
        out((uint8_t)('0' + value / unit % 10));
    }
}

static void print_reading(out_t out, const uint8_t *id, size_t size, uint32_t sequence, uint64_t at_ms) {
    print(out, "{\"v\":1,\"id\":\"");
    while (size--) {
        out(*id++);
    }
    print(out, "\",\"t\":");
    print_number(out, at_ms);
    print(out, ",\"seq\":");
    print_number(out, sequence);
    print(out, ",\"m\":{");
}

/* Children of a kind that it has no sensor for are passed over. The same arguments always give the same bytes. */
uint32_t report(out_t out, uint32_t sequence, uint64_t at_ms) {
    size_t size;
    const uint8_t *line = field(CHILDREN, &size), *end = line + size;
    uint32_t readings = 0;
    out('[');
    while (line < end) {
        const uint8_t *id = line, *kind = line;
        while (*kind != ' ') {
            kind++;
        }
        for (line = kind; *line != '\n';) {
            line++;
        }
        const quantity_t *quantity = quantities_of(kind + 1, (size_t)(line++ - kind) - 1);
        if (!quantity) {
            continue;
        }
        if (readings++) {
            out(',');
        }
        print_reading(out, id, (size_t)(kind - id), sequence, at_ms);
        for (uint32_t i = 0; quantity[i].name; i++) {
            print(out, i ? ",\"" : "\"");
            print(out, quantity[i].name);
            print(out, "\":");
            print_thousandths(out, value_at(&quantity[i], sequence + 37 * readings + 11 * i));
        }
        print(out, "}}");
    }
    out(']');
    return readings;
}
