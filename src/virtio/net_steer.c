/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/net_steer.c - flows by a hash over addresses and ports that is the same both ways. */
#include "virtio/net_steer.h"
#include <stdbool.h>
#include <string.h>

enum { ETH = 14, TYPE_AT = 12, TYPE_ip4 = 0x0800, TYPE_ip6 = 0x86dd, IP4_MIN = 20, IP6_LEN = 40, PROTO_tcp = 6, PROTO_udp = 17 };

static uint32_t
word(const uint8_t *p)
{
	uint32_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/* The ports, exchanged for themselves by the other direction. */
static uint32_t
ports(const uint8_t *p)
{
	return (uint32_t)(p[0] << 8 | p[1]) ^ (uint32_t)(p[2] << 8 | p[3]);
}

static unsigned
hash4(const uint8_t *ip, size_t n)
{
	size_t head = (ip[0] & 15u) * 4u;
	bool whole = (ip[6] & 0x3f) == 0 && ip[7] == 0;	/* no fragment */
	uint32_t h = word(ip + 12) ^ word(ip + 16);

	if (whole && (ip[9] == PROTO_tcp || ip[9] == PROTO_udp) && head >= IP4_MIN && n >= head + 4)
		h ^= ports(ip + head);
	return h;
}

static unsigned
hash6(const uint8_t *ip, size_t n)
{
	uint32_t h = 0;

	for (unsigned i = 8; i < IP6_LEN; i += 4)
		h ^= word(ip + i);
	if ((ip[6] == PROTO_tcp || ip[6] == PROTO_udp) && n >= IP6_LEN + 4)
		h ^= ports(ip + IP6_LEN);
	return h;
}

/* What is no IP is one flow. */
static unsigned
flow(const uint8_t *frame, size_t n)
{
	const uint32_t golden = 0x9e3779b1;
	unsigned type = n < ETH ? 0 : (unsigned)frame[TYPE_AT] << 8 | frame[TYPE_AT + 1];
	uint32_t h = 0;

	if (type == TYPE_ip4 && n >= ETH + IP4_MIN)
		h = hash4(frame + ETH, n - ETH);
	else if (type == TYPE_ip6 && n >= ETH + IP6_LEN)
		h = hash6(frame + ETH, n - ETH);
	return (h * golden) >> 24;
}

void
steer_sent(struct steer *s, const uint8_t *frame, size_t n, unsigned pair)
{
	s->pair[flow(frame, n)] = (uint8_t)pair;
}

unsigned
steer_pair(const struct steer *s, const uint8_t *frame, size_t n)
{
	return s->pair[flow(frame, n)];
}
