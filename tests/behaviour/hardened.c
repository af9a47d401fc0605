/* What the terminal of a hardened container lets nobody do: one line, a word and an errno for each request. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Below 4 GiB, for the 32-bit call: the program is linked without -pie. */
static char byte = '\n';

static int result(long answer)
{
    return answer < 0 ? errno : 0;
}

/* ioctl(2) as a 32-bit program calls it: -1 where the kernel has no such calls, -2 where the caller is killed for it. */
static int call32(int fd, unsigned request, void *argument)
{
#ifdef __x86_64__
    int status;
    pid_t child = fork();
    if (child == 0) {
        long answer;
        __asm__ volatile("int $0x80" : "=a"(answer) : "a"(54L), "b"((long)fd), "c"((long)request), "d"(argument) : "memory");
        _exit(answer < 0 ? (int)-answer : 0);
    }
    waitpid(child, &status, 0);
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    return WTERMSIG(status) == SIGSEGV ? -1 : -2;
#else
    return -1;
#endif
}

int main(void)
{
    struct winsize size;
    int waiting = 0;
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) {
        perror("ptmx");
        return 1;
    }
    int terminal = open(ptsname(master), O_RDWR); /* a session's leader without a terminal gets this one */
    if (terminal < 0) {
        perror("terminal");
        return 1;
    }
    printf("sti=%d ", result(syscall(SYS_ioctl, terminal, (unsigned long)TIOCSTI, &byte)));
    printf("high=%d ", result(syscall(SYS_ioctl, terminal, TIOCSTI | 0x123400000000UL, &byte)));
    printf("compat=%d ", call32(terminal, TIOCSTI, &byte));
    printf("linux=%d ", result(syscall(SYS_ioctl, terminal, (unsigned long)TIOCLINUX, &byte)));
    printf("linux-high=%d ", result(syscall(SYS_ioctl, terminal, TIOCLINUX | 0x8000000000000000UL, &byte)));
    printf("size=%d ", result(ioctl(terminal, TIOCGWINSZ, &size)));
    ioctl(terminal, FIONREAD, &waiting);
    printf("waiting=%d\n", waiting);
    return 0;
}
