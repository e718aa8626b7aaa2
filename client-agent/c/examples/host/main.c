/* The first step of a port: the same calls on a host, with a flash that is a file. It prepares the file, boots it as a boot
   loader would, and talks CoAP over UDP with a server.

   Usage: device FLASH prepare UNIT VENDOR_ID CLASS_ID IMAGE VERSION
          device FLASH run UNIT VENDOR_ID CLASS_ID HOST PORT

   The identifiers are 32 hexadecimal digits. `run` ends with 0 when an update is installed and the server knows, with 3 when
   the board is to be restarted: run it again, as a watchdog or a boot loader would. */
#define _DEFAULT_SOURCE
#include "bellwether.h"

#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SECTOR_BYTES = 4096, SLOT_BYTES = 1024 * 1024, FLASH_BYTES = 64 * 1024 + 2 * SLOT_BYTES };
enum { INSTALLED = 0, FAULT = 2, RESTART = 3, NOT_INSTALLED = 4 };

static int is_over = -1;

static void stop(const char *what) {
    perror(what);
    exit(FAULT);
}

static void check(const char *what, enum bellwether_error error) {
    if (error != BELLWETHER_ERROR_OK) {
        fprintf(stderr, "%s: %s\n", what, bellwether_error_text((int32_t)error));
        exit(FAULT);
    }
}

/* The flash: a file, programmed as NOR is, so that a port which writes twice without erasing is noticed here. */
static bool flash_read(void *context, uint32_t at, uint8_t *into, uint32_t bytes) {
    FILE *file = context;
    return fseek(file, at, SEEK_SET) == 0 && fread(into, 1, bytes, file) == bytes;
}

static bool flash_program(void *context, uint32_t at, const uint8_t *from, uint32_t bytes) {
    uint8_t stands[32];
    FILE *file = context;
    if (bytes > sizeof stands || !flash_read(context, at, stands, bytes)) {
        return false;
    }
    for (uint32_t index = 0; index < bytes; index++) {
        stands[index] &= from[index];
    }
    return fseek(file, at, SEEK_SET) == 0 && fwrite(stands, 1, bytes, file) == bytes && fflush(file) == 0;
}

static bool flash_erase(void *context, uint32_t at) {
    uint8_t sector[SECTOR_BYTES];
    FILE *file = context;
    memset(sector, 0xff, sizeof sector);
    return fseek(file, at, SEEK_SET) == 0 && fwrite(sector, 1, sizeof sector, file) == sizeof sector &&
           fflush(file) == 0;
}

static struct bellwether_flash flash_on(FILE *file) {
    const struct bellwether_flash flash = {
        .context = file,
        .read = flash_read,
        .program = flash_program,
        .erase = flash_erase,
        .sector_bytes = SECTOR_BYTES,
        .program_bytes = 4,
        .documents = 0,
        .slot_a = 64 * 1024,
        .slot_b = 64 * 1024 + SLOT_BYTES,
        .slot_bytes = SLOT_BYTES,
    };
    return flash;
}

static bool draw(void *context, uint8_t *into, size_t bytes) {
    (void)context;
    return getrandom(into, bytes, 0) == (ssize_t)bytes;
}

static void send_datagram(void *context, const uint8_t *datagram, size_t bytes) {
    /* One that is lost is sent again. */
    (void)!send(*(const int *)context, datagram, bytes, 0);
}

static void tell(void *context, enum bellwether_event event, uint32_t first, uint32_t second) {
    (void)context;
    printf("event %d, %u, %u\n", (int)event, first, second);
    fflush(stdout);
    if (event == BELLWETHER_EVENT_INSTALLED) {
        is_over = INSTALLED;
    }
    if (event == BELLWETHER_EVENT_FAILED || event == BELLWETHER_EVENT_REFUSED) {
        is_over = NOT_INSTALLED;
    }
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint8_t *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    uint8_t *content = malloc(SLOT_BYTES);
    if (file == NULL || content == NULL) {
        stop(path);
    }
    *bytes = fread(content, 1, SLOT_BYTES, file);
    fclose(file);
    return content;
}

static void parse_id(uint8_t id[16], const char *digits) {
    for (size_t index = 0; index < 16; index++) {
        unsigned byte = 0;
        if (sscanf(digits + 2 * index, "%2x", &byte) != 1) {
            fprintf(stderr, "%s: not 32 hexadecimal digits\n", digits);
            exit(FAULT);
        }
        id[index] = (uint8_t)byte;
    }
}

static struct bellwether_settings read_settings(char **words) {
    struct bellwether_settings settings = {
        .manufacturer = "example.com",
        .model = "host",
        .lifetime_s = 300,
        .patches = true,
    };
    settings.unit = read_file(words[0], &settings.unit_bytes);
    parse_id(settings.vendor_id, words[1]);
    parse_id(settings.class_id, words[2]);
    return settings;
}

/* The seed stands in the record now, and nowhere else. */
static void clear_seed_of(const char *path) {
    size_t bytes = 0;
    uint8_t *unit = read_file(path, &bytes);
    check("clear the seed", bellwether_clear_seed(unit, bytes));
    FILE *file = fopen(path, "rb+");
    if (file == NULL || fwrite(unit, 1, bytes, file) != bytes || fclose(file) != 0) {
        stop(path);
    }
    free(unit);
}

static int prepare(const char *path, char **words) {
    const struct bellwether_settings settings = read_settings(words);
    size_t bytes = 0;
    const uint8_t *image = read_file(words[3], &bytes);
    FILE *file = fopen(path, "wb+");
    if (file == NULL) {
        stop(path);
    }
    for (uint32_t at = 0; at < FLASH_BYTES; at += SECTOR_BYTES) {
        flash_erase(file, at);
    }
    const struct bellwether_flash flash = flash_on(file);
    if (fseek(file, flash.slot_a, SEEK_SET) != 0 || fwrite(image, 1, bytes, file) != bytes) {
        stop(path);
    }
    check("prepare", bellwether_prepare(&flash, &settings, (uint32_t)bytes, words[4]));
    clear_seed_of(words[0]);
    return fclose(file) == 0 ? 0 : FAULT;
}

static int connect_to(const char *host, const char *port) {
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        stop(host);
    }
    const int line = socket(found->ai_family, SOCK_DGRAM, 0);
    if (line < 0 || connect(line, found->ai_addr, found->ai_addrlen) != 0) {
        stop(host);
    }
    freeaddrinfo(found);
    return line;
}

static int run(const char *path, char **words) {
    static uint8_t memory[BELLWETHER_MEMORY_BYTES];
    const struct bellwether_settings settings = read_settings(words);
    FILE *file = fopen(path, "rb+");
    if (file == NULL) {
        stop(path);
    }
    const struct bellwether_flash flash = flash_on(file);
    struct bellwether_image image;
    check("boot", bellwether_boot_select(&flash, &image));
    printf("boots %u bytes at %u%s\n", image.bytes, image.at, image.on_trial ? ", on trial" : "");
    check("confirm", bellwether_confirm(&flash));

    int line = connect_to(words[3], words[4]);
    const struct bellwether_port port = {.context = &line, .random = draw, .send = send_datagram, .event = tell};
    struct bellwether_device *device = NULL;
    check("start", bellwether_start(&device, memory, sizeof memory, &flash, &port, &settings, now_ms()));
    bool is_stopping = false;
    for (;;) {
        enum bellwether_step step;
        uint32_t wait_ms;
        check("poll", bellwether_poll(device, now_ms(), &step, &wait_ms));
        if (step != BELLWETHER_STEP_WAIT) {
            bellwether_end(device);
            return step == BELLWETHER_STEP_REBOOT ? RESTART : is_over;
        }
        if (is_over >= 0 && !is_stopping) {
            check("stop", bellwether_stop(device));
            is_stopping = true;
            continue;
        }
        struct pollfd readable = {.fd = line, .events = POLLIN};
        uint8_t datagram[BELLWETHER_DATAGRAM_BYTES_MAX];
        if (poll(&readable, 1, (int)wait_ms) > 0) {
            const ssize_t bytes = recv(line, datagram, sizeof datagram, 0);
            if (bytes > 0) {
                check("datagram", bellwether_handle_datagram(device, now_ms(), datagram, (size_t)bytes));
            }
        }
    }
}

int main(int count, char **words) {
    if (count == 8 && strcmp(words[2], "prepare") == 0) {
        return prepare(words[1], words + 3);
    }
    if (count == 8 && strcmp(words[2], "run") == 0) {
        return run(words[1], words + 3);
    }
    fprintf(stderr, "usage: device FLASH prepare UNIT VENDOR_ID CLASS_ID IMAGE VERSION\n"
                    "       device FLASH run UNIT VENDOR_ID CLASS_ID HOST PORT\n");
    return FAULT;
}
