/* The reference gateway: console on USART1, modem on USART2, a millisecond tick, and a loop that sleeps between. */
#include "gateway.h"

enum { RING = 1024 };

typedef struct {
    uint8_t bytes[RING];
    volatile uint32_t in, out;
} ring_t;

volatile uint32_t uptime_ms;
uint64_t epoch_ms;
uint8_t image_digest[32];

static ring_t from_console, from_modem;
static uint32_t restart_ms;
static bool into_loader;

extern uint8_t image_end[], data_from[], data_to[], data_end[], bss_from[], bss_end[];

static void take(ring_t *ring, const usart_t *port) {
    while (usart_has(port)) {
        uint8_t byte = (uint8_t)port->dr;
        if (ring->in - ring->out < RING) {
            ring->bytes[ring->in++ % RING] = byte;
        }
    }
}

static int next(ring_t *ring) { return ring->in == ring->out ? -1 : ring->bytes[ring->out++ % RING]; }

void console(uint8_t byte) { usart_put(USART1, byte); }

void modem(uint8_t byte) { usart_put(USART2, byte); }

int modem_take(void) { return next(&from_modem); }

void restart_soon(bool loader) {
    enum { AFTER_MS = 200 };
    into_loader = loader;
    restart_ms = uptime_ms + AFTER_MS;
}

static void tick(void) { uptime_ms++; }

static void console_interrupt(void) { take(&from_console, USART1); }

static void modem_interrupt(void) { take(&from_modem, USART2); }

static void sleep(void) {
    __asm volatile("cpsid i");
    if (from_console.in == from_console.out && from_modem.in == from_modem.out) {
        __asm volatile("wfi");
    }
    __asm volatile("cpsie i");
}

static void __attribute__((noreturn)) run(void) {
    static frame_t frame;
    for (;;) {
        for (int byte = next(&from_console); byte >= 0; byte = next(&from_console)) {
            if (frame_take((uint8_t)byte, &frame)) {
                answer(&frame);
                frame_send(&frame);
            }
        }
        uplink_poll();
        if (restart_ms && (int32_t)(uptime_ms - restart_ms) >= 0) {
            MAILBOX = into_loader ? STAY : 0;
            jump(FLASH_BASE);
        }
        sleep();
    }
}

static void __attribute__((noreturn)) reset(void) {
    memcpy(data_to, data_from, (size_t)(data_end - data_to));
    memset(bss_from, 0, (size_t)(bss_end - bss_from));
    const uint8_t *image = (const uint8_t *)(APPLICATION + TO_RAM);
    sha256(image, (size_t)(image_end - image), image_digest);
    usart_open(USART1, USART1_IRQ);
    usart_open(USART2, USART2_IRQ);
    SYSTICK_LOAD = CORE_HZ / 1000 - 1;
    SYSTICK_VAL = 0;
    SYSTICK_CTRL = 7; /* core clock, interrupt, on */
    __asm volatile("cpsie i");
    print(console, BOARD_NAME " " BOARD_REVISION " " VERSION_TEXT " starting\r\n");
    fields_open();
    uplink_restart();
    run();
}

static void __attribute__((noreturn)) fault(void) {
    print(console, "fault: stopped\r\n");
    for (;;) {
    }
}

enum { SYSTICK = 15, EXTERNAL = 16 };
__attribute__((section(".vectors"), used)) static void (*const VECTORS[EXTERNAL + USART2_IRQ + 1])(void) = {
    [0] = (void (*)(void))(RAM_TO - 16),
    [1] = reset,
    [2] = fault,
    [3] = fault,
    [4] = fault,
    [5] = fault,
    [6] = fault,
    [SYSTICK] = tick,
    [EXTERNAL + USART1_IRQ] = console_interrupt,
    [EXTERNAL + USART2_IRQ] = modem_interrupt,
};
