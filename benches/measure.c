/*
 * Runs commands one after the other and says what they and all their descendants cost. Static and small, because what it holds itself at
 * the fork would count as the command's.
 *
 * usage: measure FILE JOBS COUNT COMMAND... [; COMMAND...]
 *
 * The commands are run COUNT times by JOBS workers; `@` in a word is the number of the worker. Processes that outlive
 * their command count too, once they have ended; their end is no part of the time. One line is written to FILE: nanoseconds from the first command's begin to the last one's end, microseconds of user and of system time, the largest resident set of
 * any process in KiB, minor faults, context switches (voluntary and not). What is asked for with JOBS 1 takes no process of a worker.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Words without their `@`. */
static char **words(char **in, int count, int number)
{
	char **out = calloc(count + 1, sizeof *out);
	for (int i = 0; i < count; i++) {
		char *at = strchr(in[i], '@');
		if (!at)
			out[i] = in[i];
		else if (asprintf(&out[i], "%.*s%d%s", (int)(at - in[i]), in[i], number, at + 1) < 0)
			_exit(1);
	}
	return out;
}

static int command(char **argv)
{
	int status;
	pid_t pid = vfork();
	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	if (pid < 0)
		return 1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return status != 0;
}

static int worker(char **argv, int argc, int number, int count)
{
	char **all = words(argv, argc, number);
	for (; count > 0; count--)
		for (int from = 0, to; from < argc; from = to + 1) {
			for (to = from; all[to] && strcmp(all[to], ";"); to++)
				;
			char *end = all[to];
			all[to] = NULL;
			if (command(all + from))
				return 1;
			all[to] = end;
		}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	int jobs = atoi(argv[2]), count = atoi(argv[3]), failed = 0, status;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return 1;
	long long begin = now();
	if (jobs == 1) {
		failed = worker(argv + 4, argc - 4, 0, count);
	} else {
		pid_t pids[jobs];
		for (int i = 0; i < jobs; i++)
			if ((pids[i] = fork()) == 0)
				_exit(worker(argv + 4, argc - 4, i, count / jobs));
		for (int i = 0; i < jobs; i++)
			failed |= waitpid(pids[i], &status, 0) < 0 || status;
	}
	long long end = now();
	while (!failed && wait(NULL) > 0)
		;
	struct rusage u;
	FILE *file = fopen(argv[1], "w");
	if (failed || !file || getrusage(RUSAGE_CHILDREN, &u))
		return 1;
	fprintf(file, "%lld %ld %ld %ld %ld %ld\n", end - begin, u.ru_utime.tv_sec * 1000000 + u.ru_utime.tv_usec,
		u.ru_stime.tv_sec * 1000000 + u.ru_stime.tv_usec, u.ru_maxrss, u.ru_minflt, u.ru_nvcsw + u.ru_nivcsw);
	return fclose(file) != 0;
}
