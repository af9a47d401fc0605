/* The first process of a container that has every capability and no user namespace. It waits for another process in its pid
 * namespace, the runtime's own, keeps the file that this one executes and tries to make it writable and to write to it: while that process
 * lives, and once more when /go is there, after its end. Each line is an attempt and how it ended. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OPEN_TREE_ATTR 467

static char held[64];

static void report(const char *what, long result)
{
    printf("%s: %s\n", what, result >= 0 ? "done" : strerrorname_np(errno));
    fflush(stdout);
}

/* The other process's file, kept open. */
static int keep(int flags)
{
    for (;; usleep(1000)) {
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
            char path[300];
            if (atoi(entry->d_name) <= 1)
                continue;
            snprintf(path, sizeof path, "/proc/%s/exe", entry->d_name);
            int fd = open(path, flags);
            if (fd >= 0)
                return fd;
        }
        closedir(proc);
    }
}

static void try_mounts(int fd)
{
    struct mount_attr clear = {.attr_clr = MOUNT_ATTR_RDONLY};
    report("mount_setattr of the descriptor", syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &clear, sizeof clear));
    report("mount_setattr of the path", syscall(SYS_mount_setattr, AT_FDCWD, held, 0, &clear, sizeof clear));
    report("remount", mount(NULL, held, NULL, MS_REMOUNT | MS_BIND, NULL));
    report("bind", mount(held, "/point", NULL, MS_BIND, NULL));
    report("open_tree", syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH));
    report("open_tree_attr", syscall(OPEN_TREE_ATTR, fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH, &clear, sizeof clear));
    report("move_mount", syscall(SYS_move_mount, fd, "", AT_FDCWD, "/point", MOVE_MOUNT_F_EMPTY_PATH));
}

static void try_file(int fd)
{
    int flags = FS_NOATIME_FL;
    report("chmod", chmod(held, 04777));
    report("chown", chown(held, 1234, 1234));
    report("truncate", truncate(held, 1));
    report("utimensat", utimensat(AT_FDCWD, held, NULL, 0));
    report("setxattr", setxattr(held, "trusted.evil", "x", 1, 0));
    report("FS_IOC_SETFLAGS", ioctl(fd, FS_IOC_SETFLAGS, &flags));
    report("link", linkat(AT_FDCWD, held, AT_FDCWD, "/link", AT_SYMLINK_FOLLOW));
    int modes[] = {O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND};
    for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++) {
        int writer = open(held, modes[i]);
        report("write", writer < 0 ? -1 : write(writer, "evil", 4));
    }
}

int main(void)
{
    int fd = keep(O_RDONLY);
    snprintf(held, sizeof held, "/proc/self/fd/%d", fd);
    close(open("/point", O_CREAT | O_WRONLY, 0666));
    puts("held");
    try_mounts(fd);
    try_mounts(keep(O_PATH));
    try_file(fd);
    puts("waits");
    fflush(stdout);
    while (access("/go", F_OK) != 0)
        usleep(1000);
    try_mounts(fd);
    try_file(fd);
    puts("tried");
    fflush(stdout);
    pause();
}
