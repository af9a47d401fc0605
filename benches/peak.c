/*
 * Runs a command and writes the largest resident set of it and its descendants in KiB to a file. Static and small, because what it
 * holds itself at the fork would count as the command's.
 *
 * usage: peak FILE COMMAND...
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    pid_t pid = vfork();
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (pid < 0 || wait4(pid, &status, 0, &usage) < 0 || getrusage(RUSAGE_CHILDREN, &usage) < 0 || status != 0)
        return 1;
    FILE *file = fopen(argv[1], "w");
    return file == NULL || fprintf(file, "%ld\n", usage.ru_maxrss) < 0 || fclose(file) != 0;
}
