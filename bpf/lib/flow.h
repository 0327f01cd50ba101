/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Flows live on the pod's node only. A flow is two entries: `flows` for the way out, `returns` for the way back;
 * the second reserves the port towards one remote end, so a port serves many remote ends (RFC 6888 appendix). */
#pragma once
#include "packet.h"

#define SECOND 1000000000ULL
#define RANDOM_TRIES 24
#define EEXIST 17

static __always_inline __u32 now_seconds(void)
{
	return bpf_ktime_get_coarse_ns() / SECOND;
}

static __always_inline bool closed(__u8 sent, __u8 received)
{
	return ((sent | received) & TCP_RST) || (sent & received & TCP_FIN);
}

static __always_inline void flow_key_of(const struct packet *p, struct flow_key *key)
{
	memset(key, 0, sizeof(*key));
	key->pod = p->src;
	key->remote = p->dst;
	key->pod_port = p->sport;
	key->remote_port = p->dport;
	key->protocol = p->protocol;
}

static __always_inline void return_key_of(const struct flow_key *flow, const struct addr *egress, __be16 port,
					  struct return_key *key)
{
	memset(key, 0, sizeof(*key));
	key->egress = *egress;
	key->remote = flow->remote;
	key->egress_port = port;
	key->remote_port = flow->remote_port;
	key->protocol = flow->protocol;
}

/* The same five values again after both ends closed: a new connection on the old mapping. */
static __always_inline void reopen(const struct flow_key *key, struct flow *flow)
{
	struct return_key back_key;
	struct return_flow *back;

	return_key_of(key, &flow->egress, flow->egress_port, &back_key);
	back = bpf_map_lookup_elem(&returns, &back_key);
	if (back && closed(flow->flags, back->flags)) {
		flow->flags = 0;
		back->flags = 0;
	}
}

/* Writes only what changed: the entry's cache line is shared by all processors. */
static __always_inline void touch_flow(const struct flow_key *key, struct flow *flow, const struct packet *p)
{
	__u32 now = now_seconds();

	if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		reopen(key, flow);
	if ((flow->flags | p->tcp_flags) != flow->flags)
		flow->flags |= p->tcp_flags;
	if (flow->seen != now)
		flow->seen = now;
}

static __always_inline void touch_return(struct return_flow *back, const struct packet *p)
{
	__u32 now = now_seconds();

	if ((back->flags | p->tcp_flags) != back->flags)
		back->flags |= p->tcp_flags;
	/* UDP is kept alive by its own pod only: RFC 4787 REQ-6 */
	if (p->kind == KIND_TCP && back->seen != now)
		back->seen = now;
}

struct search {
	struct return_key key;
	struct return_flow back;
	__u16 first;		/* of the block being searched */
	__u16 mask;
	__u16 start;
	__s32 error;		/* 0: reserved */
};

static __always_inline long try_port(struct search *s, __u16 port)
{
	s->key.egress_port = bpf_htons(port);
	s->error = bpf_map_update_elem(&returns, &s->key, &s->back, BPF_NOEXIST);
	return s->error != -EEXIST;
}

static long try_next(__u32 i, struct search *s)
{
	return try_port(s, s->first + ((s->start + i) & s->mask));
}

/* Reserves a port: at random over all blocks first (RFC 6056), then each of one block in turn. */
static __always_inline __s32 reserve(struct search *s, const struct egress *egress)
{
	__u32 count = egress->block_count;

	s->mask = (1 << (egress->shift & 15)) - 1;
	s->error = -EEXIST;
	for (int i = 0; i < RANDOM_TRIES; i++) {
		__u32 random = bpf_get_prandom_u32();
		__u32 block = (random >> 16) % count;

		s->first = egress->blocks[block & (BLOCKS - 1)];
		s->start = random & s->mask;
		if (try_port(s, s->first + s->start))
			return s->error;
	}
	bpf_loop(s->mask + 1, try_next, s, 0);
	return s->error;
}

/* A new flow of the pod by this egress address. GO_ON when `flow` holds it. */
static __always_inline enum reason open_flow(const struct packet *p, const struct flow_key *key,
					     const struct addr *address, const struct egress *egress, struct flow *flow)
{
	struct search search = {};

	if (!egress->block_count)
		return DROP_NO_BLOCK;
	return_key_of(key, address, 0, &search.key);
	search.back.pod = key->pod;
	search.back.pod_port = key->pod_port;
	search.back.seen = now_seconds();
	switch (reserve(&search, egress)) {
	case 0:
		break;
	case -EEXIST:
		return DROP_NO_PORT;
	default:
		return DROP_FLOWS_FULL;
	}
	memset(flow, 0, sizeof(*flow));
	flow->egress = *address;
	flow->egress_port = search.key.egress_port;
	flow->flags = p->tcp_flags;
	flow->seen = search.back.seen;
	if (bpf_map_update_elem(&flows, key, flow, BPF_NOEXIST)) {
		bpf_map_delete_elem(&returns, &search.key);
		return DROP_FLOWS_FULL;
	}
	return GO_ON;
}
