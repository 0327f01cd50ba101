/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Which egress port a new flow gets. The ports of a node's blocks are cut into small groups, and a pod may use one
 * port of each, chosen by a hash of the pod and the group: a pod that takes all it can leaves its neighbours most of
 * theirs, and nothing has to be counted. */
#pragma once
#include "packet.h"

#define RANDOM_TRIES 16
#define TURNS 2048
#define EEXIST 17
#define EAGAIN 11

struct search {
	struct egress *egress;
	struct return_key key;		/* of TCP: a port serves many remote ends (RFC 6888 appendix) */
	struct return_flow back;
	struct owner_key owner;		/* of all others: a port is one pod's (RFC 4787 REQ-1 and REQ-3) */
	__u64 pod;
	__u32 start;
	__u32 slots;
	__u16 stride;			/* from slot to slot */
	__u16 port;
	__u8 group;			/* log2 of the ports in a group */
	__u8 shift;			/* log2 of the groups in a block */
	__s32 error;			/* 0: reserved */
};

static __always_inline __u32 port_of_group(__u64 pod, __u32 group_start, __u8 bits)
{
	__u64 hash = pod ^ group_start;

	/* neighbours differ in their last byte, which the multiplication alone would leave above the bits taken */
	hash ^= hash >> 33;
	hash *= 0xff51afd7ed558ccdULL;
	hash ^= hash >> 33;
	hash *= 0xc4ceb9fe1a85ec53ULL;
	return (hash >> 40) & ((1U << (bits & 7)) - 1);
}

/* The pod's port in a slot: which block, which group of it. */
static __always_inline __u16 port_of_slot(const struct search *s, __u32 slot)
{
	__u32 block = (slot >> (s->shift & 15)) & (BLOCKS - 1), group = slot & ((1U << (s->shift & 15)) - 1);
	__u32 start = s->egress->blocks[block] + (group << (s->group & 7));

	return start + port_of_group(s->pod, start, s->group);
}

static __always_inline long try_slot(struct search *s, __u32 slot)
{
	__u32 one = 1;

	s->port = port_of_slot(s, slot);
	if (s->key.protocol == IPPROTO_TCP) {
		s->key.egress_port = bpf_htons(s->port);
		s->error = bpf_map_update_elem(&returns, &s->key, &s->back, BPF_NOEXIST);
	} else {
		s->owner.egress_port = bpf_htons(s->port);
		s->error = bpf_map_update_elem(&owners, &s->owner, &one, BPF_NOEXIST);
	}
	return s->error != -EEXIST;
}

static long try_any(__u32 i, struct search *s)
{
	s->start = bpf_get_prandom_u32() % s->slots;
	return try_slot(s, s->start);
}

/* Between 71 and 1373. All are prime (Euler), and blocks are fewer, so that no slot comes twice; one for all searches would
 * have used slots clot. */
static __always_inline __u16 any_stride(void)
{
	__u32 n = 5 + (bpf_get_prandom_u32() & 31);

	return n * n + n + 41;
}

static long try_next(__u32 i, struct search *s)
{
	return try_slot(s, (s->start + i * s->stride) % s->slots);
}

/* Reserves a port: at random over all slots first (RFC 6056), then as many in turn as a packet may take. `key`, `back`
 * and `egress` are filled in; 0 or the kernel's error, -EEXIST when none was found. */
static __always_inline __s32 reserve(struct search *s)
{
	__u8 share = s->egress->share & 7, shift = s->egress->shift & 15;

	s->group = share < shift ? share : shift;
	s->shift = shift - s->group;
	s->slots = (__u32)s->egress->block_count << s->shift;
	s->pod = s->back.pod.halves[0] ^ s->back.pod.halves[1];
	s->owner.egress = s->key.egress;
	s->owner.protocol = s->key.protocol;
	if (!s->slots)
		return -EEXIST;
	s->error = -EEXIST;
	bpf_loop(RANDOM_TRIES, try_any, s, 0);
	if (s->error == -EEXIST) {
		s->stride = any_stride();
		bpf_loop(s->slots < TURNS ? s->slots : TURNS, try_next, s, 0);
	}
	return s->error;
}
