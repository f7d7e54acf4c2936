// SPDX-License-Identifier: Apache-2.0
/*
 * The benchmarks' traffic: as little user space as possible, so that what is measured is the path between two sockets.
 *
 *   traffic serve ADDRESS PORT              sink on PORT, echo on PORT+1, answer-one-byte-and-close on PORT+2
 *   traffic stream ADDRESS PORT SECONDS N   bytes that N connections could send
 *   traffic rr     ADDRESS PORT SECONDS     one byte there and back on one connection
 *   traffic crr    ADDRESS PORT SECONDS     connect, one byte there and back, close
 *
 * A client prints one JSON object: operations, bytes, seconds, p50_us, p99_us. Where it runs is set by environment variables:
 * TRAFFIC_CGROUP (directory, joined before any socket exists), TRAFFIC_NETNS (path) and TRAFFIC_CPU (number).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (128 * 1024)
#define LATENCIES (1 << 20)

static struct sockaddr_storage peer;
static socklen_t peer_len;
static double deadline;
static long streamed;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Moves this process to the cgroup, network namespace and processor that the environment names. */
static void take_place(void)
{
	const char *cgroup = getenv("TRAFFIC_CGROUP"), *netns = getenv("TRAFFIC_NETNS"), *cpu = getenv("TRAFFIC_CPU");
	char path[512];
	cpu_set_t set;
	int fd;

	if (cgroup) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "0", 1) != 1)
			die(path);
		close(fd);
	}
	if (netns) {
		fd = open(netns, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, CLONE_NEWNET))
			die(netns);
		close(fd);
	}
	if (cpu) {
		CPU_ZERO(&set);
		CPU_SET(atoi(cpu), &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			die("TRAFFIC_CPU");
	}
}

static void resolve(const char *address, int port)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	char text[8];

	snprintf(text, sizeof(text), "%d", port);
	if (getaddrinfo(address, text, &hints, &found)) {
		errno = EINVAL;
		die(address);
	}
	memcpy(&peer, found->ai_addr, found->ai_addrlen);
	peer_len = found->ai_addrlen;
	freeaddrinfo(found);
}

static int dial(void)
{
	int one = 1, fd = socket(peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&peer, peer_len))
		die("connect");
	return fd;
}

static void *sink(void *arg)
{
	char *buffer = malloc(CHUNK);
	int fd = (int)(long)arg;

	while (recv(fd, buffer, CHUNK, 0) > 0)
		;
	free(buffer);
	close(fd);
	return NULL;
}

static void *echo(void *arg)
{
	int fd = (int)(long)arg;
	char byte;

	while (recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1)
		;
	close(fd);
	return NULL;
}

struct listener {
	int fd;
	void *(*serve)(void *arg); /* NULL: answer in the accepting thread */
};

static void *accept_loop(void *arg)
{
	struct listener *listener = arg;
	int fd, one = 1;
	pthread_t thread;
	char byte;

	while ((fd = accept(listener->fd, NULL, NULL)) >= 0 || errno == ECONNABORTED) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (listener->serve) {
			if (pthread_create(&thread, NULL, listener->serve, (void *)(long)fd))
				die("thread");
			pthread_detach(thread);
			continue;
		}
		if (recv(fd, &byte, 1, 0) == 1)
			send(fd, &byte, 1, MSG_NOSIGNAL);
		close(fd);
	}
	die("accept");
	return NULL;
}

static int serve(const char *address, int port)
{
	void *(*roles[])(void *) = { sink, echo, NULL };
	struct listener listeners[3];
	pthread_t threads[3];
	int one = 1;

	for (int i = 0; i < 3; i++) {
		resolve(address, port + i);
		listeners[i].serve = roles[i];
		listeners[i].fd = socket(peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(listeners[i].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(listeners[i].fd, (struct sockaddr *)&peer, peer_len) || listen(listeners[i].fd, 1024))
			die("listen");
		if (pthread_create(&threads[i], NULL, accept_loop, &listeners[i]))
			die("thread");
	}
	puts("ready");
	fflush(stdout);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

static void *pump(void *arg)
{
	char *buffer = calloc(1, CHUNK);
	int fd = dial();
	ssize_t sent;

	(void)arg;
	while (now() < deadline) {
		sent = send(fd, buffer, CHUNK, MSG_NOSIGNAL);
		if (sent <= 0)
			die("send");
		__atomic_add_fetch(&streamed, sent, __ATOMIC_RELAXED);
	}
	free(buffer);
	close(fd);
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void exchange(int fd)
{
	char byte = 'g';

	if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
		die("exchange");
}

int main(int argc, char **argv)
{
	float *latency = malloc(LATENCIES * sizeof(*latency));
	double began, before, seconds;
	long operations = 0, kept;
	int port, fd = -1, crr;
	pthread_t threads[64];

	signal(SIGPIPE, SIG_IGN);
	if (argc < 4 || !latency)
		return 2;
	take_place();
	port = atoi(argv[3]);
	if (!strcmp(argv[1], "serve"))
		return serve(argv[2], port);
	if (argc < 5)
		return 2;
	seconds = atof(argv[4]);
	began = now();
	deadline = began + seconds;
	if (!strcmp(argv[1], "stream")) {
		int streams = argc > 5 ? atoi(argv[5]) : 1;

		resolve(argv[2], port);
		for (int i = 0; i < streams && i < 64; i++)
			pthread_create(&threads[i], NULL, pump, NULL);
		for (int i = 0; i < streams && i < 64; i++)
			pthread_join(threads[i], NULL);
		printf("{\"operations\":%d,\"bytes\":%ld,\"seconds\":%.6f}\n", streams, streamed, now() - began);
		return 0;
	}
	crr = !strcmp(argv[1], "crr");
	resolve(argv[2], port + (crr ? 2 : 1));
	if (!crr)
		fd = dial();
	while ((before = now()) < deadline) {
		if (crr)
			fd = dial();
		exchange(fd);
		if (crr)
			close(fd);
		latency[operations++ % LATENCIES] = (now() - before) * 1e6;
	}
	seconds = now() - began;
	kept = operations < LATENCIES ? operations : LATENCIES;
	qsort(latency, kept, sizeof(*latency), by_value);
	printf("{\"operations\":%ld,\"bytes\":%ld,\"seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", operations,
	       operations, seconds, latency[kept / 2], latency[kept * 99 / 100]);
	return 0;
}
