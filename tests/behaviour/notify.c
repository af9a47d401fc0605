/* A payload that speaks sd_notify(3): a status, then, when /tmp/go is there, that it is ready. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void say(const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    strncpy(address.sun_path, getenv("NOTIFY_SOCKET"), sizeof address.sun_path - 1);
    if (sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("sendto");
        exit(1);
    }
    close(fd);
}

int main(void)
{
    say("STATUS=starting");
    puts("waiting");
    fflush(stdout);
    while (access("/tmp/go", F_OK) != 0)
        usleep(10000);
    say("STATUS=up\nREADY=1\n");
    sleep(100);
    return 0;
}
