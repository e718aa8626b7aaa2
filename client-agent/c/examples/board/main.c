/* A firmware in C that updates itself: what a port of Bellwether to a board looks like. The board is in board.c. */
#include "bellwether.h"
#include "board.h"

#ifndef VERSION
#define VERSION "1.0.0"
#endif

/* Exit statuses, for whoever started the emulator. */
enum { UPDATED = 0, FAULT = 2, NOT_UPDATED = 4 };

static const struct bellwether_flash flash = {
    .read = board_flash_read,
    .program = board_flash_program,
    .erase = board_flash_erase,
    .sector_bytes = BOARD_SECTOR_BYTES,
    .program_bytes = BOARD_PROGRAM_BYTES,
    .documents = BOARD_DOCUMENTS,
    .slot_a = BOARD_SLOT_A,
    .slot_b = BOARD_SLOT_B,
    .slot_bytes = BOARD_SLOT_BYTES,
};

static uint8_t memory[BELLWETHER_MEMORY_BYTES];
static uint8_t datagram[BELLWETHER_DATAGRAM_BYTES_MAX];
static bool is_over;
static uint32_t status = UPDATED;

_Noreturn void bellwether_panic(void) {
    board_say("panicked\n");
    board_switch_off(FAULT);
}

static void check(const char *what, enum bellwether_error error) {
    if (error != BELLWETHER_ERROR_OK) {
        board_say(what);
        board_say(bellwether_error_text((int32_t)error));
        board_say("\n");
        board_switch_off(FAULT);
    }
}

static void tell(void *context, enum bellwether_event event, uint32_t first, uint32_t second) {
    (void)context;
    switch (event) {
    case BELLWETHER_EVENT_REGISTERED:
        board_say("registered\n");
        break;
    case BELLWETHER_EVENT_GRANTED:
        board_say_number(second ? "granted delta, bytes: " : "granted image, bytes: ", first);
        break;
    case BELLWETHER_EVENT_IMAGE_VERIFIED:
        board_say("image verified\n");
        break;
    case BELLWETHER_EVENT_INSTALLED:
        board_say("receipt for installed\n");
        is_over = true;
        break;
    case BELLWETHER_EVENT_FAILED:
    case BELLWETHER_EVENT_REFUSED:
        board_say("receipt for failed\n");
        status = NOT_UPDATED;
        is_over = true;
        break;
    default:
        break;
    }
}

/* An image on trial tests what it needs to be updated again, and confirms itself or goes back. */
static void settle_trial(bool passed) {
    bool on_trial = false;
    check("trial: ", bellwether_is_on_trial(&flash, &on_trial));
    board_say(on_trial ? "firmware in C " VERSION " on trial\n" : "firmware in C " VERSION " confirmed\n");
    if (on_trial && !passed) {
        check("rolling back: ", bellwether_roll_back(&flash));
        board_restart();
    }
    check("confirming: ", bellwether_confirm(&flash));
}

static struct bellwether_device *start(void) {
    const struct board_factory *factory = board_factory();
    if (factory == NULL) {
        board_say("the flash was never prepared\n");
        board_switch_off(FAULT);
    }
    const struct bellwether_port port = {
        .random = board_random,
        .send = board_modem_send,
        .event = tell,
    };
    struct bellwether_settings settings = {
        .unit = factory->unit,
        .unit_bytes = factory->unit_bytes,
        .manufacturer = factory->manufacturer,
        .model = factory->model,
        .built_s = factory->built_s,
        .lifetime_s = 300,
        .patches = true,
    };
    for (size_t index = 0; index < sizeof settings.vendor_id; index++) {
        settings.vendor_id[index] = factory->vendor_id[index];
        settings.class_id[index] = factory->class_id[index];
    }
    struct bellwether_device *device = NULL;
    check("starting: ", bellwether_start(&device, memory, sizeof memory, &flash, &port, &settings, board_now_ms()));
    return device;
}

int main(void) {
    const bool ends = board_was_told("exit-when-updated");
    bool is_stopping = false;
    settle_trial(board_modem_start());
    struct bellwether_device *device = start();
    for (;;) {
        board_put_off_watchdog();
        const size_t bytes = board_modem_receive(datagram, sizeof datagram);
        if (bytes != 0) {
            check("datagram: ", bellwether_handle_datagram(device, board_now_ms(), datagram, bytes));
        }
        enum bellwether_step step;
        uint32_t wait_ms; /* A board that sleeps does so for this long, or until the modem wakes it. */
        check("update core: ", bellwether_poll(device, board_now_ms(), &step, &wait_ms));
        if (step == BELLWETHER_STEP_REBOOT) {
            board_restart();
        }
        if (step == BELLWETHER_STEP_STOPPED) {
            board_say_number("measured stack ", board_stack_peak());
            board_say_number("measured memory ", (uint32_t)bellwether_memory_peak());
            board_switch_off(status);
        }
        if (ends && is_over && !is_stopping) {
            check("stopping: ", bellwether_stop(device));
            is_stopping = true;
        }
    }
}
