// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The programs once more, each between two steps that a run by hand needs: the tunnel a packet came by cannot be
 * given to BPF_PROG_TEST_RUN, and the one it leaves by cannot be seen, so they go through a map. */
#include "../../../../bpf/lib/types.h"

struct tunnel {
	struct addr node;
	__u32 vni;		/* 0: none */
	__u32 refuse;		/* of a packet that comes: the kernel refuses to redirect it */
};

struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, struct tunnel); } tunnel SEC(".maps");

#define CAME_BY 0
#define LEAVES_BY 1

static __always_inline struct tunnel *tunnel_of(__u32 which)
{
	return bpf_map_lookup_elem(&tunnel, &which);
}

/* Out of memory cannot be had on demand. */
static __always_inline bool refused(void)
{
	struct tunnel *from = tunnel_of(CAME_BY);

	return from && from->refuse;
}

#define bpf_redirect(...) (refused() ? TC_ACT_SHOT : bpf_redirect(__VA_ARGS__))
#define bpf_redirect_peer(...) (refused() ? TC_ACT_SHOT : bpf_redirect_peer(__VA_ARGS__))
#define bpf_redirect_neigh(...) (refused() ? TC_ACT_SHOT : bpf_redirect_neigh(__VA_ARGS__))

#include "../../../../bpf/egret.bpf.c"

static __always_inline void come(struct __sk_buff *skb)
{
	struct tunnel *from = tunnel_of(CAME_BY);
	struct bpf_tunnel_key key = {};

	if (!from || !from->vni)
		return;
	key.tunnel_id = from->vni;
	if (is_v4(&from->node)) {
		key.local_ipv4 = bpf_ntohl(from->node.words[3]);
		bpf_skb_set_tunnel_key(skb, &key, sizeof(key), 0);
	} else {
		memcpy(key.local_ipv6, &from->node, sizeof(key.local_ipv6));
		bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6);
	}
}

static __always_inline void leave(struct __sk_buff *skb)
{
	struct tunnel *to = tunnel_of(LEAVES_BY);
	struct bpf_tunnel_key key = {};

	if (!to)
		return;
	memset(to, 0, sizeof(*to));
	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0)) {
		if (!key.local_ipv4)
			return;
		map_v4(&to->node, bpf_htonl(key.local_ipv4));
	} else if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6)) {
		memcpy(&to->node, key.local_ipv6, sizeof(to->node));
		if (unspecified(&to->node))
			return;
	} else {
		return;
	}
	to->vni = key.tunnel_id;
}

#define BETWEEN(program, ...) \
	SEC("classifier") \
	int with_tunnel_##program(struct __sk_buff *skb) \
	{ \
		int verdict; \
		come(skb); \
		verdict = __VA_ARGS__; \
		leave(skb); \
		return verdict; \
	}

BETWEEN(from_pod, finish(skb, pod_packet(skb)))
BETWEEN(from_overlay, finish(skb, overlay_packet(skb)))
BETWEEN(to_overlay, leave_by_overlay(skb))
BETWEEN(from_wire, finish(skb, wire_packet(skb)))
BETWEEN(from_underlay, finish(skb, underlay_packet(skb)))
