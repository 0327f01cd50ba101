/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Out of the wire: the kernel's routes of that interface say which neighbour is next. */
#pragma once
#include "rewrite.h"
#include "verdict.h"

static __always_inline enum reason to_wire(struct __sk_buff *skb, const struct packet *p, const struct addr *src, __u32 wire)
{
	struct bpf_fib_lookup route = { .ifindex = wire };

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
		if (!set_macs(skb, route.dmac, route.smac))
			return DROP_KERNEL;
		return redirected(bpf_redirect(wire, 0), SENT_WIRE);
	case BPF_FIB_LKUP_RET_NO_NEIGH:
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		/* the kernel resolves the neighbour and sends then */
		return redirected(bpf_redirect_neigh(wire, NULL, 0, 0), SENT_WIRE);
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return DROP_TOO_BIG;
	}
	return DROP_NO_ROUTE;
}
