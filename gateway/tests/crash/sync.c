/* Preloaded into the gateway by tests/crash.rs: keeps what the disk was told to keep, and stops the program at a sync.
 *
 * After each fsync or fdatasync of a file below SLUIS_SYNC_FOLDER the file is copied to SLUIS_SYNC_DURABLE: together these
 * copies are what a loss of power leaves in the worst case. A file that was removed is gone once its folder is synced. At sync number SLUIS_SYNC_STOP the program is killed, before
 * the sync, or after it when SLUIS_SYNC_DONE is set. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static long syncs;

static void keep(const char *path, const char *durable) {
  char copy[8192], part[8200], buffer[65536];
  ssize_t got;
  const char *name = strrchr(path, '/');
  snprintf(copy, sizeof copy, "%s%s", durable, name ? name : path);
  snprintf(part, sizeof part, "%s.part", copy);
  int from = open(path, O_RDONLY), to = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  while (from >= 0 && to >= 0 && (got = read(from, buffer, sizeof buffer)) > 0)
    if (write(to, buffer, (size_t)got) != got) abort();
  if (from >= 0) close(from);
  if (to >= 0) close(to);
  if (rename(part, copy) != 0) abort();
}

static void forget(const char *folder, const char *durable) {
  char path[8192];
  DIR *kept = opendir(durable);
  for (struct dirent *entry; kept && (entry = readdir(kept));) {
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (entry->d_name[0] == '.' || access(path, F_OK) == 0) continue;
    snprintf(path, sizeof path, "%s/%s", durable, entry->d_name);
    unlink(path);
  }
  if (kept) closedir(kept);
}

static int synced(int fd, const char *which) {
  int (*really)(int) = (int (*)(int))dlsym(RTLD_NEXT, which);
  const char *folder = getenv("SLUIS_SYNC_FOLDER"), *durable = getenv("SLUIS_SYNC_DURABLE");
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (!folder || !durable || length < 0) return really(fd);
  path[length] = 0;
  size_t under = strlen(folder);
  if (strncmp(path, folder, under) != 0 || (path[under] != '/' && path[under] != 0)) return really(fd);
  pthread_mutex_lock(&one);
  long stop = atol(getenv("SLUIS_SYNC_STOP"));
  int done = getenv("SLUIS_SYNC_DONE") != NULL;
  if (++syncs == stop && !done) kill(getpid(), SIGKILL);
  int result = really(fd);
  if (result == 0 && path[under] == 0) forget(folder, durable);
  if (result == 0 && path[under] == '/') keep(path, durable);
  if (syncs == stop) kill(getpid(), SIGKILL);
  pthread_mutex_unlock(&one);
  return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
