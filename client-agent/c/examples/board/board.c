/* The emulated board, QEMU's mps2-an386: registers, memory and the emulator. There is no C library below it. */
#include "board.h"

extern uint32_t data_start, data_end, data_from, bss_start, bss_end, stack_top;

int main(void);
_Noreturn void start(void);
_Noreturn void stuck(void);

/* Any fault ends in `stuck`, and the watchdog ends that. */
__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, start, stuck, stuck, stuck, stuck, stuck, stuck,
    stuck,      stuck, stuck, stuck, stuck, stuck, stuck, stuck,
};

enum { PAINT = 0xC0DEF00D };

/* Copies what begins as something, zeroes the rest, paints the free stack, and switches the floating-point unit on, whose
   registers the compiler may use for anything: in assembly, so that it uses none before. */
__attribute__((naked)) _Noreturn void start(void) {
    __asm volatile(
        "ldr r0, =0xE000ED88\n ldr r1, [r0]\n orr r1, r1, #0xF00000\n str r1, [r0]\n dsb\n isb\n"
        "ldr r0, =data_start\n ldr r1, =data_end\n ldr r2, =data_from\n"
        "1: cmp r0, r1\n bcs 2f\n ldr r3, [r2], #4\n str r3, [r0], #4\n b 1b\n"
        "2: ldr r0, =bss_start\n ldr r1, =bss_end\n movs r2, #0\n"
        "3: cmp r0, r1\n bcs 4f\n str r2, [r0], #4\n b 3b\n"
        "4: ldr r2, =0xC0DEF00D\n mov r1, sp\n"
        "5: cmp r0, r1\n bcs 6f\n str r2, [r0], #4\n b 5b\n"
        "6: bl main\n udf #0\n");
}

_Noreturn void stuck(void) {
    for (;;) {
    }
}

uint32_t board_stack_peak(void) {
    const volatile uint32_t *at = &bss_end;
    while (at < &stack_top && *at == (uint32_t)PAINT) {
        at++;
    }
    return (uint32_t)((uintptr_t)&stack_top - (uintptr_t)at);
}

/* Semihosting. Source: Arm, "Semihosting for AArch32 and AArch64". */
static uintptr_t semihosting(uintptr_t operation, const void *block) {
    register uintptr_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = block;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void board_say(const char *text) { semihosting(0x04, text); }

void board_say_number(const char *text, uint32_t number) {
    char digits[12];
    char *at = digits + sizeof digits - 1;
    *at = 0;
    *--at = '\n';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    board_say(text);
    board_say(at);
}

_Noreturn void board_switch_off(uint32_t status) {
    const uintptr_t block[2] = {0x20026, status};
    semihosting(0x20, block);
    stuck();
}

bool board_was_told(const char *word) {
    static char line[512];
    uintptr_t block[2] = {(uintptr_t)line, sizeof line};
    if (semihosting(0x15, block) != 0) {
        return false;
    }
    for (const char *at = line; *at != 0; at++) {
        const char *one = at, *other = word;
        while (*other != 0 && *one == *other) {
            one++, other++;
        }
        if (*other == 0) {
            return true;
        }
    }
    return false;
}

/* The board has no generator: the host's stands for it. */
bool board_random(void *context, uint8_t *into, size_t bytes) {
    (void)context;
    static const char name[] = "/dev/urandom";
    const uintptr_t open[3] = {(uintptr_t)name, 1, sizeof name - 1};
    const uintptr_t file = semihosting(0x01, open);
    if (file == UINTPTR_MAX) {
        return false;
    }
    const uintptr_t read[3] = {file, (uintptr_t)into, bytes};
    const uintptr_t missing = semihosting(0x06, read);
    const uintptr_t close[1] = {file};
    semihosting(0x02, close);
    return missing == 0;
}

static volatile uint32_t *at_address(uintptr_t address) { return (volatile uint32_t *)address; }

/* CMSDK timer 0 counts down at 25 MHz. */
uint64_t board_now_ms(void) {
    static uint32_t last = UINT32_MAX;
    static uint64_t ticks;
    volatile uint32_t *timer = at_address(0x40000000);
    if (timer[0] == 0) {
        timer[2] = UINT32_MAX;
        timer[1] = UINT32_MAX;
        timer[0] = 1;
    }
    const uint32_t value = timer[1];
    ticks += last - value;
    last = value;
    return ticks / 25000;
}

/* The CMSDK watchdog counts down twice, five seconds each, then restarts the board. */
void board_put_off_watchdog(void) {
    volatile uint32_t *watchdog = at_address(0x40008000);
    watchdog[0xc00 / 4] = 0x1ACCE551;
    watchdog[0] = 5 * 25000000;
    watchdog[3] = 1;
    watchdog[2] = 3;
}

_Noreturn void board_restart(void) {
    *at_address(0xE000ED0C) = 0x05FA0004;
    stuck();
}

/* The board's PSRAM stands for the flash: programming clears bits, erasing a sector of 4 KiB sets them. */
enum { FLASH = 0x21000000, MAGIC = 0x31435742 };

const uint8_t *board_flash(uint32_t at) { return (const uint8_t *)(uintptr_t)(FLASH + at); }

const struct board_factory *board_factory(void) {
    const struct board_factory *factory = (const struct board_factory *)board_flash(0);
    return factory->magic == MAGIC ? factory : NULL;
}

bool board_flash_read(void *context, uint32_t at, uint8_t *into, uint32_t bytes) {
    (void)context;
    const uint8_t *from = board_flash(at);
    for (uint32_t index = 0; index < bytes; index++) {
        into[index] = from[index];
    }
    return true;
}

bool board_flash_program(void *context, uint32_t at, const uint8_t *from, uint32_t bytes) {
    (void)context;
    for (uint32_t index = 0; index < bytes; index += 4) {
        const uint32_t word = (uint32_t)from[index] | (uint32_t)from[index + 1] << 8 |
                              (uint32_t)from[index + 2] << 16 | (uint32_t)from[index + 3] << 24;
        *at_address(FLASH + at + index) &= word;
    }
    return true;
}

bool board_flash_erase(void *context, uint32_t at) {
    (void)context;
    /* An image that is long takes longer than the watchdog waits; whoever erases gets on. */
    board_put_off_watchdog();
    for (uint32_t offset = 0; offset < BOARD_SECTOR_BYTES; offset += 4) {
        *at_address(FLASH + at + offset) = UINT32_MAX;
    }
    return true;
}

/* The modem is on UART 0, in frames as of SLIP (RFC 1055). */
enum { UART = 0x40004000, DATA = 0, STATE = 1, CONTROL = 2, DIVIDER = 4, FULL_OUT = 1, FULL_IN = 2 };
enum { END = 0xC0, ESCAPE = 0xDB, ESCAPED_END = 0xDC, ESCAPED_ESCAPE = 0xDD };

bool board_modem_start(void) {
    volatile uint32_t *uart = at_address(UART);
    uart[DIVIDER] = 16;
    uart[CONTROL] = 3;
    return uart[CONTROL] == 3;
}

static void put(uint8_t byte) {
    volatile uint32_t *uart = at_address(UART);
    while (uart[STATE] & FULL_OUT) {
    }
    uart[DATA] = byte;
}

void board_modem_send(void *context, const uint8_t *datagram, size_t bytes) {
    (void)context;
    put(END);
    for (size_t index = 0; index < bytes; index++) {
        if (datagram[index] == END || datagram[index] == ESCAPE) {
            put(ESCAPE);
            put(datagram[index] == END ? ESCAPED_END : ESCAPED_ESCAPE);
        } else {
            put(datagram[index]);
        }
    }
    put(END);
}

size_t board_modem_receive(uint8_t *into, size_t room) {
    static size_t length;
    static bool escaped, too_long;
    volatile uint32_t *uart = at_address(UART);
    while (uart[STATE] & FULL_IN) {
        uint8_t byte = (uint8_t)uart[DATA];
        if (byte == END) {
            const size_t whole = too_long ? 0 : length;
            length = 0, escaped = false, too_long = false;
            if (whole != 0) {
                return whole;
            }
            continue;
        }
        if (byte == ESCAPE) {
            escaped = true;
            continue;
        }
        if (escaped) {
            byte = byte == ESCAPED_END ? END : ESCAPE;
            escaped = false;
        }
        if (length == room) {
            too_long = true;
        } else {
            into[length++] = byte;
        }
    }
    return 0;
}
