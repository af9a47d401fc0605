/*
 * How long libseccomp takes to make a program of a profile, as crun and runc ask it to (rule by rule, then a binary tree): the median of
 * 51 turns in microseconds, on stdout. The profile on stdin: "DEFAULT-ACTION", then "ACTION NAME [INDEX OP A B]..." a line, numbers in
 * C notation. Names that it does not know are left out.
 */
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct rule {
	uint32_t action;
	int number;
	unsigned int count;
	struct scmp_arg_cmp args[6];
};
static struct rule rules[4096];
static int length;

static void compile(uint32_t action, int file)
{
	scmp_filter_ctx ctx = seccomp_init(action);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	seccomp_arch_add(ctx, SCMP_ARCH_X86);
	seccomp_arch_add(ctx, SCMP_ARCH_X32);
	for (int i = 0; i < length; i++)
		seccomp_rule_add_array(ctx, rules[i].action, rules[i].number, rules[i].count, rules[i].args);
	if (ftruncate(file, 0) || seccomp_export_bpf(ctx, file))
		_exit(1);
	seccomp_release(ctx);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

int main(void)
{
	static char line[4096];
	uint32_t action = fgets(line, sizeof line, stdin) ? strtoul(line, NULL, 0) : 0;
	while (length < 4096 && fgets(line, sizeof line, stdin)) {
		char *rest, *word;
		struct rule *rule = &rules[length];
		rule->action = strtoul(line, &rest, 0);
		rule->number = seccomp_syscall_resolve_name(strtok_r(rest, " \n", &rest));
		for (; rule->count < 6 && (word = strtok_r(rest, " \n", &rest)); rule->count++) {
			struct scmp_arg_cmp *arg = &rule->args[rule->count];
			arg->arg = strtoul(word, NULL, 0);
			arg->op = strtoul(strtok_r(rest, " \n", &rest), NULL, 0);
			arg->datum_a = strtoull(strtok_r(rest, " \n", &rest), NULL, 0);
			arg->datum_b = strtoull(strtok_r(rest, " \n", &rest), NULL, 0);
		}
		length += rule->number != __NR_SCMP_ERROR;
	}
	double times[51];
	FILE *file = tmpfile();
	for (int turn = 0; file && turn < 51; turn++) {
		struct timespec a, b;
		clock_gettime(CLOCK_MONOTONIC, &a);
		compile(action, fileno(file));
		clock_gettime(CLOCK_MONOTONIC, &b);
		times[turn] = (b.tv_sec - a.tv_sec) * 1e6 + (b.tv_nsec - a.tv_nsec) / 1e3;
	}
	qsort(times, 51, sizeof *times, by_value);
	const struct scmp_version *version = seccomp_version();
	return !file || printf("%.1f libseccomp %u.%u.%u\n", times[25], version->major, version->minor, version->micro) < 0;
}
