/* Looks into every process that appears: as long as /stop is not there, each process with the runtime's name is tried in the
 * ways that lead into a process. What works is written to /found, the number of tries to /tries. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_runtime(const char *pid)
{
    char path[64], name[64] = "";
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, name, sizeof name - 1);
    close(fd);
    return length > 0 && strncmp(name, "urun", 4) == 0;
}

/* A process that has executed its program meanwhile is the container's own: only one whose image can be seen to be the
 * runtime's counts. */
static void report(const char *pid, const char *what)
{
    char path[64], target[256] = "";
    snprintf(path, sizeof path, "/proc/%s/exe", pid);
    if (readlink(path, target, sizeof target - 1) <= 0 || strstr(target, "urun") == NULL)
        return;
    FILE *file = fopen("/found", "a");
    fprintf(file, "%s of %s, %s\n", what, pid, target);
    fclose(file);
}

static void try_process(const char *pid)
{
    static const char *const files[] = {"mem", "maps", "environ", "auxv"};
    char path[64], byte;
    struct iovec local = {&byte, 1}, remote = {NULL, 1};
    report(pid, "exe");
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "/proc/%s/%s", pid, files[i]);
        int fd = open(path, O_RDONLY);
        if (fd >= 0) {
            report(pid, files[i]);
            close(fd);
        }
    }
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *fds = opendir(path);
    if (fds != NULL) {
        if (readdir(fds) != NULL)
            report(pid, "fd");
        closedir(fds);
    }
    if (process_vm_readv(atoi(pid), &local, 1, &remote, 1, 0) >= 0 || errno == EFAULT)
        report(pid, "memory");
}

int main(void)
{
    long tries = 0;
    while (access("/stop", F_OK) != 0) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while ((entry = readdir(proc)) != NULL) {
            if (atoi(entry->d_name) > 1 && is_runtime(entry->d_name)) {
                tries++;
                try_process(entry->d_name);
            }
        }
        closedir(proc);
    }
    FILE *file = fopen("/tries", "w");
    fprintf(file, "%ld\n", tries);
    fclose(file);
    pause();
    return 0;
}
