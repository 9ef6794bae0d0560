/* An AVR with its bootloader in Debian's libsimavr: its UART on a pseudo-terminal, its power and reset on stdin.

   From: tests/support/emulated_avr.py, which compiles and starts it. Usage: emulated_avr MCU HZ BAUD LOADER.hex

   Prints "pty PATH", then one line for each command:
     reset       pull the reset pin: the bootloader listens
     off | on    power; flash stays, all else is gone, and bytes meant for it are lost
     cut N       power off by itself once N more bytes have come from the host
     dump PATH   write flash to a file
   Opening the pseudo-terminal anew pulls the reset pin too, as a board does that is reset by DTR.
   Ends with stdin. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <simavr/avr_ioport.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_hex.h>

#define NAP_NS 500000LL /* shorter sleeps cost more than they give */
#define LATE_NS 20000000LL /* further behind than this, lost time is not made up: watchdogs follow a wall clock */

static avr_t *avr;
static avr_irq_t *uart_in;
static int master, uart_takes = 1, powered = 1, host_there;
static long cut_after = -1, baud;

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void quiet(avr_t *which, const int level, const char *format, va_list values) {
    (void)which, (void)level, (void)format, (void)values;
}

static void refuse(const char *what) {
    fprintf(stderr, "emulated_avr: %s\n", what);
    exit(2);
}

static void sent(struct avr_irq_t *irq, uint32_t value, void *param) {
    (void)irq, (void)param;
    unsigned char byte = value;
    if (write(master, &byte, 1) != 1 && errno != EAGAIN && errno != EIO) refuse("the pseudo-terminal is gone");
}

static void takes(struct avr_irq_t *irq, uint32_t value, void *param) {
    (void)irq, (void)value;
    uart_takes = param != NULL;
}

/* Both ways to start; optiboot looks at what caused the reset. */
static void start(avr_regbit_t cause) {
    avr_reset(avr);
    avr_regbit_clear(avr, avr->reset_flags.porf);
    avr_regbit_set(avr, cause);
    memset(avr->data + 0x100, 0xa5, avr->ramend + 1 - 0x100); /* what RAM holds is chance */
    uart_takes = 1;
}

static void dump(const char *path) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(avr->flash, avr->flashend + 1, 1, file) != 1 || fclose(file)) refuse("flash cannot be dumped");
}

static void command(char *line) {
    if (!strcmp(line, "reset")) {
        if (powered) start(avr->reset_flags.extrf);
    } else if (!strcmp(line, "off")) {
        powered = 0;
    } else if (!strcmp(line, "on")) {
        powered = 1;
        start(avr->reset_flags.porf);
    } else if (!strncmp(line, "cut ", 4)) {
        cut_after = atol(line + 4);
    } else if (!strncmp(line, "dump ", 5)) {
        dump(line + 5);
    } else {
        refuse("unknown command");
    }
    printf("ok\n");
}

static void listen_to_commands(void) {
    static char line[PATH_MAX + 16];
    static size_t length;
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&in, 1, 0) == 1) {
        if (read(STDIN_FILENO, line + length, 1) != 1) exit(0);
        if (line[length] == '\n') {
            line[length] = 0;
            command(line);
            length = 0;
        } else if (++length == sizeof line) {
            refuse("a command is too long");
        }
    }
}

/* One byte, if there is one: called once in the time that a byte takes on the line. */
static void take_from_host(void) {
    struct pollfd host = {.fd = master, .events = POLLIN};
    poll(&host, 1, 0);
    int there = !(host.revents & POLLHUP);
    if (there && !host_there && powered) start(avr->reset_flags.extrf);
    host_there = there;
    unsigned char byte;
    if ((powered && !uart_takes) || read(master, &byte, 1) != 1 || !powered) return;
    avr_raise_irq(uart_in, byte);
    if (cut_after > 0 && --cut_after == 0) powered = 0;
}

/* libsimavr takes the ATmega8's UCSRC for UBRRH, which lie at one address: a byte to the host would take 8 ms. */
static void keep_baud(void) {
    for (avr_io_t *io = avr->io_port; io; io = io->next)
        if (!strcmp(io->kind, "uart")) ((avr_uart_t *)io)->cycles_per_byte = 10LL * avr->frequency / baud;
}

static void run_for(avr_cycle_count_t cycles) {
    avr_cycle_count_t end = avr->cycle + cycles;
    /* A CPU that ran into rubbish stands still until it is reset, as does one without power. */
    while (powered && avr->cycle < end && avr->state != cpu_Done && avr->state != cpu_Crashed) {
        avr_cycle_count_t before = avr->cycle;
        avr_run(avr);
        if (avr->cycle < before) break; /* the watchdog bit: cycles count from 0 again */
    }
}

static void open_pty(void) {
    master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (master < 0 || grantpt(master) || unlockpt(master)) refuse("no pseudo-terminal can be had");
    int other = open(ptsname(master), O_RDWR | O_NOCTTY);
    struct termios raw;
    if (other < 0 || tcgetattr(other, &raw)) refuse("the pseudo-terminal cannot be opened");
    cfmakeraw(&raw);
    tcsetattr(other, TCSANOW, &raw);
    close(other); /* from here on it is seen when a host opens it */
    printf("pty %s\n", ptsname(master));
}

/* Debian's file has two pieces: the bootloader, where the CPU starts, and its version in the last word of flash. */
static void load(const char *loader) {
    ihex_chunk_p chunks = NULL;
    int count = read_ihex_chunks(loader, &chunks);
    if (count < 1) refuse("the bootloader cannot be read");
    memset(avr->flash, 0xff, avr->flashend + 1);
    for (int i = 0; i < count; i++) {
        if (chunks[i].baseaddr + chunks[i].size > avr->flashend + 1) refuse("the bootloader does not fit into flash");
        memcpy(avr->flash + chunks[i].baseaddr, chunks[i].data, chunks[i].size);
    }
    avr->reset_pc = chunks[0].baseaddr;
    free_ihex_chunks(chunks);
}

static void make_cpu(const char *mcu, const char *hz, const char *loader) {
    avr_global_logger_set(quiet);
    avr = avr_make_mcu_by_name(mcu);
    if (!avr || avr_init(avr)) refuse("libsimavr does not know this part");
    avr->log = LOG_NONE;
    avr->frequency = atol(hz);
    load(loader);
    avr->codeend = avr->flashend;
    uint32_t flags = 0; /* neither lines on stdout nor sleeping inside: pace is kept here */
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    uart_in = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), sent, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), takes, avr);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), takes, NULL);
    start(avr->reset_flags.porf);
}

int main(int count, char **words) {
    if (count != 5) refuse("usage: emulated_avr MCU HZ BAUD LOADER.hex");
    baud = atol(words[3]);
    const long long byte_ns = 10 * 1000000000LL / baud;
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_cpu(words[1], words[2], words[4]);
    open_pty();
    long long due = now_ns();
    for (;;) {
        listen_to_commands();
        take_from_host();
        keep_baud();
        run_for(byte_ns * avr->frequency / 1000000000LL);
        due += byte_ns;
        long long ahead = due - now_ns();
        if (ahead > NAP_NS) {
            struct timespec rest = {.tv_nsec = ahead};
            nanosleep(&rest, NULL);
        } else if (ahead < -LATE_NS) {
            due = now_ns();
        }
    }
}
