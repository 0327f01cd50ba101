/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* How large a packet is on a link: of a packet that the kernel will cut into segments, the largest of these. */
#pragma once
#include "packet.h"

static __always_inline __u32 size_on_link(const struct __sk_buff *skb, const struct packet *p)
{
	if (skb->gso_size)
		return skb->gso_size + p->l4 - L3 + p->header;
	return skb->len - L3;
}

/* The packet fits, or routers on the way may cut it. */
static __always_inline bool fits(const struct __sk_buff *skb, const struct packet *p, __u32 mtu)
{
	return !p->dont_fragment || size_on_link(skb, p) <= mtu;
}

/* What the link between nodes carries, if the packet is too large for it, or another piece of the same datagram may be:
 * pieces that go two ways come out of order. 0 if all fit. What the overlay carries, the link below it does. */
static __always_inline __u32 too_large_for_link(struct __sk_buff *skb, const struct packet *p, const struct settings *settings)
{
	__u32 carries = size_on_link(skb, p), brings = 0;

	if (carries <= settings->overlay_mtu && (p->piece == WHOLE || p->dont_fragment))
		return 0;
	if (bpf_check_mtu(skb, settings->underlay_link, &carries, 0, 0) == BPF_MTU_CHK_RET_FRAG_NEEDED)
		return carries;
	if (p->piece == WHOLE || p->dont_fragment)
		return 0;
	bpf_check_mtu(skb, skb->ifindex, &brings, 0, 0);
	return brings > carries ? carries : 0;
}
