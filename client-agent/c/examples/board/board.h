/* The emulated board: what main.c needs of it. Everything here is what a port replaces. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Says a text; says a number behind it, and ends the line. */
void board_say(const char *text);
void board_say_number(const char *text, uint32_t number);

/* Milliseconds since the start. Call it more often than once in 171 s. */
uint64_t board_now_ms(void);

/* Puts the watchdog off for ten seconds; restarts the board; switches it off. */
void board_put_off_watchdog(void);
_Noreturn void board_restart(void);
_Noreturn void board_switch_off(uint32_t status);

/* Whether the emulator was given this word. */
bool board_was_told(const char *word);

/* Flash: 16 MiB behind a NOR model, at addresses from 0, in sectors of 4 KiB of words of 4 bytes. What lies where is agreed
   with the boot loader of this board, client-agent/microcontroller/boot, and with whoever prepares its flash. */
enum {
    BOARD_SECTOR_BYTES = 4 * 1024,
    BOARD_PROGRAM_BYTES = 4,
    BOARD_DOCUMENTS = 8 * 1024,
    BOARD_SLOT_BYTES = 1024 * 1024,
    BOARD_SLOT_A = 64 * 1024,
    BOARD_SLOT_B = BOARD_SLOT_A + BOARD_SLOT_BYTES,
};
bool board_flash_read(void *context, uint32_t at, uint8_t *into, uint32_t bytes);
bool board_flash_program(void *context, uint32_t at, const uint8_t *from, uint32_t bytes);
bool board_flash_erase(void *context, uint32_t at);
const uint8_t *board_flash(uint32_t at);

/* What the factory wrote at the beginning of the flash: who the device is. The seed is not in the unit file any more. */
struct board_factory {
    uint32_t magic;
    uint32_t unit_bytes;
    uint64_t built_s;
    uint8_t vendor_id[16];
    uint8_t class_id[16];
    char manufacturer[32];
    char model[32];
    uint8_t unit[];
};

/* Gives it, where it is in the flash; null where the flash was never prepared. */
const struct board_factory *board_factory(void);

bool board_random(void *context, uint8_t *into, size_t bytes);

/* The modem: datagrams to and from the server, in SLIP frames on a serial line. `board_modem_receive` gives the bytes of
   a datagram that is complete, or 0. */
bool board_modem_start(void);
void board_modem_send(void *context, const uint8_t *datagram, size_t bytes);
size_t board_modem_receive(uint8_t *into, size_t room);

/* Bytes of the stack that were used at the most. */
uint32_t board_stack_peak(void);

#endif
