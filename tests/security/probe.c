/* What can only be asked from inside: `probe securebits` prints prctl(PR_GET_SECUREBITS), `probe type` tries to type into every
 * terminal within reach and prints what worked, then the session and the controlling terminal; `probe wait` does nothing. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef TIOCLINUX
#define TIOCLINUX 0x541C
#endif

static void type(const char *name, int fd)
{
    char paste[2] = {3, 0};
    if (fd < 0)
        return;
    if (ioctl(fd, TIOCSTI, "!") == 0)
        printf("typed into %s\n", name);
    if (ioctl(fd, TIOCLINUX, paste) == 0)
        printf("pasted into %s\n", name);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "securebits") == 0) {
        printf("securebits %d\n", prctl(PR_GET_SECUREBITS));
    } else if (argc > 1 && strcmp(argv[1], "wait") == 0) {
        pause();
    } else {
        static const char *const names[] = {"/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1"};
        int terminal = -1, pid, parent, group, session;
        type("standard input", 0);
        type("standard output", 1);
        type("standard error", 2);
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
            type(names[i], open(names[i], O_RDWR | O_NOCTTY | O_NONBLOCK));
        FILE *stat = fopen("/proc/self/stat", "r");
        if (stat == NULL || fscanf(stat, "%d (%*[^)]) %*c %d %d %d %d", &pid, &parent, &group, &session, &terminal) != 5)
            return 1;
        printf("session %d terminal %d\n", session, terminal);
    }
    fflush(stdout);
    return 0;
}
