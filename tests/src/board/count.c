/* A plugin of QEMU that counts how often each block of instructions is executed: `count.so,out=FILE` writes a line for each
   when the emulator ends, its address and the instructions that were executed in it.

   The declarations are those of qemu-plugin.h, version 1, which Debian does not ship. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, void (*executed)(unsigned, void *),
                                                 int flags, void *context);
extern void qemu_plugin_register_atexit_cb(plugin_id id, void (*ended)(plugin_id, void *), void *context);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

struct block {
    struct block *next;
    uint64_t address, instructions, times;
};

static struct block *blocks;
static const char *out;

static void executed(unsigned cpu, void *context) {
    (void)cpu;
    ((struct block *)context)->times++;
}

static void translated(plugin_id id, struct qemu_plugin_tb *translation) {
    (void)id;
    struct block *block = calloc(1, sizeof *block);
    if (block == NULL) {
        abort();
    }
    block->next = blocks;
    block->address = qemu_plugin_tb_vaddr(translation);
    block->instructions = qemu_plugin_tb_n_insns(translation);
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(translation, executed, 0, block);
}

static void ended(plugin_id id, void *context) {
    (void)id, (void)context;
    FILE *file = fopen(out, "w");
    if (file == NULL) {
        return;
    }
    for (const struct block *block = blocks; block != NULL; block = block->next) {
        fprintf(file, "%llx %llu %llu\n", (unsigned long long)block->address,
                (unsigned long long)(block->instructions * block->times), (unsigned long long)block->times);
    }
    fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *target, int count,
                                                               char **words) {
    (void)target;
    if (count != 1 || strncmp(words[0], "out=", 4) != 0) {
        return 1;
    }
    out = strdup(words[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
