/*
 * Says which functions of a program a command and all its descendants enter, in the order in which each is entered for the first time: a
 * breakpoint stands at the beginning of each until some process meets it.
 *
 * usage: entered PROGRAM STARTS FILE COMMAND...
 *
 * STARTS has the address of every function in ascending order, hexadecimal, one in a line; FILE gets the entered ones so. PROGRAM is the file that these are of,
 * statically linked to fixed addresses; what else is executed runs untouched. The status is the command's.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BREAKPOINT = 0xcc };

struct function {
	unsigned long start;
	unsigned char first;
	bool entered;
};

static struct function *functions;
static size_t count;

static int by_start(const void *left, const void *right)
{
	unsigned long a = ((const struct function *)left)->start, b = ((const struct function *)right)->start;
	return (a > b) - (a < b);
}

static void read_starts(const char *path)
{
	FILE *file = fopen(path, "r");
	unsigned long start;
	if (!file)
		err(1, "open %s", path);
	while (fscanf(file, "%lx", &start) == 1) {
		functions = realloc(functions, (count + 1) * sizeof *functions);
		if (!functions)
			err(1, "realloc");
		functions[count++] = (struct function){ .start = start };
	}
	fclose(file);
}

static int memory(pid_t pid)
{
	char path[32];
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(1, "open %s", path);
	return fd;
}

static bool runs(pid_t pid, const struct stat *program)
{
	char path[32];
	struct stat other;
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	return stat(path, &other) == 0 && other.st_dev == program->st_dev && other.st_ino == program->st_ino;
}

static void plant(pid_t pid)
{
	int fd = memory(pid);
	for (size_t i = 0; i < count; i++)
		if (pread(fd, &functions[i].first, 1, functions[i].start) != 1
		    || pwrite(fd, &(unsigned char){ BREAKPOINT }, 1, functions[i].start) != 1)
			err(1, "plant a breakpoint at %lx", functions[i].start);
	close(fd);
}

/* Whether the trap was one of ours: it is taken out of this process, which goes on where it was. */
static bool met(pid_t pid, FILE *out)
{
	struct user_regs_struct registers;
	if (ptrace(PTRACE_GETREGS, pid, 0, &registers))
		return false;
	struct function key = { .start = registers.rip - 1 };
	struct function *found = bsearch(&key, functions, count, sizeof *functions, by_start);
	if (!found)
		return false;
	int fd = memory(pid);
	if (pwrite(fd, &found->first, 1, found->start) != 1)
		err(1, "take out a breakpoint");
	close(fd);
	registers.rip--;
	if (ptrace(PTRACE_SETREGS, pid, 0, &registers))
		err(1, "set registers");
	if (!found->entered)
		fprintf(out, "%lx\n", found->start);
	found->entered = true;
	return true;
}

int main(int argc, char **argv)
{
	struct stat program;
	if (argc < 5)
		errx(2, "usage: entered PROGRAM STARTS FILE COMMAND...");
	if (stat(argv[1], &program))
		err(1, "%s", argv[1]);
	read_starts(argv[2]);
	FILE *out = fopen(argv[3], "we");
	if (!out)
		err(1, "open %s", argv[3]);
	pid_t first = fork();
	if (first == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execv(argv[4], argv + 4);
		_exit(127);
	}
	int status, result = 1;
	if (first < 0 || waitpid(first, &status, 0) < 0)
		err(1, "start");
	long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	if (ptrace(PTRACE_SETOPTIONS, first, 0, options) || ptrace(PTRACE_CONT, first, 0, 0))
		err(1, "trace");
	for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
		if (!WIFSTOPPED(status)) {
			if (pid == first)
				result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
			continue;
		}
		int event = status >> 16, signal = WSTOPSIG(status);
		if (event == PTRACE_EVENT_EXEC && runs(pid, &program))
			plant(pid);
		/* A new process begins with a stop that is none of its own. */
		bool ours = event || signal == SIGSTOP || (signal == SIGTRAP && met(pid, out));
		ptrace(PTRACE_CONT, pid, 0, ours ? 0 : signal);
	}
	return fclose(out) ? 1 : result;
}
