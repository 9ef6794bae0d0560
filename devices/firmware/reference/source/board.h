/* The emulated board: QEMU's netduinoplus2, an STM32F405. Registers as in ST's RM0090.
 *
 *   0x08000000  32 KiB  the bootloader; read-only in QEMU
 *   0x20000000  32 KiB  RAM, for whoever runs
 *   0x20008000  96 KiB  stands for flash 0x08008000 to 0x0801ffff, sectors 2 to 4, since QEMU's flash cannot be written:
 *               0x08008000, 0x0800c000   the two places of the configuration, 16 KiB each
 *               0x08010000               the application, 64 KiB
 */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLASH_BASE   0x08000000u
#define FLASH_FROM   0x08008000u
#define FLASH_TO     0x08020000u
#define APPLICATION  0x08010000u
#define TO_RAM       0x18000000u /* from a flash address to the RAM that stands for it */
#define RAM_FROM     0x20000000u
#define RAM_TO       0x20008000u

/* What the emulator puts into the bootloader's flash before it starts the board. */
#define UNIQUE_ID    ((const uint8_t *)0x08007ff0u) /* 12 bytes */
#define BOOT0        (*(const volatile uint32_t *)0x08007ffcu) /* 1: the pin is high */

/* The application leaves a word here when it restarts into the bootloader. */
#define MAILBOX      (*(volatile uint32_t *)0x20007ffcu)
#define STAY         0x59415453u /* "STAY" */

typedef struct {
    volatile uint32_t sr, dr, brr, cr1, cr2, cr3, gtpr;
} usart_t;

#define USART1 ((usart_t *)0x40011000u) /* console and bootloader */
#define USART2 ((usart_t *)0x40004400u) /* modem */
#define USART_RXNE 0x20u
#define USART_TXE  0x80u
#define USART_ON   0x202cu /* UE, RXNEIE, TE, RE */
#define USART1_IRQ 37
#define USART2_IRQ 38

#define VTOR         (*(volatile uint32_t *)0xe000ed08u)
#define SYSTICK_CTRL (*(volatile uint32_t *)0xe000e010u)
#define SYSTICK_LOAD (*(volatile uint32_t *)0xe000e014u)
#define SYSTICK_VAL  (*(volatile uint32_t *)0xe000e018u)
#define NVIC_ENABLE  ((volatile uint32_t *)0xe000e100u)
#define NVIC_DISABLE ((volatile uint32_t *)0xe000e180u)
#define NVIC_CLEAR   ((volatile uint32_t *)0xe000e280u)
#define CORE_HZ      168000000u

static inline void usart_open(usart_t *port, uint32_t interrupt) {
    port->cr1 = USART_ON;
    NVIC_ENABLE[interrupt / 32] = 1u << interrupt % 32;
}

static inline bool usart_has(const usart_t *port) { return port->sr & USART_RXNE; }

static inline void usart_put(usart_t *port, uint8_t byte) {
    while (!(port->sr & USART_TXE)) {
    }
    port->dr = byte;
}

/* Leave whatever runs for the program whose vector table is at `table`. */
static inline void __attribute__((noreturn)) jump(uint32_t table) {
    const uint32_t *vector = (const uint32_t *)table;
    __asm volatile("cpsid i");
    SYSTICK_CTRL = 0;
    NVIC_DISABLE[1] = 0xffffffff; /* both ports, 37 and 38 */
    VTOR = table;
    __asm volatile("msr msp, %0\n bx %1" : : "r"(vector[0]), "r"(vector[1]) : "memory");
    __builtin_unreachable();
}

#endif
