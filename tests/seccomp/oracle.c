/* Says what libseccomp makes of a profile: text on stdin, the answer on stdout.
 *
 *   oracle table    lines "TOKEN NAME"  ->  lines with the number, "unknown", or "noarch"
 *   oracle compile  "default ACTION", "arch TOKEN"..., "rule ACTION NAME [INDEX OP A B]..."
 *                   -> for each rule one line with libseccomp's return code, "unknown" for a name it does not know;
 *                      then "bpf" and the program in the byte order of its architectures
 *
 * Numbers are in C notation. The architectures replace the native one. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char line[4096];

static int table(void)
{
	while (fgets(line, sizeof line, stdin)) {
		char *rest;
		unsigned long token = strtoul(line, &rest, 0);
		char *name = strtok(rest, " \n");
		if (seccomp_syscall_resolve_name_arch(token, "read") == __NR_SCMP_ERROR) {
			puts("noarch");
			continue;
		}
		int number = seccomp_syscall_resolve_name_arch(token, name);
		if (number == __NR_SCMP_ERROR)
			puts("unknown");
		else
			printf("%d\n", number);
	}
	return 0;
}

static int add_rule(scmp_filter_ctx ctx, char *rest)
{
	struct scmp_arg_cmp args[6];
	unsigned int count = 0;
	uint32_t action = strtoul(rest, &rest, 0);
	char *name = strtok_r(rest, " \n", &rest), *word;
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR)
		return 1;
	while (count < 6 && (word = strtok_r(rest, " \n", &rest))) {
		args[count].arg = strtoul(word, NULL, 0);
		args[count].op = strtoul(strtok_r(rest, " \n", &rest), NULL, 0);
		args[count].datum_a = strtoull(strtok_r(rest, " \n", &rest), NULL, 0);
		args[count].datum_b = strtoull(strtok_r(rest, " \n", &rest), NULL, 0);
		count++;
	}
	return seccomp_rule_add_array(ctx, action, number, count, args);
}

static int compile(void)
{
	scmp_filter_ctx ctx = NULL;
	int rc, replaced = 0;
	while (fgets(line, sizeof line, stdin)) {
		if (!strncmp(line, "default ", 8)) {
			ctx = seccomp_init(strtoul(line + 8, NULL, 0));
			if (!ctx) {
				fputs("seccomp_init\n", stderr);
				return 1;
			}
		} else if (!strncmp(line, "arch ", 5)) {
			if (!replaced++ && (rc = seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE)) < 0) {
				fprintf(stderr, "seccomp_arch_remove: %s\n", strerror(-rc));
				return 1;
			}
			rc = seccomp_arch_add(ctx, strtoul(line + 5, NULL, 0));
			if (rc < 0 && rc != -EEXIST) {
				fprintf(stderr, "seccomp_arch_add: %s", line);
				return 2;
			}
		} else if (!strncmp(line, "rule ", 5)) {
			rc = add_rule(ctx, line + 5);
			if (rc == 1)
				puts("unknown");
			else
				printf("%d\n", rc);
		}
	}
	puts("bpf");
	fflush(stdout);
	return seccomp_export_bpf(ctx, 1) < 0;
}

int main(int argc, char **argv)
{
	/* libseccomp 2.5.4 does not come back from some profiles. */
	alarm(3);
	return argc == 2 && !strcmp(argv[1], "table") ? table() : compile();
}
