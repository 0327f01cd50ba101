/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* How a translated packet leaves its pod's node: one case for each way, and another (through the kernel's stack) would be
 * another case here. A packet that cannot leave goes back to its pod as an error. */
#pragma once
#include "complain.h"
#include "overlay.h"
#include "wire.h"

/* The packet is refused, and its pod is told if there is a word for why. */
__noinline int tell_pod(struct __sk_buff *skb, const struct packet *p, const struct pod *pod, enum reason why, __u32 mtu)
{
	__u8 mac[ETH_ALEN], host_mac[ETH_ALEN];
	__u64 direction;

	if (!p || !pod || told(why) == GO_ON)
		return why;
	memcpy(mac, pod->mac, ETH_ALEN);
	memcpy(host_mac, pod->host_mac, ETH_ALEN);
	direction = towards(pod);
	if (!complain(skb, p, why, mtu) || !set_macs(skb, mac, host_mac))
		return why;
	return redirected(bpf_redirect(skb->ifindex, direction), told(why));
}

/* Apart, because few pods' nodes are gateways, and the stack is short. */
static __noinline enum reason find_way_by_wire(struct __sk_buff *skb, const struct packet *p, const struct addr *src, __u32 wire,
					       struct way *way)
{
	return find_way(skb, p, src, wire, way);
}

/* GO_ON when the packet can leave; with DROP_TOO_BIG, way->mtu is what the next link carries. */
static __always_inline enum reason find_way_out(struct __sk_buff *skb, const struct packet *p, const struct settings *settings,
						const struct addr *src, const struct egress *egress, struct way *way)
{
	switch (egress->path) {
	case PATH_WIRE:
		return is_served(&p->dst) ? GO_ON : find_way_by_wire(skb, p, src, egress->link, way);
	case PATH_OVERLAY:
		way->mtu = settings->overlay_mtu;
		return fits(skb, p, settings->overlay_mtu) ? GO_ON : DROP_TOO_BIG;
	case PATH_LINK:
		way->mtu = too_large_for_link(skb, p, settings);
		return way->mtu && p->dont_fragment ? DROP_TOO_BIG : GO_ON;
	}
	return DROP_NO_GATEWAY;
}

static __always_inline enum reason send_out(struct __sk_buff *skb, const struct packet *p, const struct settings *settings,
					    const struct egress *egress, const struct way *way)
{
	const struct node *node;

	switch (egress->path) {
	case PATH_WIRE:
		return is_served(&p->dst) ? turn_back(skb, &p->dst) : leave_by(skb, p, egress->link, way);
	case PATH_OVERLAY:
		return to_node(skb, settings, &egress->gateway, VNI_TO_WIRE, SENT_OVERLAY);
	case PATH_LINK:
		if (way->mtu)	/* the overlay carries it whole */
			return to_node(skb, settings, &egress->gateway, VNI_TO_WIRE, SENT_OVERLAY);
		node = bpf_map_lookup_elem(&nodes, &egress->gateway);
		return node && node->on_link ? to_neighbour(skb, settings, node, SENT_LINK) : DROP_NO_GATEWAY;
	}
	return DROP_NO_GATEWAY;
}
