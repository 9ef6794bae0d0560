/* ST's USART bootloader protocol (AN3155) for the emulated board, on USART1.
 *
 * It stays when BOOT0 is high, when the application asked for it, or when there is no application; otherwise it starts
 * the application at once. Like the one in ROM it has no time limits.
 */
#include "board.h"

enum { ACK = 0x79, NACK = 0x1f, SYNC = 0x7f, VERSION = 0x31, CHIP = 0x413 };
enum { GET = 0x00, GET_VERSION = 0x01, GET_ID = 0x02, READ = 0x11, GO = 0x21, WRITE = 0x31, EXTENDED_ERASE = 0x44 };

static const uint8_t COMMANDS[] = {GET, GET_VERSION, GET_ID, READ, GO, WRITE, EXTENDED_ERASE};

#define SIGNATURE 0x1fff7a10u /* unique id, and in its last two bytes the size of flash */
#define SIGNATURE_SIZE 20u
#define FLASH_KIB 1024u

static const uint32_t SECTORS[] = {0x08000000, 0x08004000, 0x08008000, 0x0800c000, 0x08010000, 0x08020000};

static uint8_t take(void) {
    while (!usart_has(USART1)) {
        /* Interrupts are masked: one that is pending only wakes the core. */
        __asm volatile("wfi");
    }
    uint8_t byte = (uint8_t)USART1->dr;
    NVIC_CLEAR[USART1_IRQ / 32] = 1u << USART1_IRQ % 32;
    return byte;
}

static void say(uint8_t byte) { usart_put(USART1, byte); }

static bool in_flash(uint32_t address, uint32_t size) {
    return address >= FLASH_FROM && address < FLASH_TO && size <= FLASH_TO - address;
}

/* One byte of what the host may read. */
static uint8_t byte_at(uint32_t address) {
    if (address >= SIGNATURE) {
        uint32_t at = address - SIGNATURE;
        if (at < 12) {
            return UNIQUE_ID[at];
        }
        return at == 18 ? (uint8_t)FLASH_KIB : at == 19 ? (uint8_t)(FLASH_KIB >> 8) : 0xff;
    }
    return *(const uint8_t *)(address >= FLASH_FROM ? address + TO_RAM : address);
}

static bool readable(uint32_t address, uint32_t size) {
    bool flash = address >= FLASH_BASE && address < FLASH_TO && size <= FLASH_TO - address;
    bool signature = address >= SIGNATURE && address < SIGNATURE + SIGNATURE_SIZE &&
                     size <= SIGNATURE + SIGNATURE_SIZE - address;
    return flash || signature;
}

/* Acknowledge the command, then take an address; false when its checksum is wrong or nothing is there. */
static bool take_address(uint32_t *address) {
    uint8_t check = 0;
    say(ACK);
    for (int i = 0; i < 4; i++) {
        uint8_t byte = take();
        check ^= byte;
        *address = *address << 8 | byte;
    }
    return (uint8_t)(take() ^ check) == 0 && readable(*address, 1);
}

static void say_identity(const uint8_t *data, uint32_t size) {
    say(ACK);
    for (uint32_t i = 0; i < size; i++) {
        say(data[i]);
    }
    say(ACK);
}

static bool read_memory(void) {
    uint32_t address = 0;
    if (!take_address(&address)) {
        return false;
    }
    say(ACK);
    uint32_t size = take();
    if ((take() ^ size) != 0xff || !readable(address, size + 1)) {
        return false;
    }
    say(ACK);
    for (uint32_t i = 0; i <= size; i++) {
        say(byte_at(address + i));
    }
    return true;
}

static bool write_memory(void) {
    static uint8_t data[256];
    uint32_t address = 0;
    if (!take_address(&address)) {
        return false;
    }
    say(ACK);
    uint32_t size = take();
    uint8_t check = (uint8_t)size;
    for (uint32_t i = 0; i <= size; i++) {
        data[i] = take();
        check ^= data[i];
    }
    if (take() != check || (size + 1) % 4 || address % 4 || !in_flash(address, size + 1)) {
        return false;
    }
    for (uint32_t i = 0; i <= size; i++) {
        /* Flash programs ones to zeros, never back. */
        *(volatile uint8_t *)(address + TO_RAM + i) &= data[i];
    }
    say(ACK);
    return true;
}

static void erase_sector(uint32_t sector) {
    for (uint32_t at = SECTORS[sector]; at < SECTORS[sector + 1]; at += 4) {
        *(volatile uint32_t *)(at + TO_RAM) = 0xffffffff;
    }
}

static bool erase_memory(void) {
    enum { FIRST = 2, END = 5, MOST = 16 };
    static uint16_t sectors[MOST];
    say(ACK);
    uint8_t check = 0, high = take(), low = take();
    uint32_t count = (uint32_t)high << 8 | low;
    check = high ^ low;
    bool all = count == 0xffff, right = all || count < MOST;
    for (uint32_t i = 0; !all && i <= count; i++) {
        high = take(), low = take();
        check ^= high ^ low;
        uint32_t sector = (uint32_t)high << 8 | low;
        right = right && sector >= FIRST && sector < END;
        sectors[i % MOST] = (uint16_t)sector;
    }
    if (take() != check || !right) {
        return false;
    }
    for (uint32_t sector = FIRST; all && sector < END; sector++) {
        erase_sector(sector);
    }
    for (uint32_t i = 0; !all && i <= count; i++) {
        erase_sector(sectors[i]);
    }
    say(ACK);
    return true;
}

/* Whether something that can run is there: a stack in RAM, an entry behind the table. */
static bool bootable(uint32_t address) {
    if (!in_flash(address, 8) || address % 512) {
        return false;
    }
    const uint32_t *vector = (const uint32_t *)(address + TO_RAM);
    return vector[0] > RAM_FROM && vector[0] <= RAM_TO && vector[1] % 2 && in_flash(vector[1] - TO_RAM, 2);
}

static bool go(void) {
    uint32_t address = 0;
    if (!take_address(&address) || !bootable(address)) {
        return false;
    }
    say(ACK);
    jump(address + TO_RAM);
}

static bool obey(uint8_t command) {
    static const uint8_t version[] = {VERSION, 0, 0};
    static const uint8_t chip[] = {1, CHIP >> 8, CHIP & 0xff};
    switch (command) {
    case GET:
        say(ACK);
        say(sizeof COMMANDS);
        say(VERSION);
        for (uint32_t i = 0; i < sizeof COMMANDS; i++) {
            say(COMMANDS[i]);
        }
        say(ACK);
        return true;
    case GET_VERSION:
        say_identity(version, sizeof version);
        return true;
    case GET_ID:
        say_identity(chip, sizeof chip);
        return true;
    case READ:
        return read_memory();
    case WRITE:
        return write_memory();
    case EXTENDED_ERASE:
        return erase_memory();
    case GO:
        return go();
    default:
        return false;
    }
}

static void __attribute__((noreturn)) serve(void) {
    while (take() != SYNC) {
    }
    say(ACK);
    for (;;) {
        uint8_t command = take();
        bool whole = (uint8_t)(take() ^ command) == 0xff;
        if (!whole || !obey(command)) {
            say(NACK);
        }
    }
}

static void __attribute__((noreturn)) reset(void) {
    bool stay = MAILBOX == STAY;
    MAILBOX = 0;
    __asm volatile("cpsid i");
    usart_open(USART1, USART1_IRQ);
    if (BOOT0 == 0 && !stay && bootable(APPLICATION)) {
        jump(APPLICATION + TO_RAM);
    }
    serve();
}

static void __attribute__((noreturn)) fault(void) {
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void (*const VECTORS[])(void) = {
    (void (*)(void))(RAM_TO - 16), reset, fault, fault, fault, fault, fault,
};
