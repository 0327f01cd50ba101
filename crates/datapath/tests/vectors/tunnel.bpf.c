// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The programs once more, each between two steps that a run by hand needs: the tunnel a packet came by cannot be
 * given to BPF_PROG_TEST_RUN, and the one it leaves by cannot be seen, so they go through a map. */
#include "../../../../bpf/lib/types.h"

struct tunnel {
	struct addr node;
	struct addr local;	/* of a packet that comes: where it came to; zero: the node's address between nodes */
	__u32 vni;		/* 0: none */
	__u32 refuse;		/* of a packet that comes: the kernel refuses to redirect it */
	__u32 verdict;		/* of a packet that was seen */
	__u32 vlan;		/* of a packet that is seen: its tag, as a device keeps it; 0: none */
};

/* A clock and dice of the test's own, so that a run comes out the same again. */
struct fate {
	__u64 now;		/* seconds; 0: the kernel's clock and dice */
	__u64 dice;
};

struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, struct tunnel); __uint(pinning, LIBBPF_PIN_BY_NAME); } tunnel SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct fate); __uint(pinning, LIBBPF_PIN_BY_NAME); } fate SEC(".maps");

/* A copy that was sent to a link, as long as its IPv4 header says. */
struct copy {
	__u32 length;		/* 0: none */
	__u32 link;
	__u8 bytes[2048];
};

struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 8); __type(key, __u32); __type(value, struct copy); __uint(pinning, LIBBPF_PIN_BY_NAME); } copies SEC(".maps");

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

static __always_inline struct fate *own_fate(void)
{
	__u32 zero = 0;
	struct fate *own = bpf_map_lookup_elem(&fate, &zero);

	return own && own->now ? own : NULL;
}

static __always_inline __u64 nanoseconds(void)
{
	struct fate *own = own_fate();

	return own ? own->now * 1000000000ULL : bpf_ktime_get_coarse_ns();
}

static __always_inline __u32 thrown(void)
{
	struct fate *own = own_fate();

	if (!own)
		return bpf_get_prandom_u32();
	own->dice ^= own->dice << 13;	/* xorshift64 */
	own->dice ^= own->dice >> 7;
	own->dice ^= own->dice << 17;
	return own->dice >> 32;
}

static __noinline long copied(struct __sk_buff *skb, __u32 link)
{
	__be16 size;
	__u32 length;

	if (refused() || bpf_skb_load_bytes(skb, ETH_HLEN + 2, &size, sizeof(size)))
		return -1;
	length = ETH_HLEN + bpf_ntohs(size);
	#pragma unroll
	for (int i = 0; i < 8; i++) {
		__u32 slot = i;
		struct copy *copy = bpf_map_lookup_elem(&copies, &slot);

		if (!copy)
			break;
		if (copy->length)
			continue;
		length &= sizeof(copy->bytes) - 1;
		if (length < ETH_HLEN || bpf_skb_load_bytes(skb, 0, copy->bytes, length))
			break;
		copy->length = length;
		copy->link = link;
		return 0;
	}
	return -1;
}

#define bpf_clone_redirect(skb, link, flags) copied(skb, link)
#define bpf_ktime_get_coarse_ns() nanoseconds()
#define bpf_get_prandom_u32() thrown()
#define bpf_redirect(...) (refused() ? TC_ACT_SHOT : bpf_redirect(__VA_ARGS__))
#define bpf_redirect_peer(...) (refused() ? TC_ACT_SHOT : bpf_redirect_peer(__VA_ARGS__))
#define bpf_redirect_neigh(...) (refused() ? TC_ACT_SHOT : bpf_redirect_neigh(__VA_ARGS__))

#include "../../../../bpf/egret.bpf.c"

/* Where the packet came to. */
static __always_inline const struct addr *came_to(const struct tunnel *from)
{
	const struct settings *settings = node_settings();

	return unspecified(&from->local) && settings ? &settings->underlay : &from->local;
}

static __noinline void come(struct __sk_buff *skb)
{
	struct tunnel *from = tunnel_of(CAME_BY);
	struct bpf_tunnel_key key = {};
	const struct addr *local;

	if (!from || !from->vni)
		return;
	local = came_to(from);
	key.tunnel_id = from->vni;
	if (is_v4(&from->node)) {
		key.local_ipv4 = bpf_ntohl(from->node.words[3]);
		key.remote_ipv4 = bpf_ntohl(local->words[3]);
		bpf_skb_set_tunnel_key(skb, &key, sizeof(key), 0);
	} else {
		memcpy(key.local_ipv6, &from->node, sizeof(key.local_ipv6));
		memcpy(key.remote_ipv6, local, sizeof(key.remote_ipv6));
		bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6);
	}
}

static __noinline void leave(struct __sk_buff *skb)
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
	if (key.tunnel_ttl)	/* else it is the tunnel that the packet came by */
		to->vni = key.tunnel_id;
}

static __always_inline void note(enum reason reason)
{
	struct tunnel *to = tunnel_of(LEAVES_BY);

	if (to)
		to->verdict = reason;
}

#define BETWEEN(program, packet) \
	SEC("classifier") \
	int with_tunnel_##program(struct __sk_buff *skb) \
	{ \
		enum reason reason; \
		int answer; \
		come(skb); \
		reason = packet(skb); \
		answer = finish(skb, reason); \
		leave(skb); \
		note(reason); \
		return answer; \
	}

BETWEEN(from_pod, pod_packet)
BETWEEN(from_second, second_packet)
BETWEEN(from_overlay, overlay_packet)
BETWEEN(from_wire, wire_packet)
BETWEEN(from_underlay, underlay_packet)

#define MARK 7			/* of the pod's socket: for its own routing, not for its node's */

SEC("classifier")
int with_tunnel_from_parent(struct __sk_buff *skb)
{
	struct tunnel *from = tunnel_of(CAME_BY);
	enum reason reason;
	int answer;

	if (from && from->vlan)
		bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), from->vlan);
	skb->mark = MARK;
	reason = parent_packet(skb);
	answer = finish_pods(skb, reason);
	if (skb->mark != (answer == TC_ACT_REDIRECT ? 0 : MARK) && answer != TC_ACT_SHOT)
		return TC_ACT_STOLEN;
	leave(skb);
	note(reason);
	return answer;
}

/* Such a copy where it comes out of the overlay device, on its way to that link itself. */
SEC("classifier")
int with_tunnel_piece(struct __sk_buff *skb)
{
	skb->tc_index = PIECE;
	skb->cb[PIECE_LINK] = skb->ifindex;
	return leave_by_overlay(skb);
}

SEC("classifier")
int with_tunnel_to_overlay(struct __sk_buff *skb)
{
	int answer;

	come(skb);
	answer = leave_by_overlay(skb);
	leave(skb);
	return answer;
}
