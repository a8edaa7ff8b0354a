/* Carries packets between two network namespaces as a long line would: late, at a limited rate, and some of them never.
 *
 * line NAMESPACE_A NAMESPACE_B ONE_WAY_MS LOSS_PERCENT MBIT_PER_S
 *
 * A gets 10.77.0.1, B gets 10.77.0.2. Says "ready" and runs until it is killed. The queue before the line holds 100 ms;
 * what does not fit is dropped, as a router does. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST = 1600, SLOTS = 1 << 15, BATCH = 128 };
static const uint64_t SECOND = 1000000000ull, QUEUE = 100000000ull;

struct packet { uint64_t arrives; int length; unsigned char bytes[LARGEST]; };

/* One way. Packets stay in order, so a ring does. */
struct way { int from, to; struct packet *ring; uint64_t in, out, free_at; };

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* A device in the namespace, and its address there. */
static int end_in(const char *name, const char *address) {
  char text[256];
  snprintf(text, sizeof text, "/var/run/netns/%s", name);
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there = open(text, O_RDONLY | O_CLOEXEC);
  if (home < 0 || there < 0 || setns(there, CLONE_NEWNET) != 0) fail(name);
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strcpy(request.ifr_name, "line0");
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (device < 0 || ioctl(device, TUNSETIFF, &request) != 0) fail("/dev/net/tun");
  snprintf(text, sizeof text, "ip addr add %s/24 dev line0 && ip link set line0 txqueuelen 10000 up && ip link set lo up", address);
  if (system(text) != 0) exit(1);
  if (setns(home, CLONE_NEWNET) != 0) fail("setns");
  close(there);
  close(home);
  return device;
}

/* Lets out what has arrived; when the next one does. */
static uint64_t deliver(struct way *way) {
  while (way->out != way->in) {
    struct packet *next = &way->ring[way->out % SLOTS];
    uint64_t time = now();
    if (next->arrives > time) return next->arrives;
    if (write(way->to, next->bytes, (size_t)next->length) < 0) return time + 200000;
    way->out++;
  }
  return UINT64_MAX;
}

/* Takes in what is there, as far as the line and the dice allow. */
static void accept_packets(struct way *way, uint64_t delay, double loss, double nanoseconds_per_byte) {
  for (int n = 0; n < BATCH; n++) {
    struct packet *slot = &way->ring[way->in % SLOTS];
    unsigned char scrap[LARGEST];
    int full = way->in - way->out >= SLOTS;
    ssize_t length = read(way->from, full ? scrap : slot->bytes, LARGEST);
    if (length <= 0) return;
    uint64_t time = now(), starts = way->free_at > time ? way->free_at : time;
    if (full || starts - time > QUEUE || drand48() < loss) continue;
    way->free_at = starts + (uint64_t)((double)length * nanoseconds_per_byte);
    slot->arrives = way->free_at + delay;
    slot->length = (int)length;
    way->in++;
  }
}

int main(int count, char **words) {
  if (count != 6) {
    fprintf(stderr, "line NAMESPACE_A NAMESPACE_B ONE_WAY_MS LOSS_PERCENT MBIT_PER_S\n");
    return 2;
  }
  uint64_t delay = (uint64_t)(atof(words[3]) * 1e6);
  double loss = atof(words[4]) / 100, per_byte = 8e3 / atof(words[5]);
  int a = end_in(words[1], "10.77.0.1"), b = end_in(words[2], "10.77.0.2");
  struct way ways[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
  for (int n = 0; n < 2; n++)
    if ((ways[n].ring = calloc(SLOTS, sizeof(struct packet))) == NULL) fail("memory");
  srand48(7);
  puts("ready");
  fflush(stdout);
  for (;;) {
    uint64_t first = deliver(&ways[0]), second = deliver(&ways[1]), time = now();
    uint64_t due = first < second ? first : second;
    uint64_t wait = due == UINT64_MAX ? SECOND : due > time ? due - time : 0;
    struct timespec patience = {(time_t)(wait / SECOND), (long)(wait % SECOND)};
    struct pollfd ends[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
    if (ppoll(ends, 2, &patience, NULL) <= 0) continue;
    for (int n = 0; n < 2; n++)
      if (ends[n].revents & POLLIN) accept_packets(&ways[n], delay, loss, per_byte);
  }
}
