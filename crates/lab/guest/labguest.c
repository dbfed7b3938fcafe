// The workload of a lab guest: counts on disk, says so when asked, and breaks itself on demand. Static, started by init.
//  - every 100 ms: disk counter += 1, the 64-byte record written with O_DSYNC into /data/counter
//  - a counter in memory beside it shows whether the memory's state survived a revert or a migration
//  - UDP 7007: any datagram is answered by one line   NAME BOOT_ID MEMORY DISK LAST_ERRNO SLOWEST_WRITE_MS
//  - UDP 7008: the same answer, then   panic | hang | dirty KIB | poweroff | count NUMBER (the disk counter goes on from there)
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_MS = 100, RECORD = 64 };
static volatile unsigned long memory_counter, disk_counter;
static volatile int last_errno;
static volatile long slowest_write_ms;
static char name[64] = "?", boot_id[9] = "?";

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

// Before the first answer is given: an answer with a counter of 0 would look like a loss.
static int open_counter(void) {
  char record[RECORD + 1] = {0};
  int file = open("/data/counter", O_RDWR | O_CREAT | O_DSYNC, 0644);
  if (file < 0) last_errno = errno;
  else if (pread(file, record, RECORD - 1, 0) > 0) disk_counter = strtoul(record, 0, 10);
  return file;
}

static void *count_on_disk(void *counter) {
  char record[RECORD];
  int file = *(int *)counter;
  for (;;) {
    long begun = now_ms();
    memory_counter++;
    if (file >= 0) {
      memset(record, ' ', RECORD);
      int length = snprintf(record, RECORD, "%lu %lu %s", disk_counter + 1, memory_counter, boot_id);
      record[length] = ' ';
      record[RECORD - 1] = '\n';
      if (pwrite(file, record, RECORD, 0) == RECORD) disk_counter++, last_errno = 0;
      else last_errno = errno;
    }
    long took = now_ms() - begun;
    if (took > slowest_write_ms) slowest_write_ms = took;
    if (took < PERIOD_MS) usleep((PERIOD_MS - took) * 1000);
  }
  return 0;
}

static void crash_kernel(void) {
  int trigger = open("/proc/sysrq-trigger", O_WRONLY);
  if (write(trigger, "c", 1) != 1) last_errno = errno;
}

// The kernel stops without a word: the panic device is taken away before (no event), and the network card is down
// (a panicked kernel may go on answering pings from its interrupt handlers).
static void hang(void) {
  static const char *devices[] = {"pvpanic_mmio", "pvpanic_pci", "pvpanic"};
  for (int i = 0; i < 3; i++) syscall(SYS_delete_module, devices[i], O_NONBLOCK);
  struct ifreq card = {.ifr_name = "eth0"};
  ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &card);
  crash_kernel();
}

static void dirty(long kib) {
  static char block[4096];
  int file = open("/data/blob", O_WRONLY | O_CREAT, 0644);
  for (long k = 0; k < kib / 4; k++) {
    for (size_t j = 0; j < sizeof block; j += sizeof(long)) *(long *)(block + j) = random();
    if (write(file, block, sizeof block) < 0) { last_errno = errno; break; }
  }
  fsync(file);
  close(file);
}

static int listen_on(int port) {
  int socket_ = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (bind(socket_, (void *)&address, sizeof address)) perror("labguest: bind");
  return socket_;
}

// Takes one datagram, answers it, and leaves its text in `text`.
static void answer(int socket_, char *text, int size) {
  struct sockaddr_in peer;
  socklen_t length = sizeof peer;
  ssize_t got = recvfrom(socket_, text, size - 1, 0, (void *)&peer, &length);
  text[got > 0 ? got : 0] = 0;
  if (got < 0) return;
  char line[256];
  int n = snprintf(line, sizeof line, "%s %s %lu %lu %d %ld\n", name, boot_id, memory_counter, disk_counter, last_errno,
                   slowest_write_ms);
  sendto(socket_, line, n, 0, (void *)&peer, length);
}

int main(int count, char **words) {
  if (count > 1) snprintf(name, sizeof name, "%s", words[1]);
  int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY);
  if (read(file, boot_id, 8) != 8) perror("labguest: boot_id");
  close(file);
  int counter = open_counter();
  pthread_t writer;
  pthread_create(&writer, 0, count_on_disk, &counter);
  struct pollfd ports[2] = {{listen_on(7007), POLLIN, 0}, {listen_on(7008), POLLIN, 0}};
  for (;;) {
    char text[128];
    poll(ports, 2, -1);
    if (ports[0].revents & POLLIN) answer(ports[0].fd, text, sizeof text);
    if (!(ports[1].revents & POLLIN)) continue;
    answer(ports[1].fd, text, sizeof text);
    if (!strncmp(text, "panic", 5)) crash_kernel();
    if (!strncmp(text, "hang", 4)) usleep(20000), hang();  // the answer leaves first
    if (!strncmp(text, "dirty", 5)) dirty(atol(text + 5));
    if (!strncmp(text, "count", 5)) disk_counter = strtoul(text + 5, 0, 10);
    if (!strncmp(text, "poweroff", 8)) sync(), reboot(RB_POWER_OFF);
  }
}
