/* Makes files under $EMBERWATCH_DISK behave as on a disk that a fault has turned read-only, while $EMBERWATCH_DISK_FAULT
 * exists. A remount cannot be used for that: the kernel refuses it while a file is open for writing. Preloaded by the
 * tests of damage; built by them with the system's C compiler. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_faulty(void) {
    const char *fault = getenv("EMBERWATCH_DISK_FAULT");
    return fault && access(fault, F_OK) == 0;
}

static int lies_there(const char *path) {
    const char *disk = getenv("EMBERWATCH_DISK");
    return disk && path && strncmp(path, disk, strlen(disk)) == 0;
}

static int is_refused(int file) {
    char link[64], path[4096];
    ssize_t length;
    if (!is_faulty()) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return lies_there(path);
}

#define REFUSE do { errno = EROFS; return -1; } while (0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t count) {
    if (is_refused(file)) REFUSE;
    return REAL(write)(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    if (is_refused(file)) REFUSE;
    return REAL(pwrite)(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    if (is_refused(file)) REFUSE;
    return REAL(pwrite64)(file, bytes, count, at);
}

int ftruncate(int file, off_t length) {
    if (is_refused(file)) REFUSE;
    return REAL(ftruncate)(file, length);
}

int ftruncate64(int file, off64_t length) {
    if (is_refused(file)) REFUSE;
    return REAL(ftruncate64)(file, length);
}

int rename(const char *from, const char *to) {
    if (is_faulty() && (lies_there(from) || lies_there(to))) REFUSE;
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    if (is_faulty() && lies_there(path)) REFUSE;
    return REAL(unlink)(path);
}

static int writes(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
}

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        mode_t mode = 0;                                                  \
        if (flags & O_CREAT) {                                            \
            va_list more;                                                 \
            va_start(more, flags);                                        \
            mode = va_arg(more, mode_t);                                  \
            va_end(more);                                                 \
        }                                                                 \
        if (is_faulty() && writes(flags) && lies_there(path)) REFUSE;     \
        return REAL(name)(path, flags, mode);                             \
    }

OPEN(open)
OPEN(open64)
