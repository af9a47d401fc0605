/*
 * What containers of the benchmark run, by the name that it is called by: `true` ends at once, `wait` never, `loop` writes how many
 * nanoseconds two system calls take, the best of many turns: one that a filter allows whatever its arguments are (the kernel keeps that
 * in a bitmap since Linux 5.11 and does not run the filter), and one whose arguments a filter of Docker's looks at.
 */
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double best(long number, unsigned long argument)
{
	double least = 1e9;
	for (int turn = 0; turn < 50; turn++) {
		struct timespec a, b;
		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int i = 0; i < 5000; i++)
			syscall(number, argument);
		clock_gettime(CLOCK_MONOTONIC, &b);
		double each = ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / 5000;
		least = each < least ? each : least;
	}
	return least;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	if (!strcmp(name, "wait"))
		for (;;)
			pause();
	if (!strcmp(name, "loop"))
		return printf("%.2f %.2f\n", best(SYS_getppid, 0), best(SYS_personality, 0xffffffff)) < 0;
	return argc < 0;
}
