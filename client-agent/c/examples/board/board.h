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

/* Flash: 16 MiB behind a NOR model, at addresses from 0. */
bool board_flash_read(void *context, uint32_t at, uint8_t *into, uint32_t bytes);
bool board_flash_program(void *context, uint32_t at, const uint8_t *from, uint32_t bytes);
bool board_flash_erase(void *context, uint32_t at);
const uint8_t *board_flash(uint32_t at);

bool board_random(void *context, uint8_t *into, size_t bytes);

/* The modem: datagrams to and from the server, in SLIP frames on a serial line. `board_modem_receive` gives the bytes of
   a datagram that is complete, or 0. */
bool board_modem_start(void);
void board_modem_send(void *context, const uint8_t *datagram, size_t bytes);
size_t board_modem_receive(uint8_t *into, size_t room);

/* Bytes of the stack that were used at the most. */
uint32_t board_stack_peak(void);

#endif
