// Says which securebits it has and stays: its other powers are read from outside.
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void) {
    printf("securebits %d\n", prctl(PR_GET_SECUREBITS));
    fflush(stdout);
    for (;;)
        pause();
}
