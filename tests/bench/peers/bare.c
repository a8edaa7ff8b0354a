/* The least that a download over plain http can be on one connection: what comes is written where it belongs. No
 * record, no digest, no second try. What it needs is the kernel's part of everybody's time.
 * Usage: bare -o FILE http://127.0.0.1:PORT/NAME */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char block[256 << 10];

int main(int count, char **words) {
  int port, at = 0, head, out, from = socket(AF_INET, SOCK_STREAM, 0);
  char name[1024], *body = NULL;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  off_t done = 0;
  ssize_t got;
  if (count < 2 && (puts("bare 1"), 1)) return 0;
  if (count != 4 || sscanf(words[3], "http://%*[^:]:%d%1023s", &port, name) != 2) return 2;
  to.sin_port = htons(port);
  if (connect(from, (struct sockaddr *)&to, sizeof to) != 0) return 3;
  head = snprintf(block, sizeof block, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", name);
  if (write(from, block, head) != head) return 3;
  while (!body && at < 65536 && (got = recv(from, block + at, 65536 - at, 0)) > 0) {
    at += got;
    body = memmem(block, at, "\r\n\r\n", 4);
  }
  out = open(words[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!body || out < 0) return 4;
  body += 4;
  got = block + at - body;
  do {
    if (pwrite(out, body, got, done) != got) return 5;
    done += got;
    body = block;
  } while ((got = recv(from, block, sizeof block, 0)) > 0);
  return got < 0;
}
