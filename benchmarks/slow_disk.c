/* A disk as others have it: each fsync takes 2 ms longer. For LD_PRELOAD; see benchmarks/intake.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

static int after_a_while(const char *name, int file) {
    usleep(2000);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return after_a_while("fsync", file); }
int fdatasync(int file) { return after_a_while("fdatasync", file); }
