/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Out of the wire: the kernel's routes of that interface say which neighbour is next. The way is found before the
 * packet is changed, so that a packet that finds none can still be told about as it came. */
#pragma once
#include "cut.h"
#include "size.h"

struct way {
	__u16 mtu;		/* of a packet too large for it: what it carries, which is less than 65536 as the packet is; else 0 */
	bool resolved;		/* the neighbour is known */
	__u8 to[ETH_ALEN];
	__u8 from[ETH_ALEN];
};

/* GO_ON when `way` leads out, if need be for a packet in pieces. */
static __always_inline enum reason find_way(struct __sk_buff *skb, const struct packet *p, const struct addr *src,
					    __u32 wire, struct way *way)
{
	struct bpf_fib_lookup route = { .ifindex = wire, .tot_len = size_on_link(skb, p) };

	if (p->family == 4) {
		route.family = AF_INET;
		route.ipv4_src = src->words[3];
		route.ipv4_dst = p->dst.words[3];
	} else {
		route.family = AF_INET6;
		memcpy(route.ipv6_src, src, 16);
		memcpy(route.ipv6_dst, &p->dst, 16);
	}
	switch (bpf_fib_lookup(skb, &route, sizeof(route), BPF_FIB_LOOKUP_OUTPUT)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		way->resolved = true;
		memcpy(way->to, route.dmac, ETH_ALEN);
		memcpy(way->from, route.smac, ETH_ALEN);
		return GO_ON;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return GO_ON;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		way->mtu = route.mtu_result;
		return may_be_cut(skb, p) ? GO_ON : DROP_TOO_BIG;
	}
	return DROP_NO_ROUTE;
}

static __always_inline enum reason leave_by(struct __sk_buff *skb, const struct packet *p, __u32 wire, const struct way *way)
{
	if (way->mtu)
		return leave_in_pieces(skb, p, wire, way->mtu);
	if (!way->resolved)	/* the kernel resolves the neighbour and sends then */
		return redirected(bpf_redirect_neigh(wire, NULL, 0, 0), SENT_WIRE);
	if (!set_macs(skb, way->to, way->from))
		return DROP_KERNEL;
	return redirected(bpf_redirect(wire, 0), SENT_WIRE);
}

static __always_inline bool is_served(const struct addr *addr)
{
	return bpf_map_lookup_elem(&served, addr) != NULL;
}

/* To an egress address that this gateway serves itself: a wire does not show its own frames, so the packet comes in by
 * it once more (RFC 4787 REQ-9). */
static __always_inline enum reason turn_back(struct __sk_buff *skb, const struct addr *to)
{
	const struct served *entry = bpf_map_lookup_elem(&served, to);
	__u8 mac[ETH_ALEN];
	__u32 wire;

	if (!entry)
		return DROP_NO_ROUTE;
	wire = entry->wire;
	memcpy(mac, entry->mac, ETH_ALEN);
	if (!set_macs(skb, mac, mac))
		return DROP_KERNEL;
	return redirected(bpf_redirect(wire, BPF_F_INGRESS), SENT_HAIRPIN);
}
